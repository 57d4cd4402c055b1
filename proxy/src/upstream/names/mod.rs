//! Names of servers: where they lead, kept up with while the configuration is in force.
//!
//! Each name has a task of its own, so that no request waits for an answer and no slow name keeps another
//! waiting. What is known outlives a configuration: a reload while DNS is out loses nothing.

pub mod lookup;

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::upstream::{
    Upstream,
    names::lookup::{Answer, Dns, Lookup, Said},
};
use crate::{random, shared::Shared};

/// Addresses of a name that are used; more than any shop has servers, and few enough to look at for each request.
const MAX_ADDRESSES: usize = 64;
/// A name is asked for again no sooner, whatever its TTL says...
const SHORTEST: Duration = Duration::from_secs(1);
/// ...and no later, so that a TTL that was set by mistake does not last.
const LONGEST: Duration = Duration::from_mins(5);
/// The pause after a failure, which doubles...
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// ...up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What a start and a reload wait for names of which nothing is known.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// Where names lead.
#[derive(Default)]
pub struct Names {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Default)]
struct Known {
    /// In order; empty where nothing was ever found.
    addresses: Arc<[IpAddr]>,
    /// The last answer was none.
    failing: bool,
}

/// What an answer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Nothing.
    Same,
    /// There are other addresses.
    Moved,
    /// There was no answer.
    Failed,
}

impl Names {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last addresses of a name, in order.
    pub fn addresses(&self, host: &str) -> Arc<[IpAddr]> {
        let known = self.known();
        known
            .get(host)
            .map_or_else(Arc::default, |known| Arc::clone(&known.addresses))
    }

    /// Whether there is a use for a name.
    pub fn knows(&self, host: &str) -> bool {
        self.known().contains_key(host)
    }

    /// Forgets the others.
    pub fn retain(&self, hosts: &[&str]) {
        self.known()
            .retain(|host, _| hosts.contains(&host.as_str()));
    }

    /// Takes an answer in; says what it changes, and for how long it holds where it is one.
    fn take(&self, host: &str, answer: Answer) -> (News, Option<Duration>) {
        let mut all = self.known();
        let known = all.entry(host.to_owned()).or_default();
        match judge(&known.addresses, answer) {
            Ok((mut addresses, ttl)) => {
                let found = addresses.len();
                // The same ones, in whatever order they came.
                addresses.truncate(MAX_ADDRESSES);
                if known.failing {
                    known.failing = false;
                    tracing::info!(name = host, "the name is resolved again");
                }
                if known.addresses[..] == addresses[..] {
                    return (News::Same, Some(ttl));
                }
                if found > MAX_ADDRESSES {
                    tracing::warn!(
                        name = host,
                        found,
                        "of its addresses only {MAX_ADDRESSES} are used"
                    );
                }
                tracing::info!(name = host, ?addresses, was = ?known.addresses, "the name leads elsewhere");
                known.addresses = addresses.into();
                (News::Moved, Some(ttl))
            }
            Err(why) => {
                if !known.failing {
                    known.failing = true;
                    let kept = known.addresses.len();
                    tracing::warn!(
                        name = host,
                        why,
                        kept,
                        "the name cannot be resolved; its last addresses stay"
                    );
                }
                (News::Failed, None)
            }
        }
    }
}

/// The addresses that an answer leads to, and for how long. Where only one kind was answered for, the others
/// stay as they were.
fn judge(last: &[IpAddr], answer: Answer) -> Result<(Vec<IpAddr>, Duration), String> {
    let mut all = Vec::new();
    let mut holds: Option<Duration> = None;
    let mut why = None;
    for (is_v4, said) in [(true, answer.v4), (false, answer.v6)] {
        match said {
            Said::Addresses(addresses, ttl) => {
                all.extend(addresses);
                holds = Some(holds.map_or(ttl, |other| other.min(ttl)));
            }
            Said::None => {}
            Said::Nothing(reason) => {
                all.extend(last.iter().filter(|ip| ip.is_ipv4() == is_v4));
                why = Some(reason);
            }
        }
    }
    // Nobody listens there, and what connects to such an address reaches this host.
    all.retain(|ip| !ip.is_unspecified() && !ip.is_multicast());
    let (Some(ttl), false) = (holds, all.is_empty()) else {
        return Err(why.unwrap_or_else(|| "it has no address".to_owned()));
    };
    all.sort_unstable();
    all.dedup();
    Ok((all, ttl.clamp(SHORTEST, LONGEST)))
}

/// Keeps up with the names of a configuration until it is dropped.
pub struct Watch {
    /// They end with it.
    _tasks: JoinSet<()>,
    /// Closed when every name has had an answer.
    unanswered: mpsc::Receiver<Infallible>,
}

impl Watch {
    /// Returns when every name has had its first answer, and in any case soon.
    pub async fn first_answers(&mut self) {
        let _ = timeout(FIRST_ANSWERS, self.unanswered.recv()).await;
    }
}

/// Begins to keep up with the names of all servers of these upstreams; `resolvers` are the DNS servers to ask,
/// none means the system's.
pub fn watch(upstreams: &[Arc<Upstream>], resolvers: &[SocketAddr], shared: &Arc<Shared>) -> Watch {
    let mut by_name: BTreeMap<&str, Vec<Arc<Upstream>>> = BTreeMap::new();
    for upstream in upstreams {
        for host in upstream.hosts() {
            let users = by_name.entry(host).or_default();
            // Several ports at one name.
            if !users.iter().any(|user| Arc::ptr_eq(user, upstream)) {
                users.push(Arc::clone(upstream));
            }
        }
    }
    let lookup = Arc::new(Dns::new(resolvers));
    let (answered, unanswered) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    for (host, users) in by_name {
        let (host, lookup, shared) = (host.to_owned(), Arc::clone(&lookup), Arc::clone(shared));
        let is_known = !shared.names.addresses(&host).is_empty();
        let mut answered = Some(answered.clone()).filter(|_| !is_known);
        tasks.spawn(async move {
            follow(&host, &shared.names, &*lookup, |news| {
                match news {
                    News::Failed => {
                        let failures = &shared.metrics.upstreams.dns_failures;
                        failures.with_label_values(&[host.as_str()]).inc();
                    }
                    News::Moved => users.iter().for_each(|user| user.refresh(&shared)),
                    News::Same => {}
                }
                answered = None;
            })
            .await;
        });
    }
    Watch {
        _tasks: tasks,
        unanswered,
    }
}

/// Asks for a name whenever its addresses are over, for ever.
async fn follow(
    host: &str,
    names: &Names,
    lookup: &impl Lookup,
    mut told: impl FnMut(News) + Send,
) {
    let mut failures: u32 = 0;
    loop {
        let answer = lookup.ask(host).await;
        let (news, holds) = names.take(host, answer);
        told(news);
        failures = match holds {
            Some(_) => 0,
            None => failures.saturating_add(1),
        };
        sleep(holds.unwrap_or_else(|| pause(failures))).await;
    }
}

/// After so many failures in a row; a tenth more or less, so that many edges do not ask in step.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let jitter = 0.9 + random::below(200) as f64 / 1000.0;
    doubled.min(LONGEST_PAUSE).mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::time::Instant;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn some(addresses: &[&str], ttl: u64) -> Said {
        Said::Addresses(
            addresses.iter().map(|a| ip(a)).collect(),
            Duration::from_secs(ttl),
        )
    }

    fn nothing() -> Said {
        Said::Nothing("no answer".to_owned())
    }

    /// What is said of either kind, and the addresses and seconds that come of it.
    type Case = (Said, Said, Option<(&'static [&'static str], u64)>);

    #[test]
    fn what_an_answer_leads_to() {
        use Said::None;
        let last = [ip("10.0.0.9"), ip("fd00::9")];
        let cases: [Case; 9] = [
            (some(&["10.0.0.1"], 60), None, Some((&["10.0.0.1"], 60))),
            (None, some(&["fd00::1"], 60), Some((&["fd00::1"], 60))),
            // In order, each once, for as long as both hold.
            (
                some(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], 60),
                some(&["fd00::1"], 30),
                Some((&["10.0.0.1", "10.0.0.2", "fd00::1"], 30)),
            ),
            // Of a kind that nobody answered for the last ones stay.
            (
                some(&["10.0.0.1"], 60),
                nothing(),
                Some((&["10.0.0.1", "fd00::9"], 60)),
            ),
            (some(&["10.0.0.1"], 0), None, Some((&["10.0.0.1"], 1))),
            (
                some(&["10.0.0.1"], 86_400),
                None,
                Some((&["10.0.0.1"], 300)),
            ),
            (None, None, Option::None),
            (nothing(), None, Option::None),
            (some(&["0.0.0.0", "224.0.0.1"], 60), None, Option::None),
        ];
        for (v4, v6, expected) in cases {
            let answer = Answer { v4, v6 };
            let expected = expected.map(|(addresses, ttl)| {
                let addresses: Vec<_> = addresses.iter().map(|a| ip(a)).collect();
                (addresses, Duration::from_secs(ttl))
            });
            assert_eq!(judge(&last, answer.clone()).ok(), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_name_has_so_many_addresses_and_no_more() {
        let names = Names::default();
        let mut told = Vec::new();
        for order in [0, 50] {
            let all = (0..100u8).map(|n| IpAddr::from([10, 0, 1, (n + order) % 100]));
            let answer = Answer {
                v4: Said::Addresses(all.collect(), SHORTEST),
                v6: Said::None,
            };
            told.push(names.take("shop", answer).0);
        }
        assert_eq!(told, [News::Moved, News::Same]);
        let addresses = names.addresses("shop");
        assert_eq!(addresses.len(), MAX_ADDRESSES);
        assert_eq!(addresses[0], ip("10.0.1.0"));
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let expected = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0];
        for (n, expected) in (1..).zip(expected) {
            let pause = pause(n).as_secs_f64();
            assert!(
                (0.9 * expected..1.1 * expected).contains(&pause),
                "{n}: {pause}"
            );
        }
        assert!(pause(u32::MAX) < Duration::from_secs(33));
    }

    /// Answers one after the other, and when they were asked for; then nothing for ever.
    struct Script {
        answers: Mutex<VecDeque<Said>>,
        asked: Mutex<Vec<Instant>>,
    }

    impl Lookup for Script {
        async fn ask(&self, _: &str) -> Answer {
            self.asked.lock().expect("lock").push(Instant::now());
            let next = self.answers.lock().expect("lock").pop_front();
            Answer {
                v4: next.unwrap_or_else(nothing),
                v6: Said::None,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_asked_for_when_its_time_is_over() {
        let answers = [
            some(&["10.0.0.1"], 60),
            some(&["10.0.0.1"], 20),
            some(&["10.0.0.2"], 5),
            Said::None,
            nothing(),
            some(&["10.0.0.2"], 7),
        ];
        let script = Script {
            answers: Mutex::new(answers.into()),
            asked: Mutex::default(),
        };
        let names = Names::default();
        let news = Mutex::new(Vec::new());
        let following = follow("shop", &names, &script, |n| {
            news.lock().expect("lock").push(n)
        });
        assert!(timeout(Duration::from_secs(100), following).await.is_err());
        let asked = script.asked.lock().expect("lock");
        let pauses: Vec<_> = asked
            .windows(2)
            .take(6)
            .map(|w| (w[1] - w[0]).as_secs_f64().round())
            .collect();
        assert_eq!(pauses, [60.0, 20.0, 5.0, 1.0, 2.0, 7.0]);
        let news = news.lock().expect("lock");
        use News::{Failed, Moved, Same};
        assert_eq!(news[..6], [Moved, Same, Moved, Failed, Failed, Same]);
        assert_eq!(
            *names.addresses("shop"),
            [ip("10.0.0.2")],
            "failures keep the last"
        );
        names.retain(&["other"]);
        assert!(names.addresses("shop").is_empty());
    }
}
