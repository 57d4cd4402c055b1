//! A report for people.

use std::{collections::BTreeMap, fmt::Write};

use crate::report::{Generator, Group, Report};

/// Tables of a run.
pub(crate) fn of(report: &Report) -> String {
    let mut out = String::new();
    let line = |out: &mut String, text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(
        &mut out,
        format!(
            "{}: {} visitors in {:.0} s, {} connections, seed {}",
            report.scenario, report.visitors, report.seconds, report.connections, report.seed
        ),
    );
    for (title, groups) in [
        ("step", &report.by_step),
        ("protocol", &report.by_protocol),
        ("visitor", &report.by_visitor),
    ] {
        out.push('\n');
        header(&mut out, title);
        for (name, group) in groups {
            row(&mut out, name, group);
        }
    }
    out.push('\n');
    header(&mut out, "in all");
    row(&mut out, "safe", &report.safe);
    row(&mut out, "changing", &report.changing);
    out.push('\n');
    for (what, group) in [("safe", &report.safe), ("changing", &report.changing)] {
        if !group.fates.is_empty() {
            line(
                &mut out,
                format!("not right, {what}: {}", counts(&group.fates)),
            );
        }
    }
    if !report.stored.is_empty() {
        line(
            &mut out,
            format!("the store's part: {}", counts(&report.stored)),
        );
    }
    line(
        &mut out,
        format!(
            "orders acknowledged: {} (numbers given twice: {}); sent again because a kept connection was closed: {}; \
             failed though it was stored: {}",
            report.orders, report.orders_twice, report.repeated, report.failed_though_stored
        ),
    );
    if let Some(hits) = &report.hits {
        line(
            &mut out,
            format!(
                "answers of the store: {}, p50 {:.2} ms, p99 {:.2} ms",
                hits.requests, hits.p50_ms, hits.p99_ms
            ),
        );
    }
    let buyers = &report.buyers;
    if buyers.came > 0 {
        line(
            &mut out,
            format!(
                "buyers: {} came, {} let in, {} finished ({:.1} % of those the end did not cut off); stopped by: {}; under \
                 way at the end {}; never let in: {} gave up, {} still waiting",
                buyers.came,
                buyers.let_in,
                buyers.finished,
                buyers.finished_share * 100.0,
                counts(&buyers.stopped),
                buyers.under_way,
                buyers.gave_up,
                buyers.still_waiting
            ),
        );
    }
    let waiting = &report.waiting;
    if waiting.waited > 0 {
        line(
            &mut out,
            format!(
                "waiting room: {} had to wait ({} of them again), {} admitted after {:.1} s (p50), {:.1} s (p99), {:.1} s \
                 (longest), {} gave up, {} still waiting",
                waiting.waited,
                waiting.again,
                waiting.admitted,
                waiting.p50_s,
                waiting.p99_s,
                waiting.max_s,
                waiting.gave_up,
                waiting.still_waiting
            ),
        );
    }
    for attack in &report.attackers {
        line(
            &mut out,
            format!(
                "{} on {} connections: {} opened, {} refused, {} closed by the edge (half of them within {} ms), \
                 {} open at most, {} at the end; statuses: {}{}",
                attack.way,
                attack.connections,
                attack.opened,
                attack.refused,
                attack.closed_by_edge,
                attack.median_life_ms,
                attack.open_by_second.iter().max().unwrap_or(&0),
                attack.left,
                counts(&attack.statuses),
                match attack.own_failures {
                    0 => String::new(),
                    own => format!("; {own} NOT MADE for want of a socket here"),
                }
            ),
        );
    }
    line(&mut out, generator(&report.generator));
    out
}

fn header(out: &mut String, title: &str) {
    let _ = writeln!(
        out,
        "{title:<20} {:>9} {:>8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "requests", "failed", "refused", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"
    );
}

fn row(out: &mut String, name: &str, group: &Group) {
    let _ = writeln!(
        out,
        "{name:<20} {:>9} {:>8} {:>8} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>10.2}",
        group.requests,
        group.failed,
        group.refused,
        group.p50_ms,
        group.p90_ms,
        group.p99_ms,
        group.p999_ms,
        group.max_ms
    );
}

fn counts<K: std::fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    let told: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if told.is_empty() {
        "none".to_owned()
    } else {
        told.join(", ")
    }
}

/// Whether the generator kept up, in a sentence.
pub(crate) fn generator(generator: &Generator) -> String {
    let told = format!(
        "{:.2} % of requests begun more than 5 ms late, the latest {:.1} ms; {:.0} % of a core used, {:.0} % of the time \
         waited for one",
        generator.late_share * 100.0,
        generator.latest_ms,
        generator.cpu_share * 100.0,
        generator.waited_share * 100.0
    );
    if generator.kept_up {
        return format!("the generator kept up: {told}");
    }
    format!(
        "THE GENERATOR DID NOT KEEP UP, so latencies are its own in part: {told}; {} visitors turned away, {} unsettled, \
         {} requests without a socket",
        generator.turned_away, generator.unsettled, generator.own_failures
    )
}

/// What is different from an older run of the scenario.
pub(crate) fn compare(old: &Report, new: &Report) -> String {
    let mut out = String::new();
    if (&old.scenario, old.seed, old.scale) != (&new.scenario, new.seed, new.scale) {
        out.push_str("The older run is of another scenario, seed or scale.\n");
    }
    let _ = writeln!(
        out,
        "{:<20} {:>22} {:>26} {:>26}",
        "compared", "failed", "p50 ms", "p99 ms"
    );
    let groups = |report: &Report| {
        let all = report
            .by_protocol
            .clone()
            .into_iter()
            .chain(report.by_step.clone());
        all.collect::<Vec<_>>()
    };
    let earlier: BTreeMap<String, Group> = groups(old).into_iter().collect();
    for (name, now) in groups(new) {
        let Some(then) = earlier.get(&name) else {
            let _ = writeln!(out, "{name:<20} {:>22}", "new");
            continue;
        };
        let failed = format!("{} -> {}", then.failed, now.failed);
        let (p50, p99) = (
            change(then.p50_ms, now.p50_ms),
            change(then.p99_ms, now.p99_ms),
        );
        let _ = writeln!(out, "{name:<20} {failed:>22} {p50:>26} {p99:>26}");
    }
    out
}

/// Both, and the change in hundredths. What of it is chance nobody knows from two runs.
fn change(then: f64, now: f64) -> String {
    if then <= 0.0 {
        return format!("{then:.2} -> {now:.2}");
    }
    let percent = (now / then - 1.0) * 100.0;
    format!("{then:.2} -> {now:.2} ({percent:+.0} %)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_table_has_all_that_was_found() {
        let text = of(&sample());
        for part in [
            "home",
            "h2 safe",
            "cut 2",
            "hit 90",
            "slow-head on 5 connections",
            "408 3",
            "kept up",
            "1 finished (50.0 %",
            "6 had to wait",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_generator_that_was_slow_says_so() {
        let mut report = sample();
        report.generator.kept_up = false;
        assert!(of(&report).contains("DID NOT KEEP UP"));
    }

    #[test]
    fn an_older_run_is_set_beside() {
        let (old, mut new) = (sample(), sample());
        if let Some(home) = new.by_step.get_mut("home") {
            (home.failed, home.p99_ms) = (7, 90.0);
        }
        let text = compare(&old, &new);
        assert!(
            text.contains("2 -> 7") && text.contains("9.00 -> 90.00 (+900 %)"),
            "{text}"
        );
        assert!(text.contains("1.00 -> 1.00 (+0 %)"), "{text}");
        new.seed += 1;
        assert!(compare(&old, &new).contains("another scenario"));
    }
}
