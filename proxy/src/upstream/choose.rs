//! Which server answers.

mod key;
pub(crate) mod preview;

use std::{
    cmp::Reverse,
    hash::{BuildHasher, Hasher},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use super::{Server, health::refusals::Standing};
use crate::{config::model::Balance, random};

/// Chooses servers by one of the three ways.
pub struct Chooser {
    balance: Balance,
    /// Over how long the share of a server that is back grows.
    slow_start: Duration,
    /// Held while the servers' credits change.
    turn: Mutex<()>,
    /// The same in every process, so that a restart and a second edge choose alike.
    hash: ahash::RandomState,
}

/// A question to the chooser.
pub struct Choice<'a> {
    /// All servers.
    pub servers: &'a [Arc<Server>],
    /// Those that failed this request already.
    pub tried: &'a [SocketAddr],
    /// What consistent hashing goes by.
    pub key: &'a [u8],
    /// Time since the process began.
    pub tick: Duration,
}

/// The answer.
pub struct Chosen {
    /// Who is to be asked.
    pub server: Arc<Server>,
    /// It is likely to answer: it has not just refused others, or it is this request's turn to try it.
    pub is_willing: bool,
}

/// How good a server is to ask, the best first: the servers proper, then the backups, then those that are out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Well,
    /// It has all the connections that it may have; a request would wait for one.
    Full,
    /// It owes answers and says nothing. Before the backups: a report that takes its time is no outage.
    Stalled,
    WellBackup,
    FullBackup,
    StalledBackup,
    /// Only where nobody is better, whether tried or not: an ejection is never to cost the last one that answers.
    Ejected,
    EjectedBackup,
    /// It refused a connection just now.
    Refusing,
    RefusingBackup,
}

impl Class {
    /// `None` for one that is not asked at all. `claims`: a server whose turn to be tried has come is well.
    fn of(server: &Server, tick: Duration, claims: bool) -> Option<Self> {
        let state = &server.state;
        if !state.is_up() || server.is_draining() {
            return None;
        }
        let refuses = match state.standing(tick) {
            Standing::Well => false,
            Standing::Due => !claims,
            Standing::Refusing => true,
        };
        let (class, backup) = if refuses {
            (Self::Refusing, Self::RefusingBackup)
        } else if state.is_ejected(tick) {
            (Self::Ejected, Self::EjectedBackup)
        } else if state.is_stalled(tick) {
            (Self::Stalled, Self::StalledBackup)
        } else if server.has_room() {
            (Self::Well, Self::WellBackup)
        } else {
            (Self::Full, Self::FullBackup)
        };
        Some(if server.backup { backup } else { class })
    }

    fn is_ejected(self) -> bool {
        matches!(self, Self::Ejected | Self::EjectedBackup)
    }
}

impl Server {
    /// Whether nothing speaks against asking it.
    pub fn is_well(&self, tick: Duration) -> bool {
        let class = Class::of(self, tick, false);
        matches!(
            class,
            Some(Class::Well | Class::Full | Class::WellBackup | Class::FullBackup)
        )
    }
}

/// The best that there is.
struct Best<'s> {
    class: Class,
    first: &'s Arc<Server>,
    alone: bool,
    /// One of them refused connections, and may be tried again.
    due: Option<&'s Arc<Server>>,
}

/// A candidate with the part of its weight that counts now.
type Weighted<'s> = (&'s Arc<Server>, u64);

impl Chooser {
    /// A chooser.
    pub fn new(balance: Balance, slow_start: Duration) -> Self {
        Self {
            balance,
            slow_start,
            turn: Mutex::default(),
            hash: ahash::RandomState::with_seeds(1, 2, 3, 4),
        }
    }

    /// Picks from the best class that has anyone. A server that is down or draining is not asked.
    pub fn choose(&self, choice: &Choice<'_>) -> Option<Chosen> {
        let mut best = best(choice, true)?;
        let mut claims = true;
        if let Some(due) = best.due {
            if due.state.claim(choice.tick) {
                return Some(Chosen {
                    server: Arc::clone(due),
                    is_willing: true,
                });
            }
            // Another request tries it; to this one it is as it was.
            claims = false;
            best = self::best(choice, false)?;
        }
        let server = match best.alone {
            // Mostly there is one.
            true => best.first,
            false => self.among(choice, &best, claims),
        };
        Some(Chosen {
            server: Arc::clone(server),
            is_willing: best.class < Class::Refusing,
        })
    }

    fn among<'s>(&self, choice: &Choice<'s>, best: &Best<'s>, claims: bool) -> &'s Arc<Server> {
        let is_one = |server: &&Arc<Server>| {
            Class::of(server, choice.tick, claims) == Some(best.class)
                && !choice.tried.contains(&server.address)
        };
        let weighted = |server: &'s Arc<Server>| {
            let share = server.state.share(choice.tick, self.slow_start);
            (server, u64::from(server.weight) * share)
        };
        let candidates = choice.servers.iter().filter(is_one);
        let tier: Vec<Weighted<'s>> = candidates.map(weighted).collect();
        let chosen = match self.balance {
            Balance::RoundRobin => self.in_turn(&tier),
            Balance::LeastRequests => less_loaded(&tier),
            Balance::ConsistentHash => self.by_key(&tier, choice.key),
        };
        // They may have become worse since the look before.
        chosen.unwrap_or(best.first)
    }

    /// Smooth weighted round-robin: everyone gains its weight, the richest is chosen and pays for all.
    fn in_turn<'s>(&self, tier: &[Weighted<'s>]) -> Option<&'s Arc<Server>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let mut richest: Option<(i64, Reverse<usize>)> = None;
        for (i, (server, weight)) in tier.iter().enumerate() {
            let weight = i64::try_from(*weight).unwrap_or(i64::MAX);
            let credit = server.credit.fetch_add(weight, Ordering::Relaxed) + weight;
            total += weight;
            richest = richest.max(Some((credit, Reverse(i))));
        }
        let (_, Reverse(chosen)) = richest?;
        let (chosen, _) = tier.get(chosen)?;
        chosen.credit.fetch_sub(total, Ordering::Relaxed);
        Some(chosen)
    }

    /// Rendezvous hashing: everyone bids for the key, and only the keys of a server that leaves move. Who has
    /// [its part](room) already does not bid, so that one hot key does not bring its server down.
    fn by_key<'s>(&self, tier: &[Weighted<'s>], key: &[u8]) -> Option<&'s Arc<Server>> {
        let bid = |(server, weight): &Weighted<'s>| {
            let mut hasher = self.hash.build_hasher();
            hasher.write(key);
            hasher.write(server.name.as_bytes());
            // A uniform draw in (0, 1], weighted by -w / ln(u).
            let u = (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64;
            -(*weight as f64) / u.max(f64::MIN_POSITIVE).ln()
        };
        let weights = tier.iter().map(|(_, weight)| weight).sum();
        let requests = tier.iter().map(|(s, _)| s.state.in_flight() as u64).sum();
        let bids = tier.iter().filter(|(server, weight)| {
            (server.state.in_flight() as u64) < room(*weight, weights, requests)
        });
        let bids = bids.map(|candidate| (bid(candidate), candidate.0));
        let (_, server) = bids.max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(server)
    }
}

/// The best class that has anyone who was not tried, and who is in it.
fn best<'s>(choice: &Choice<'s>, claims: bool) -> Option<Best<'s>> {
    let mut best: Option<Best<'s>> = None;
    let mut ejected: Option<Best<'s>> = None;
    let mut all_worse = true;
    for server in choice.servers {
        let Some(class) = Class::of(server, choice.tick, claims) else {
            continue;
        };
        all_worse &= class >= Class::Ejected;
        if choice.tried.contains(&server.address) {
            continue;
        }
        let best = match class.is_ejected() {
            true => &mut ejected,
            false => &mut best,
        };
        match best {
            Some(best) if best.class < class => continue,
            Some(best) if best.class == class => best.alone = false,
            _ => {
                *best = Some(Best {
                    class,
                    first: server,
                    alone: true,
                    due: None,
                });
            }
        }
        let is_due = class < Class::Refusing && server.state.standing(choice.tick) == Standing::Due;
        if let (true, true, Some(best)) = (is_due, claims, best) {
            best.due = best.due.or(Some(server));
        }
    }
    match (best, ejected) {
        (Some(best), _) if best.class < Class::Ejected => Some(best),
        (best, ejected) => ejected.filter(|_| all_worse).or(best),
    }
}

/// A server with fewer requests than this is never too busy for its keys: one that is just ending counts too,
/// and an idle group is not to send a visitor's second request elsewhere.
const FEW: u64 = 2;

/// Requests that a server may have in flight under consistent hashing: 1.25 times its fair share of all, the
/// new one included. With less the keys would move too often, with more a hot key would weigh on its server.
fn room(weight: u64, weights: u64, requests: u64) -> u64 {
    let fair = 5 * (requests + 1) * weight;
    fair.div_ceil(4 * weights.max(1)).max(FEW)
}

/// Two drawn at random by weight, the one with fewer requests per weight (power of two choices). Of an idle
/// pair the first, so that weights count while there is little to do.
fn less_loaded<'s>(tier: &[Weighted<'s>]) -> Option<&'s Arc<Server>> {
    let first = draw(tier, None)?;
    let Some(second) = draw(tier, Some(first)) else {
        return Some(tier[first].0);
    };
    let ((a, weight_a), (b, weight_b)) = (tier[first], tier[second]);
    let (load_a, load_b) = (a.state.in_flight() as u64, b.state.in_flight() as u64);
    if (load_a, load_b) == (0, 0) {
        return Some(a);
    }
    // a/wa <= b/wb without division, with the new request.
    let first_is_better = (load_a + 1) * weight_b <= (load_b + 1) * weight_a;
    Some(if first_is_better { a } else { b })
}

/// One at random by weight, other than `not`.
fn draw(tier: &[Weighted<'_>], not: Option<usize>) -> Option<usize> {
    let others = tier.iter().enumerate().filter(|(i, _)| Some(*i) != not);
    let total: u64 = others.clone().map(|(_, (_, weight))| weight).sum();
    let mut left = random::below(usize::try_from(total).ok()?) as u64;
    let mut last = None;
    for (i, (_, weight)) in others {
        last = Some(i);
        if left < *weight {
            break;
        }
        left -= weight;
    }
    last
}

#[cfg(test)]
mod tests;
