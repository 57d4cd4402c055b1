//! A run as a picture: what was asked, what failed, how long it took, who was inside, second by second; and the
//! percentiles of each kind of step. It reads on a light and on a dark page.

use std::{collections::BTreeSet, fmt::Write};

use crate::report::{PerSecond, Report};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 132.0;
const PANEL: f64 = 130.0;
const GAP: f64 = 58.0;
const TOP: f64 = 96.0;
const ROW: f64 = 18.0;

const STYLE: &str = "
text { font: 13px system-ui, sans-serif; fill: #24292f }
.page { fill: #ffffff } .title { font-size: 16px; font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.number { font-variant-numeric: tabular-nums }
.grid { stroke: #d8dee4 } .line { fill: none; stroke-width: 1.8 }
.a { stroke: #0969da; fill: #0969da } .b { stroke: #57606a; fill: #57606a } .c { stroke: #bc4c00; fill: #bc4c00 }
.d { stroke: #cf222e; fill: #cf222e } .e { stroke: #8250df; fill: #8250df } .f { stroke: #9a6700; fill: #9a6700 }
.line.a, .line.b, .line.c, .line.d, .line.e, .line.f { fill: none }
text.a, text.b, text.c, text.d, text.e, text.f { stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117 } .small { fill: #9198a1 } .grid { stroke: #262c36 }
  .a { stroke: #4493f8; fill: #4493f8 } .b { stroke: #9198a1; fill: #9198a1 } .c { stroke: #db6d28; fill: #db6d28 }
  .d { stroke: #ff7b72; fill: #ff7b72 } .e { stroke: #a371f7; fill: #a371f7 } .f { stroke: #d29922; fill: #d29922 }
}
";

/// Colours of kinds of failures; more kinds share the last.
const FAILURES: [&str; 5] = ["d", "e", "f", "c", "b"];

/// A line of a panel: its name, its colour, and a value for each second.
struct Line<'a> {
    name: String,
    colour: &'a str,
    values: Vec<f64>,
}

/// The picture of a run.
pub(crate) fn of(report: &Report) -> String {
    let mut seconds = report.per_second.as_slice();
    // What was still on its way at the end is not worth a second of its own.
    while let [earlier @ .., last] = seconds
        && last.begun == 0
        && last.failed.is_empty()
    {
        seconds = earlier;
    }
    let line = |name: &str, colour, value: fn(&PerSecond) -> f64| Line {
        name: name.to_owned(),
        colour,
        values: seconds.iter().map(value).collect(),
    };
    let sent_off = |second: &PerSecond, kind: &String| {
        let told = second.failed.get(kind).or_else(|| second.refused.get(kind));
        told.copied().unwrap_or_default() as f64
    };
    let kinds: BTreeSet<&String> = seconds
        .iter()
        .flat_map(|second| second.failed.keys().chain(second.refused.keys()))
        .collect();
    let failures: Vec<Line<'_>> = kinds
        .iter()
        .enumerate()
        .map(|(i, kind)| Line {
            name: (*kind).clone(),
            colour: FAILURES[i.min(FAILURES.len() - 1)],
            values: seconds
                .iter()
                .map(|second| sent_off(second, kind))
                .collect(),
        })
        .collect();
    let mut drawing = Drawing {
        out: String::new(),
        y: TOP,
    };
    drawing.panel(
        "Requests a second",
        &[
            line("begun", "b", |s| s.begun as f64),
            line("answered", "a", |s| s.answered as f64),
        ],
        false,
    );
    drawing.panel("Failures and refusals a second", &failures, false);
    drawing.panel(
        "Latency of right answers in ms, from when they were due (logarithmic)",
        &[
            line("p50", "a", |s| s.p50_ms),
            line("p99", "c", |s| s.p99_ms),
            line("p99.9", "d", |s| s.p999_ms),
        ],
        true,
    );
    drawing.panel(
        "Checkouts a second",
        &[line("checkouts", "a", |s| s.checkouts as f64)],
        false,
    );
    drawing.panel(
        "Visitors inside and in the waiting room",
        &[
            line("inside", "e", |s| s.inside as f64),
            line("waiting", "f", |s| s.waiting as f64),
        ],
        false,
    );
    let attackers = attackers(report);
    if !attackers.is_empty() {
        drawing.panel("Attackers' connections that are open", &attackers, false);
    }
    drawing.percentiles(report);
    let height = drawing.y + 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"Load of the scenario {name}\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n",
        name = escaped(&report.scenario)
    );
    let title = report.about.as_ref().map_or_else(
        || report.scenario.clone(),
        |about| format!("{}: {about}", report.scenario),
    );
    out.push_str(&text(16.0, 30.0, &title, "title", "start"));
    let kept_up = if report.generator.kept_up {
        ""
    } else {
        "; the generator did not keep up"
    };
    let summary = format!(
        "{} visitors, {} requests, {} safe and {} changing ones failed{kept_up}",
        report.visitors,
        report.safe.requests + report.changing.requests,
        report.safe.failed,
        report.changing.failed
    );
    out.push_str(&text(16.0, 52.0, &summary, "small", "start"));
    out.push_str(&drawing.out);
    out.push_str("</svg>\n");
    out
}

/// Connections of attackers by what they do, whatever they speak.
fn attackers(report: &Report) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for attack in &report.attackers {
        let way = attack.way.split(' ').next().unwrap_or_default();
        let open = attack.open_by_second.iter().map(|open| *open as f64);
        if let Some(line) = lines.iter_mut().find(|line| line.name == way) {
            for (sum, open) in line.values.iter_mut().zip(open) {
                *sum += open;
            }
        } else {
            lines.push(Line {
                name: way.to_owned(),
                colour: FAILURES[lines.len().min(FAILURES.len() - 1)],
                values: open.collect(),
            });
        }
    }
    lines
}

struct Drawing {
    out: String,
    /// Where the next part begins.
    y: f64,
}

impl Drawing {
    fn panel(&mut self, title: &str, lines: &[Line<'_>], logarithmic: bool) {
        let (top, bottom) = (self.y, self.y + PANEL);
        self.out
            .push_str(&text(LEFT, top - 10.0, title, "", "start"));
        let all = || lines.iter().flat_map(|line| line.values.iter().copied());
        let most = all().fold(0.0, f64::max);
        let ticks = if logarithmic {
            decades(most)
        } else {
            steps(most)
        };
        let (lowest, highest) = match ticks.as_slice() {
            [lowest, .., highest] => (*lowest, *highest),
            _ => (0.0, 1.0),
        };
        let y = |value: f64| {
            let part = if logarithmic {
                (value.max(lowest) / lowest).ln() / (highest / lowest).ln()
            } else {
                value / highest
            };
            bottom - PANEL * part.clamp(0.0, 1.0)
        };
        for tick in &ticks {
            let at = y(*tick);
            self.rule(LEFT, at, WIDTH - RIGHT, at);
            self.out
                .push_str(&text(LEFT - 8.0, at + 4.0, &short(*tick), "small", "end"));
        }
        let count = lines.first().map_or(0, |line| line.values.len());
        let x = |second: usize| {
            LEFT + (WIDTH - LEFT - RIGHT) * second as f64 / count.max(2).saturating_sub(1) as f64
        };
        let every = [1, 2, 5, 10, 20, 60, 120, 300, 600]
            .into_iter()
            .find(|step| count / step <= 15);
        for second in (0..count).step_by(every.unwrap_or(3600)) {
            let label = format!("{second} s");
            self.out
                .push_str(&text(x(second), bottom + 15.0, &label, "small", "middle"));
        }
        for (i, line) in lines.iter().enumerate() {
            let points = line
                .values
                .iter()
                .enumerate()
                .map(|(second, value)| format!("{:.1},{:.1}", x(second), y(*value)));
            let points = points.collect::<Vec<_>>().join(" ");
            let colour = line.colour;
            let _ = writeln!(
                self.out,
                "<polyline points=\"{points}\" class=\"line {colour}\"/>"
            );
            let at = top + 10.0 + 16.0 * i as f64;
            self.out.push_str(&text(
                WIDTH - RIGHT + 10.0,
                at,
                &line.name,
                line.colour,
                "start",
            ));
        }
        if lines.is_empty() {
            self.out
                .push_str(&text(LEFT + 8.0, top + 20.0, "none", "small", "start"));
        }
        self.y = bottom + GAP;
    }

    fn percentiles(&mut self, report: &Report) {
        let columns = ["requests", "failed", "p50", "p90", "p99", "p99.9", "max"];
        let x = |column: usize| 300.0 + 92.0 * column as f64;
        self.out.push_str(&text(
            LEFT,
            self.y,
            "Latency by kind of step, in ms",
            "",
            "start",
        ));
        self.y += ROW;
        for (i, column) in columns.iter().enumerate() {
            self.out
                .push_str(&text(x(i), self.y, column, "small", "end"));
        }
        self.y += 8.0;
        self.rule(LEFT, self.y, x(columns.len() - 1), self.y);
        for (name, group) in report.by_step.iter().chain(&report.by_protocol) {
            self.y += ROW;
            self.out.push_str(&text(LEFT, self.y, name, "", "start"));
            let times = [
                group.p50_ms,
                group.p90_ms,
                group.p99_ms,
                group.p999_ms,
                group.max_ms,
            ];
            let cells = [group.requests.to_string(), group.failed.to_string()];
            let cells = cells
                .into_iter()
                .chain(times.map(|time| format!("{time:.2}")));
            for (i, cell) in cells.enumerate() {
                self.out
                    .push_str(&text(x(i), self.y, &cell, "number", "end"));
            }
        }
    }

    fn rule(&mut self, x1: f64, y1: f64, x2: f64, y2: f64) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"grid\"/>"
        );
    }
}

/// Marks from 0 to above the largest value.
fn steps(most: f64) -> Vec<f64> {
    let most = most.max(1.0);
    let rough = most / 4.0;
    let decade = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * decade)
        .into_iter()
        .find(|step| *step >= rough);
    let step = step.unwrap_or(rough).max(1.0);
    (0..=(most / step).ceil() as u32)
        .map(|n| f64::from(n) * step)
        .collect()
}

/// Powers of ten from a tenth of a millisecond to above the largest value.
fn decades(most: f64) -> Vec<f64> {
    let mut marks = vec![0.1, 1.0];
    while marks.last().is_some_and(|last| *last < most) {
        marks.push(marks[marks.len() - 1] * 10.0);
    }
    marks
}

fn short(value: f64) -> String {
    if value < 1.0 && value > 0.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn text(x: f64, y: f64, words: &str, class: &str, anchor: &str) -> String {
    let words = escaped(words);
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{words}</text>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_picture_has_its_panels_and_escapes_what_it_is_told() {
        let mut report = sample();
        report.by_step.insert("a<b".to_owned(), report.safe.clone());
        let svg = of(&report);
        for part in [
            "Requests a second",
            ">cut<",
            "Visitors inside",
            "Checkouts a second",
            "Attackers",
            "sample: A sample &amp; nothing",
            "a&lt;b",
        ] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
    }

    #[test]
    fn a_run_without_a_second_is_drawn() {
        let mut report = sample();
        report.per_second.clear();
        assert!(!of(&report).contains("NaN"));
    }

    #[test]
    fn marks_reach_beyond_the_largest_value() {
        assert_eq!(steps(0.0), [0.0, 1.0]);
        assert_eq!(steps(37.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(decades(250.0), [0.1, 1.0, 10.0, 100.0, 1000.0]);
    }
}
