//! What the runs have shown, as a table and as a chart.

use std::fmt::Write;

use crate::{CANDIDATES, Outcome, Scenario};

type All<'a> = [(&'a Scenario, Vec<Outcome>)];

fn geometric(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), v| (sum + v.max(0.01).ln(), n + 1.0));
    f64::exp(sum / n)
}

/// The table.
pub(crate) fn markdown(all: &All<'_>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line("# Limits on concurrency, simulated\n");
    line(
        "`make simulate` writes this file; the shops are modelled and the random numbers fixed, so that it is the",
    );
    line(
        "same every time; each number is the mean of five runs. The queue is that of `proxy/adaptive-concurrency` for all: 256 places, one second.",
    );
    line(
        "A visitor waits 4 s for an answer, then leaves, which the shop does not notice. Goodput and",
    );
    line(
        "checkouts: answers in time, by the most that the shop could have given at its best, in percent (it may be a little",
    );
    line(
        "over, where the drawn work is less than its mean). Shed: in percent of what was asked for by checkout,",
    );
    line(
        "cart, browse, bot. Adapted: seconds from the change until three seconds bring 85 % of the best.\n",
    );
    line("## Overall\n");
    line("| limit | goodput, geometric mean | worst | checkouts, geometric mean | worst |");
    line("|---|---:|---:|---:|---:|");
    for (i, (name, _)) in CANDIDATES.iter().enumerate() {
        let good = || all.iter().map(|(_, outcomes)| outcomes[i].goodput);
        let sold = || all.iter().map(|(_, outcomes)| outcomes[i].checkouts);
        line(&format!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.0} |",
            100.0 * geometric(good()),
            100.0 * good().fold(f64::MAX, f64::min),
            100.0 * geometric(sold()),
            100.0 * sold().fold(f64::MAX, f64::min),
        ));
    }
    for (scenario, outcomes) in all {
        line(&format!("\n## {}\n", scenario.name));
        line("| limit | goodput | checkouts | p50 ms | p99 ms | shed | adapted |");
        line("|---|---:|---:|---:|---:|---|---:|");
        for ((name, _), outcome) in CANDIDATES.iter().zip(outcomes) {
            let shed: Vec<_> = outcome
                .shed
                .iter()
                .zip(outcome.asked)
                .map(|(shed, asked)| format!("{:.0}", 100.0 * *shed as f64 / asked.max(1) as f64))
                .collect();
            let adapted = outcome
                .adapted
                .map_or_else(|| "never".to_owned(), |s| format!("{s:.0}"));
            line(&format!(
                "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {} | {adapted} |",
                100.0 * outcome.goodput,
                100.0 * outcome.checkouts,
                1000.0 * outcome.p50,
                1000.0 * outcome.p99,
                shed.join(" / "),
            ));
        }
    }
    out
}

/// Which limits the chart shows.
const SHOWN: [(usize, &str); 5] = [
    (2, "#9aa5b1"),
    (4, "#d9822b"),
    (5, "#2b7bd9"),
    (6, "#8a4fbf"),
    (7, "#1a9850"),
];

/// Answers in time by second, a picture for each scenario.
pub(crate) fn svg(all: &All<'_>) -> String {
    const W: f64 = 380.0;
    const H: f64 = 150.0;
    let columns = 3;
    let rows = all.len().div_ceil(columns);
    let (width, height) = (columns as f64 * W, rows as f64 * H + 40.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"system-ui,sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    // Writing to memory does not fail.
    for (n, (index, colour)) in SHOWN.iter().enumerate() {
        let x = 12.0 + n as f64 * 150.0;
        let name = CANDIDATES[*index].0;
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"12\" width=\"14\" height=\"4\" fill=\"{colour}\"/><text x=\"{}\" y=\"18\">{name}</text>",
            x + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"780\" y=\"18\" fill=\"#666\">answers in time per second; grey area: the most there can be</text>"
    );
    for (n, (scenario, outcomes)) in all.iter().enumerate() {
        let (left, top) = (
            (n % columns) as f64 * W + 12.0,
            (n / columns) as f64 * H + 48.0,
        );
        let (w, h) = (W - 28.0, H - 34.0);
        let best = &outcomes[0].best;
        let most = best.iter().copied().fold(1.0, f64::max) * 1.15;
        let seconds = best.len() as f64;
        let point = |s: usize, v: f64| {
            let x = left + w * s as f64 / seconds;
            let y = top + h - h * (v / most).min(1.0);
            format!("{x:.1},{y:.1}")
        };
        let _ = writeln!(
            out,
            "<text x=\"{left}\" y=\"{}\" font-weight=\"600\">{}</text>",
            top - 5.0,
            scenario.name
        );
        let area: Vec<_> = best.iter().enumerate().map(|(s, v)| point(s, *v)).collect();
        let _ = writeln!(
            out,
            "<polygon fill=\"#eceff2\" points=\"{},{} {} {},{}\"/>",
            left,
            top + h,
            area.join(" "),
            left + w,
            top + h
        );
        for (index, colour) in SHOWN {
            let trace = outcomes[index].trace.iter().enumerate();
            let line: Vec<_> = trace.map(|(s, (_, good))| point(s, *good)).collect();
            let _ = writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\" points=\"{}\"/>",
                line.join(" ")
            );
        }
    }
    out.push_str("</svg>\n");
    out
}
