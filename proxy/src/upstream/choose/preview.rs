//! Whom the chooser would choose, without choosing: nobody's credit and nobody's turn changes.

use std::{cmp::Reverse, sync::Arc, sync::atomic::Ordering};

use super::{Best, Choice, Chooser, Class, Weighted, best};
use crate::{
    config::model::Balance,
    upstream::{Server, Upstream, health::state::WHOLE},
};

/// What a choice would come to.
pub(crate) struct Preview {
    /// All servers, in the order of the file.
    pub(crate) servers: Vec<Candidate>,
    /// Which of them; `None` where nobody can be asked, or where it is drawn at random.
    pub(crate) chosen: Option<usize>,
    /// Why that one, or why none.
    pub(crate) why: String,
}

/// A server before a choice.
pub(crate) struct Candidate {
    /// Who.
    pub(crate) server: Arc<Server>,
    /// How good it is to ask, in a few words.
    pub(crate) class: &'static str,
    /// It is one of those among whom is chosen.
    pub(crate) is_in: bool,
    /// How much of its weight counts, in thousandths: less than all while it starts slowly.
    pub(crate) share: u64,
}

impl Class {
    fn told(class: Option<Self>, server: &Server) -> &'static str {
        match class {
            None if server.is_draining() => "draining",
            None => "down",
            Some(Self::Well) => "well",
            Some(Self::Full) => "well, all its connections are taken",
            Some(Self::Stalled) => "stalled",
            Some(Self::WellBackup) => "backup, well",
            Some(Self::FullBackup) => "backup, all its connections are taken",
            Some(Self::StalledBackup) => "backup, stalled",
            Some(Self::Ejected) => "ejected",
            Some(Self::EjectedBackup) => "backup, ejected",
            Some(Self::Refusing) => "refuses connections",
            Some(Self::RefusingBackup) => "backup, refuses connections",
        }
    }
}

impl Upstream {
    /// Whom the next request would be sent to.
    pub(crate) fn preview(&self, key: &[u8], tick: std::time::Duration) -> Preview {
        let servers = self.servers();
        let choice = Choice {
            servers: &servers,
            tried: &[],
            key,
            tick,
        };
        self.chooser.preview(&choice)
    }
}

impl Chooser {
    fn preview(&self, choice: &Choice<'_>) -> Preview {
        let found = best(choice, true);
        let class_of = |server: &Server| Class::of(server, choice.tick, true);
        let best_class = found.as_ref().map(|best| best.class);
        let candidates = choice.servers.iter().map(|server| Candidate {
            class: Class::told(class_of(server), server),
            is_in: best_class.is_some() && class_of(server) == best_class,
            share: server.state.share(choice.tick, self.slow_start),
            server: Arc::clone(server),
        });
        let servers: Vec<Candidate> = candidates.collect();
        let (chosen, why) = match found {
            None if choice.servers.is_empty() => (None, "no server is known".to_owned()),
            None => (None, "every server is down or draining".to_owned()),
            Some(best) => self.would(choice, &best, &servers),
        };
        let chosen = chosen.and_then(|chosen: Arc<Server>| {
            let mut all = choice.servers.iter();
            all.position(|server| Arc::ptr_eq(server, &chosen))
        });
        Preview {
            servers,
            chosen,
            why,
        }
    }

    fn would(
        &self,
        choice: &Choice<'_>,
        best: &Best<'_>,
        servers: &[Candidate],
    ) -> (Option<Arc<Server>>, String) {
        if let Some(due) = best.due {
            let why = "it has refused connections, and its turn to be tried has come";
            return (Some(Arc::clone(due)), why.to_owned());
        }
        if best.class >= Class::Refusing {
            let why = "it is known to refuse connections: a request waits for a server, and fails when none comes back";
            return (None, why.to_owned());
        }
        if best.alone {
            let why = match servers.len() {
                1 => "the only server",
                _ => "the only one of the best class",
            };
            return (Some(Arc::clone(best.first)), why.to_owned());
        }
        let tier = servers.iter().filter(|candidate| candidate.is_in);
        let tier: Vec<Weighted<'_>> = tier
            .map(|one| (&one.server, u64::from(one.server.weight) * one.share))
            .collect();
        let among = tier.len();
        match self.balance {
            Balance::RoundRobin => {
                let why = format!("its turn among {among} (round robin by weight)");
                (richest(&tier).map(Arc::clone), why)
            }
            Balance::LeastRequests => {
                let why = format!(
                    "two of {among} are drawn at random by weight, and the one with less to do is asked"
                );
                (None, why)
            }
            Balance::ConsistentHash => {
                let why =
                    format!("its bid for the key is the highest of {among} (consistent hash)");
                (self.by_key(&tier, choice.key).map(Arc::clone), why)
            }
        }
    }
}

/// Who would be the richest after everybody has gained.
fn richest<'s>(tier: &[Weighted<'s>]) -> Option<&'s Arc<Server>> {
    let credits = tier.iter().enumerate().map(|(at, (server, weight))| {
        let weight = i64::try_from(*weight).unwrap_or(i64::MAX);
        let credit = server.credit.load(Ordering::Relaxed).saturating_add(weight);
        (credit, Reverse(at))
    });
    let (_, Reverse(at)) = credits.max()?;
    Some(tier.get(at)?.0)
}

impl Candidate {
    /// How much of its weight counts, in percent, where that is not all.
    pub(crate) fn percent(&self) -> Option<u64> {
        (self.share < WHOLE).then_some(self.share * 100 / WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::upstream::testing;

    #[test]
    fn what_is_foreseen_is_what_comes() {
        for balance in [Balance::RoundRobin, Balance::ConsistentHash] {
            let upstream = testing::upstream(4, |config| config.balance = balance);
            for n in 0..200u32 {
                let (key, tick) = (n.to_be_bytes(), Duration::from_secs(30));
                let foreseen = |key: &[u8]| {
                    let preview = upstream.preview(key, tick);
                    preview.chosen.map(|at| preview.servers[at].server.address)
                };
                let first = foreseen(&key);
                // Asking does not change the answer.
                assert!((0..5).all(|_| foreseen(&key) == first));
                let chosen = upstream.choose(&[], &key, tick);
                assert_eq!(
                    first,
                    chosen.map(|chosen| chosen.server.address),
                    "{balance:?} {n}"
                );
            }
        }
    }

    #[test]
    fn whoever_is_worse_is_not_in() {
        let upstream = testing::upstream(3, |_| {});
        let tick = Duration::from_secs(30);
        let servers = upstream.servers();
        servers[0].state.set_up(false, tick, "test");
        servers[1].state.refused(tick);
        let preview = upstream.preview(b"/", tick);
        assert_eq!(preview.chosen, Some(2));
        let classes: Vec<_> = preview.servers.iter().map(|one| one.class).collect();
        assert_eq!(classes, ["down", "refuses connections", "well"]);
        servers[1].state.set_up(false, tick, "test");
        servers[2].state.set_up(false, tick, "test");
        let preview = upstream.preview(b"/", tick);
        assert_eq!(
            (preview.chosen, preview.why.as_str()),
            (None, "every server is down or draining")
        );
    }
}
