//! What systemd is told of the process (`sd_notify(3)`): that it serves, reloads, stops, lives, and which one it is.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody listens, and nothing is said.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// How long a word may wait that is said once: systemd reads a few at a time, and has more services.
const HEARD_WITHIN: Duration = Duration::from_millis(500);

/// The way to systemd.
pub struct Systemd {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
    /// Another process speaks for the service now.
    is_silent: AtomicBool,
}

impl Systemd {
    /// As the environment has it. `has_taken_over`: the variables were made for the process that this one relieves.
    pub fn of_environment(has_taken_over: bool) -> Self {
        let address = env::var_os("NOTIFY_SOCKET").and_then(|path| address(&path).ok());
        let variable = |name| env::var(name).ok();
        let pid = variable("WATCHDOG_PID").filter(|_| !has_taken_over);
        let watchdog = watchdog(
            variable("WATCHDOG_USEC").as_deref(),
            pid.as_deref(),
            std::process::id(),
        );
        Self {
            watchdog: watchdog.filter(|_| address.is_some()),
            address,
            is_silent: AtomicBool::new(false),
        }
    }

    /// The process serves, and is the one to talk to. After a reload, that is over.
    pub fn ready(&self, status: &str) {
        let pid = std::process::id();
        self.tell(&format!(
            "READY=1\nMAINPID={pid}\nSTATUS={}",
            one_line(status)
        ));
    }

    /// A reload has begun; [`ready`](Self::ready) ends it, whatever came of it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reloading"
        ));
    }

    /// What it is at.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", one_line(status)));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Another process is the service from now on, and this one says nothing more.
    pub fn hand_over(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}"));
        self.is_silent.store(true, Ordering::Release);
    }

    /// Whether there is one to tell.
    pub fn listens(&self) -> bool {
        self.address.is_some()
    }

    /// How often it wants to be told that the process lives: twice in the time that it waits.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// It lives.
    pub fn alive(&self) {
        // Nobody waits for that: it is said again.
        self.say("WATCHDOG=1", None);
    }

    fn tell(&self, what: &str) {
        self.say(what, Some(HEARD_WITHIN));
    }

    fn say(&self, what: &str, patience: Option<Duration>) {
        let Some(address) = &self.address else {
            return;
        };
        if self.is_silent.load(Ordering::Acquire) {
            return;
        }
        let told = UnixDatagram::unbound().and_then(|socket| {
            match patience {
                Some(_) => socket.set_write_timeout(patience)?,
                None => socket.set_nonblocking(true)?,
            }
            socket.send_to_addr(what.as_bytes(), address)
        });
        if let Err(why) = told {
            tracing::debug!(%why, "systemd is not told");
        }
    }
}

/// A path, or a name in the abstract namespace behind `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn watchdog(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec) / 2)
}

/// A variable ends with its line.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Whether threads live: each counts up while it does, and whoever watches finds out which have stopped.
#[derive(Default)]
pub struct Pulse(Vec<AtomicU64>);

impl Pulse {
    /// Of so many threads.
    pub fn of(threads: usize) -> Self {
        Self((0..threads).map(|_| AtomicU64::new(0)).collect())
    }

    /// A thread lives.
    pub fn beat(&self, thread: usize) {
        if let Some(beats) = self.0.get(thread) {
            beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The threads that have not lived since they were `seen`, which is brought up to date.
    pub fn stopped(&self, seen: &mut Vec<u64>) -> Vec<usize> {
        seen.resize(self.0.len(), u64::MAX);
        let mut stopped = Vec::new();
        for (thread, (beats, seen)) in self.0.iter().zip(seen).enumerate() {
            let beats = beats.load(Ordering::Relaxed);
            if std::mem::replace(seen, beats) == beats {
                stopped.push(thread);
            }
        }
        stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let half = Some(Duration::from_secs(5));
        for (usec, pid, interval) in [
            (Some("10000000"), None, half),
            (Some("10000000"), Some("7"), half),
            (Some("10000000"), Some("8"), None),
            (Some("10000000"), Some("none"), None),
            (Some("0"), None, None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(watchdog(usec, pid, 7), interval, "{usec:?} {pid:?}");
        }
    }

    #[test]
    fn sockets_are_paths_or_abstract() {
        let of = |name: &str| address(OsStr::new(name));
        let path = of("/run/systemd/notify").expect("a path");
        assert!(path.as_pathname().is_some());
        let name = of("@notify").expect("a name");
        assert_eq!(name.as_abstract_name(), Some(&b"notify"[..]));
        assert!(of("vsock:2:1234").is_err());
        assert!(of("").is_err());
    }

    #[test]
    fn a_thread_that_stops_is_found() {
        let pulse = Pulse::of(2);
        let mut seen = Vec::new();
        assert!(
            pulse.stopped(&mut seen).is_empty(),
            "nobody was looked at yet"
        );
        pulse.beat(0);
        assert_eq!(pulse.stopped(&mut seen), [1]);
        pulse.beat(0);
        pulse.beat(1);
        assert!(pulse.stopped(&mut seen).is_empty());
        pulse.beat(7);
        assert_eq!(pulse.stopped(&mut seen), [0, 1]);
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("ready\nREADY=0"), "ready");
        assert_eq!(one_line(""), "");
    }
}
