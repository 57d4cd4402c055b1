//! Passive checks: a server that fails requests is left alone for a while.

use std::{sync::PoisonError, time::Duration};

use crate::config::model::Eject;
use crate::upstream::{
    Server, Upstream,
    health::changes::{Change, Why},
};

impl Upstream {
    /// Notes that a server failed a request; may eject it.
    pub fn failed(&self, server: &Server, tick: Duration) {
        let state = &server.state;
        if state.is_ejected(tick) {
            // Asked before, or in need: it has been judged already.
            return;
        }
        let failures = state.count_failure();
        if let Some(window) = &server.window {
            window.count(tick, true);
        }
        if let Some(eject) = &self.config.eject
            && let Some(why) = verdict(eject, server, failures, tick)
        {
            self.eject(eject, server, &why, tick);
        }
    }

    fn eject(&self, eject: &Eject, server: &Server, why: &Why, tick: Duration) {
        let _one_at_a_time = self
            .lasting
            .ejecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !server.state.is_up() {
            return;
        }
        let servers = self.servers.load();
        let out = servers.iter().filter(|s| s.state.is_ejected(tick)).count();
        let may_go = servers.len() * usize::from(eject.max_percent) / 100;
        // Never the last one that would be asked, whatever the share.
        let another = |other: &Server| other.address != server.address && other.is_well(tick);
        if out >= may_go || !servers.iter().any(|other| another(other)) {
            return;
        }
        // It may be over, and nobody has told it yet.
        self.tell_return(server, tick);
        let (base, most) = (eject.base_time, eject.max_time);
        if server.state.eject(tick, base, most, &why.details) {
            if let Some(window) = &server.window {
                window.clear();
            }
            self.tell(server, Change::Ejected, why);
        }
    }

    /// Tells that a server's ejection is over, where that is news.
    pub(in crate::upstream) fn tell_return(&self, server: &Server, tick: Duration) {
        if let Some(length) = server.state.note_return(tick) {
            let details = format!("it was out for {length:?}");
            self.tell(server, Change::Returned, &Why::new("time_over", details));
        }
    }
}

/// Why a server is to go.
fn verdict(eject: &Eject, server: &Server, failures: u32, tick: Duration) -> Option<Why> {
    if failures >= eject.consecutive_failures {
        let details = match failures {
            1 => "1 failure".to_owned(),
            n => format!("{n} failures in a row"),
        };
        return Some(Why::new("failures_in_a_row", details));
    }
    let counted = server.window.as_ref()?.counted(tick);
    let many = counted.requests >= u64::from(eject.min_requests);
    if !many || 100 * counted.failed < u64::from(eject.failure_percent) * counted.requests {
        return None;
    }
    let (percent, requests) = (counted.percent(), counted.requests);
    let details = format!("{percent} % of {requests} requests failed");
    Some(Why::new("failure_rate", details))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;
    use crate::{
        config::model,
        upstream::testing::{self, SECOND},
    };

    fn rules() -> Eject {
        Eject {
            consecutive_failures: 3,
            failure_percent: 50,
            min_requests: 20,
            window: 10 * SECOND,
            base_time: 10 * SECOND,
            max_time: 60 * SECOND,
            max_percent: 50,
        }
    }

    fn upstream(servers: usize, rules: Eject) -> Upstream {
        testing::upstream(servers, |config: &mut model::Upstream| {
            config.eject = Some(rules);
        })
    }

    fn fail(upstream: &Upstream, nth: usize, times: u32, tick: Duration) {
        let servers = upstream.servers();
        (0..times).for_each(|_| upstream.failed(&servers[nth], tick));
    }

    fn out(upstream: &Upstream, tick: Duration) -> Vec<usize> {
        let servers = upstream.servers();
        let out = |nth: &usize| servers[*nth].state.is_ejected(tick);
        (0..servers.len()).filter(out).collect()
    }

    #[test]
    fn failures_in_a_row() {
        let upstream = upstream(4, rules());
        fail(&upstream, 0, 2, SECOND);
        upstream.servers()[0].succeeded(SECOND, SECOND);
        fail(&upstream, 0, 2, SECOND);
        assert_eq!(out(&upstream, SECOND), [0; 0]);
        fail(&upstream, 0, 1, SECOND);
        assert_eq!(out(&upstream, SECOND), [0]);
        let why = upstream.servers()[0].state.notes().ejection;
        assert_eq!(
            why.map(|note| note.why),
            Some("3 failures in a row".to_owned())
        );
        assert_eq!(out(&upstream, 11 * SECOND), [0; 0]);
    }

    #[test]
    fn a_share_of_failures() {
        let upstream = upstream(4, rules());
        let servers = upstream.servers();
        let two = |tick| {
            upstream.failed(&servers[1], tick);
            servers[1].succeeded(tick, tick);
        };
        (0..9).for_each(|_| two(SECOND));
        servers[1].succeeded(SECOND, SECOND);
        upstream.failed(&servers[1], SECOND);
        assert_eq!(out(&upstream, SECOND), [1], "10 of 20");
        let why = servers[1].state.notes().ejection.expect("ejected");
        assert_eq!(why.why, "50 % of 20 requests failed");
        // It begins anew, and what is old counts no more.
        (0..9).for_each(|_| two(12 * SECOND));
        (0..9).for_each(|_| two(40 * SECOND));
        servers[1].succeeded(40 * SECOND, 40 * SECOND);
        servers[1].succeeded(40 * SECOND, 40 * SECOND);
        upstream.failed(&servers[1], 40 * SECOND);
        assert_eq!(out(&upstream, 40 * SECOND), [0; 0], "10 of 21");
    }

    #[test]
    fn a_cap_and_never_the_last() {
        let upstream_of_four = upstream(4, rules());
        (0..4).for_each(|nth| fail(&upstream_of_four, nth, 9, SECOND));
        assert_eq!(out(&upstream_of_four, SECOND), [0, 1], "half of them");

        let all = Eject {
            max_percent: 100,
            ..rules()
        };
        for servers in 1..4 {
            let upstream = upstream(servers, all.clone());
            (0..servers).for_each(|nth| fail(&upstream, nth, 9, SECOND));
            assert_eq!(out(&upstream, SECOND).len(), servers - 1);
        }

        // Who would not be asked is no other one.
        for ill in [
            |server: &Server| server.state.set_drained(true),
            |server: &Server| server.state.refused(SECOND),
            |server: &Server| assert!(server.state.set_up(false, SECOND, "")),
        ] {
            let upstream = upstream(2, all.clone());
            ill(&upstream.servers()[0]);
            fail(&upstream, 1, 9, SECOND);
            assert_eq!(out(&upstream, SECOND), [0; 0]);
        }
    }

    #[test]
    fn two_threads_do_not_eject_the_last_two() {
        let rules = Eject {
            max_percent: 100,
            consecutive_failures: 1,
            ..rules()
        };
        for _ in 0..200 {
            let upstream = Arc::new(upstream(2, rules.clone()));
            let threads = [0, 1].map(|nth| {
                let upstream = Arc::clone(&upstream);
                thread::spawn(move || fail(&upstream, nth, 3, SECOND))
            });
            for thread in threads {
                thread.join().expect("no panic");
            }
            assert_eq!(out(&upstream, SECOND).len(), 1);
        }
    }
}
