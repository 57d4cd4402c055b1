//! What `dhal status` shows of it.

use std::fmt;

use super::{ConnectionStatus, Status, when};

/// Certificates that are written out.
const CERTIFICATES_SHOWN: usize = 50;

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.ready { "ready" } else { "draining" };
        writeln!(
            f,
            "dhal {} is {state}, up {} s, {} connections",
            self.version, self.uptime_seconds, self.connections
        )?;
        writeln!(f, "process   {} since {}", self.pid, when(self.since))?;
        if !self.sandbox.user.is_empty() {
            writeln!(f, "sandbox   {}", self.sandbox)?;
        }
        if let Some(before) = &self.before {
            writeln!(f, "before    {before}")?;
        }
        if self.max_connections < self.configured_connections {
            writeln!(
                f,
                "visitors  {} connections at most, not {}: the limit on open files is too low",
                self.max_connections, self.configured_connections
            )?;
        } else {
            writeln!(f, "visitors  {} connections at most", self.max_connections)?;
        }
        let last = if self.last_reload_successful {
            ""
        } else {
            " (the last reload was refused)"
        };
        writeln!(
            f,
            "config    {} generation {}{last}",
            self.config, self.generation
        )?;
        if let Some(entry) = &self.last_reload {
            writeln!(f, "reload    {entry}")?;
        }
        if let Some(entry) = &self.last_failure {
            writeln!(f, "refused   {entry}")?;
        }
        if let Some(failed) = &self.last_failed_upgrade {
            writeln!(f, "upgrade   {failed}")?;
        }
        if let Some(seconds) = self.probation_seconds {
            writeln!(f, "probation {seconds} s to go")?;
        }
        if self.differs_from_file {
            writeln!(
                f,
                "files     hold another configuration than the one in force"
            )?;
        }
        let cache = &self.cache;
        let share = if cache.requests == 0 {
            0.0
        } else {
            100.0 * cache.hits as f64 / cache.requests as f64
        };
        writeln!(
            f,
            "cache     {} entries, {:.1} of {:.0} MiB, {} of {} requests answered from it ({share:.1} %)",
            cache.responses,
            cache.bytes as f64 / 1_048_576.0,
            cache.capacity as f64 / 1_048_576.0,
            cache.hits,
            cache.requests,
        )?;
        if let Some(disk) = &cache.disk {
            writeln!(
                f,
                "disk      {} objects, {:.1} of {:.0} MiB, {} errors",
                disk.objects,
                disk.bytes as f64 / 1_048_576.0,
                disk.capacity as f64 / 1_048_576.0,
                disk.errors,
            )?;
        }
        for room in &self.waiting_rooms {
            writeln!(
                f,
                "room      {:<12} {} of {} inside ({} with a cart), {} wait, the last for some {} s; {} let in so far",
                room.name,
                room.inside,
                room.capacity,
                room.carts,
                room.waiting,
                room.expected_wait_seconds,
                room.admitted,
            )?;
        }
        for upstream in &self.upstreams {
            if upstream.shop_window_open {
                writeln!(
                    f,
                    "upstream  {:<12} shop window open: no server can answer, stored pages do",
                    upstream.name
                )?;
            }
            for server in &upstream.servers {
                writeln!(f, "upstream  {:<12} {server}", upstream.name)?;
            }
            if let Some(concurrency) = &upstream.concurrency {
                writeln!(f, "upstream  {:<12} {concurrency}", upstream.name)?;
            }
            let ConnectionStatus {
                open,
                waiting,
                opened,
                reused,
            } = upstream.connections;
            writeln!(
                f,
                "upstream  {:<12} {open} connections, {waiting} requests wait for one; {reused} of {} \
                 requests so far on one that was open",
                upstream.name,
                reused + opened,
            )?;
        }
        for limit in &self.limits {
            writeln!(f, "limit     {limit}")?;
        }
        for list in &self.address_lists {
            writeln!(f, "list      {list}")?;
        }
        for certificate in self.certificates.iter().take(CERTIFICATES_SHOWN) {
            writeln!(f, "tls       {certificate}")?;
        }
        if let Some(more) = self
            .certificates
            .get(CERTIFICATES_SHOWN..)
            .filter(|m| !m.is_empty())
        {
            let bad = more
                .iter()
                .filter(|certificate| certificate.error.is_some());
            writeln!(
                f,
                "tls       and {} more, {} of them with an error; all with --json",
                more.len(),
                bad.count()
            )?;
        }
        for problem in &self.certificate_problems {
            writeln!(f, "tls       NOT SERVED: {}", problem.error)?;
        }
        for certificate in &self.acme {
            writeln!(f, "acme      {certificate}")?;
        }
        Ok(())
    }
}
