//! The report as a terminal shows it.

use std::fmt;

use super::{ClientReport, LimitReport, PassedOver, Peaks, Report, RouteReport, rank};

/// Statuses that are shown of a client; the rarest are left out.
const STATUSES: usize = 5;

/// What a row shows of a window.
type Value = fn(&Peaks) -> u32;

/// Width of names and addresses; a longer one moves its line.
const NAME: usize = 28;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {}, from {} to {} ({})",
            counted(self.requests, "request"),
            counted(self.clients as u64, "client"),
            self.from,
            self.to,
            span(self.seconds)
        )?;
        self.passed_over
            .put(f, self.requests, self.asked.max_keys)?;
        for limit in &self.limits {
            limit.put(f)?;
        }
        for route in &self.routes {
            writeln!(f)?;
            route.put(f, self.asked.percentile)?;
        }
        writeln!(f, "\n{}", self.toml.trim_end())
    }
}

impl PassedOver {
    fn put(&self, f: &mut fmt::Formatter<'_>, requests: u64, max_keys: u32) -> fmt::Result {
        if self.broken_lines > 0 {
            let lines = counted(self.broken_lines, "line");
            writeln!(
                f,
                "passed over: {lines} of no JSON access log, or hours ahead of the lines behind"
            )?;
        }
        if self.late_lines > 0 {
            let lines = counted(self.late_lines, "line");
            writeln!(f, "passed over: {lines} more than a minute out of order")?;
        }
        // A few are downloads.
        if self.late_lines > requests / 100 {
            writeln!(
                f,
                "CAUTION: so many mean files in the wrong order; give the oldest first"
            )?;
        }
        if self.requests_without_route > 0 {
            let requests = counted(self.requests_without_route, "request");
            writeln!(f, "passed over: {requests} of no route")?;
        }
        if self.requests_beyond_max_keys > 0 {
            writeln!(
                f,
                "CAUTION: there are more than {max_keys} clients of routes; {} of those that came later are left \
                 out (--max-keys)",
                counted(self.requests_beyond_max_keys, "request")
            )?;
        }
        Ok(())
    }
}

impl LimitReport {
    fn put(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limit {} in force: {} of {} {}, most of",
            self.limit,
            counted(self.requests, "request"),
            counted(self.clients as u64, "client"),
            match &*self.verdict {
                "would_reject" => "would have been rejected",
                other => other,
            }
        )?;
        for (i, (client, count)) in self.worst.iter().enumerate() {
            let mark = if i > 0 { "," } else { "" };
            write!(f, "{mark} {client} ({count})")?;
        }
        writeln!(f)
    }
}

impl RouteReport {
    fn put(&self, f: &mut fmt::Formatter<'_>, percentile: f64) -> fmt::Result {
        writeln!(
            f,
            "{}: {} of {}",
            self.route,
            counted(self.requests, "request"),
            counted(self.clients as u64, "client")
        )?;
        write!(f, "  {:<NAME$}", "one client's most in")?;
        for peaks in &self.peaks {
            write!(f, "{:>9}", format!("{} s", peaks.window_seconds))?;
        }
        writeln!(f)?;
        let share = format!("{percentile} % of the clients");
        let rows: [(&str, Value); 3] = [
            ("half of the clients", |peaks| peaks.half_of_clients),
            (&share, |peaks| peaks.percentile_of_clients),
            ("the greediest", |peaks| peaks.greediest_client),
        ];
        for (name, value) in rows {
            write!(f, "  {name:<NAME$}")?;
            for peaks in &self.peaks {
                write!(f, "{:>9}", value(peaks))?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "  proposed: rate {}, burst {}; it would have refused {} ({:.2} %) of {}",
            self.proposal.rate,
            self.proposal.burst,
            counted(self.refused_requests, "request"),
            100.0 * self.refused_requests as f64 / self.requests.max(1) as f64,
            counted(self.refused_clients as u64, "client")
        )?;
        if percentile < 100.0 && rank(self.clients, percentile) == self.clients {
            writeln!(
                f,
                "  CAUTION: of so few clients {percentile} % are all of them, so that the greediest sets the limit; read more \
                 of the log, or ask for a lower --percentile"
            )?;
        }
        writeln!(
            f,
            "  {:<NAME$}{:>9}{:>9}{:>9}{:>9}{:>9}  statuses",
            "the greediest clients", "requests", "refused", "in 1 s", "10 s", "60 s"
        )?;
        for client in &self.worst {
            client.put(f)?;
        }
        Ok(())
    }
}

impl ClientReport {
    fn put(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [second, ten, minute] = self.peaks;
        let mut statuses: Vec<(u16, u64)> = self.statuses.iter().map(|(s, n)| (*s, *n)).collect();
        statuses.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        statuses.truncate(STATUSES);
        let statuses: Vec<String> = statuses
            .into_iter()
            .map(|(status, count)| format!("{status} ({count})"))
            .collect();
        writeln!(
            f,
            "  {:<NAME$}{:>9}{:>9}{second:>9}{ten:>9}{minute:>9}  {}",
            self.client,
            self.requests,
            self.refused,
            statuses.join(", ")
        )
    }
}

/// In the two largest units.
fn span(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} m {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} m"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `1 client`, `2 clients`.
fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
