//! Connections that are held to do harm, and what the edge does about them.
//!
//! They have a thread of their own, so that ten thousand of them do not make the visitors late.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinSet, LocalSet},
    time::{sleep_until, timeout_at},
};

use crate::{
    connect::{Protocol, Target},
    fate::Fate,
    hold,
    random::Dice,
    scenario::{Attacker, Way},
};

/// Bytes that the system of a slow reader takes in. Thousands of them are not to fill the machine's memory with what
/// the edge could not keep back.
const TAKEN_IN: u32 = 4096;

/// What became of the connections of one kind of attacker.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) opened: u64,
    pub(crate) refused: u64,
    /// For want of a socket of our own.
    pub(crate) own_failures: u64,
    /// Closed by the edge.
    pub(crate) closed: u64,
    /// Statuses it said before.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Milliseconds that connections lived which the edge closed.
    lives_ms: Vec<u64>,
    /// Open now.
    pub(crate) open: u64,
    /// Open at the end of each second.
    pub(crate) open_by_second: Vec<u64>,
    /// Open at the end.
    pub(crate) left: u64,
}

impl Held {
    /// How a connection ended after this life: with what the edge said before it closed it, without having been
    /// made, or with the attack.
    fn count(&mut self, ended: Option<Result<Option<u16>, Fate>>, life: Duration) {
        match ended {
            None => self.left += 1,
            Some(Err(Fate::Own)) => self.own_failures += 1,
            Some(Err(_)) => self.refused += 1,
            Some(Ok(status)) => {
                self.closed += 1;
                self.lives_ms
                    .push(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
                if let Some(status) = status {
                    *self.statuses.entry(status).or_default() += 1;
                }
            }
        }
    }

    /// Half of the closed connections lived no longer, in milliseconds.
    pub(crate) fn median_life_ms(&self) -> u64 {
        let mut lives = self.lives_ms.clone();
        lives.sort_unstable();
        lives.get(lives.len() / 2).copied().unwrap_or_default()
    }
}

/// Attackers at work.
pub(crate) struct Attack {
    kinds: Vec<Arc<Mutex<Held>>>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Attack {
    /// Lets them begin at `start`, each kind at its time, until `end`.
    pub(crate) fn begin(
        attackers: &[Attacker],
        target: &Target,
        start: Instant,
        end: Instant,
        dice: &mut Dice,
    ) -> anyhow::Result<Self> {
        let kinds: Vec<Arc<Mutex<Held>>> = attackers.iter().map(|_| Arc::default()).collect();
        let (stop, stopped) = watch::channel(false);
        let attack = Self {
            kinds,
            stop,
            thread: Mutex::default(),
        };
        if attackers.is_empty() {
            return Ok(attack);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (attackers, kinds) = (attackers.to_vec(), attack.kinds.clone());
        let (target, dice) = (target.clone(), dice.branch());
        let moments = (start, end);
        let thread = thread::Builder::new().name("attackers".to_owned());
        let thread = thread.spawn(move || {
            let all = everybody(&attackers, &kinds, target, moments, dice, stopped);
            LocalSet::new().block_on(&runtime, all);
        })?;
        *locked(&attack.thread) = Some(thread);
        Ok(attack)
    }

    /// Writes down how many connections are open.
    pub(crate) fn tick(&self) {
        for kind in &self.kinds {
            let mut held = locked(kind);
            let open = held.open;
            held.open_by_second.push(open);
        }
    }

    /// Ends it, and tells of each kind what became of it.
    pub(crate) fn end(&self) -> Vec<Held> {
        let _ = self.stop.send(true);
        let thread = locked(&self.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        let kinds = self.kinds.iter();
        kinds
            .map(|kind| std::mem::take(&mut *locked(kind)))
            .collect()
    }
}

fn locked<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn everybody(
    attackers: &[Attacker],
    kinds: &[Arc<Mutex<Held>>],
    target: Target,
    (start, end): (Instant, Instant),
    mut dice: Dice,
    mut stopped: watch::Receiver<bool>,
) {
    let target = Arc::new(target);
    let mut all = JoinSet::new();
    for (attacker, held) in attackers.iter().zip(kinds) {
        let begin = start + attacker.start.0;
        let over = attacker.last.map_or(end, |last| end.min(begin + last.0));
        for number in 0..attacker.connections {
            let part = f64::from(number) / f64::from(attacker.connections);
            let one = Attempts {
                attacker: attacker.clone(),
                target: Arc::clone(&target),
                held: Arc::clone(held),
                from: attacker.addresses.draw(&mut dice),
                begin: begin + attacker.ramp.0.mul_f64(part),
                over,
            };
            all.spawn_local(one.go_on());
        }
    }
    tokio::select! {
        _ = stopped.changed() => {
            for held in kinds {
                let mut held = locked(held);
                held.left += held.open;
            }
        }
        () = async { while all.join_next().await.is_some() {} } => {}
    }
}

/// One connection after the other.
struct Attempts {
    attacker: Attacker,
    target: Arc<Target>,
    held: Arc<Mutex<Held>>,
    from: Ipv4Addr,
    begin: Instant,
    over: Instant,
}

impl Attempts {
    /// Keeps one connection busy, and opens another where the edge closes it, until the attack is over.
    async fn go_on(self) {
        let mut next = self.begin;
        while next < self.over {
            sleep_until(next.into()).await;
            let opened = Instant::now();
            let ended = timeout_at(self.over.into(), self.connection()).await;
            locked(&self.held).count(ended.ok(), opened.elapsed());
            next = Instant::now() + self.attacker.pause.0;
        }
    }

    async fn connection(&self) -> Result<Option<u16>, Fate> {
        let Attacker { protocol, way, .. } = self.attacker;
        let stream = match way {
            Way::SlowReader => {
                self.target
                    .narrow_tcp(protocol, self.from, TAKEN_IN)
                    .await?
            }
            _ => self.target.tcp(protocol, self.from).await?,
        };
        locked(&self.held).opened += 1;
        let _open = Open::count(&self.held);
        let host = &self.target.host;
        let ended = match self.target.connector(protocol) {
            Some(tls) => {
                let stream = self.target.tls(&tls, stream).await?;
                hold::hold(stream, &self.attacker, host).await
            }
            None => hold::hold(stream, &self.attacker, host).await,
        };
        // However it ended, the edge ended it.
        Ok(ended.unwrap_or(None))
    }
}

/// A connection that is open.
struct Open<'a>(&'a Mutex<Held>);

impl<'a> Open<'a> {
    fn count(held: &'a Mutex<Held>) -> Self {
        locked(held).open += 1;
        Self(held)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        locked(self.0).open -= 1;
    }
}

/// Connections that all of them have at once, at most.
pub(crate) fn connections(attackers: &[Attacker]) -> u64 {
    attackers
        .iter()
        .map(|attacker| u64::from(attacker.connections))
        .sum()
}

/// What a kind is called: by what it does, and over what.
pub(crate) fn name(attacker: &Attacker) -> String {
    let Attacker { way, protocol, .. } = attacker;
    format!("{} {}", way.name(), Protocol::name(*protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_no_lives() {
        assert_eq!(Held::default().median_life_ms(), 0);
    }

    #[test]
    fn ends_are_told_apart() {
        let mut held = Held::default();
        for (ended, life) in [
            (Some(Ok(Some(408))), 9),
            (Some(Ok(None)), 1),
            (Some(Ok(Some(408))), 5),
            (Some(Err(Fate::Refused)), 0),
            (Some(Err(Fate::Own)), 0),
            (None, 100),
        ] {
            held.count(ended, Duration::from_millis(life));
        }
        assert_eq!((held.closed, held.refused, held.left), (3, 1, 1));
        assert_eq!(held.own_failures, 1);
        assert_eq!(
            (held.median_life_ms(), &held.statuses),
            (5, &BTreeMap::from([(408, 2)]))
        );
    }
}
