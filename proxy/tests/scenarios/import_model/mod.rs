//! `dhal import` against a model of nginx: whom nginx keeps out, the imported configuration keeps out too.
//!
//! Configurations are small and of a grammar that has what importers stumble over; each is asked many requests, and
//! what is found is made smaller until no directive can go. `DHAL_MODEL_CASES` and `DHAL_MODEL_SEED` make it longer,
//! and another one.

mod generator;
mod nginx;
mod ours;
mod real;

use self::{
    generator::Dice,
    nginx::{Asked, Model},
    ours::{Alone, Ours},
};

/// Configurations of a usual run.
const CONFIGURATIONS: u64 = 150;

/// Requests for each.
const REQUESTS: usize = 40;

/// What came of a run.
#[derive(Debug, Default)]
struct Count {
    asked: u64,
    kept_out: u64,
    /// Those that Dhal keeps out, and nginx does not.
    stricter: u64,
    /// Configurations that Dhal does not take.
    refused: u64,
}

/// Both, side by side.
struct Pair<'a> {
    model: Model<'a>,
    ours: Ours,
}

impl Pair<'_> {
    /// What is wrong with the answer to a request, if something is.
    fn wider(&self, asked: &Asked, count: &mut Count) -> Option<String> {
        let doors = self.model.doors(asked.client);
        let door = *doors.first()?;
        let theirs = |asked: &Asked| -> Vec<_> {
            let all = doors.iter().map(|door| self.model.answer(*door, asked));
            all.collect()
        };
        let is_out = |answers: &[nginx::Outcome]| {
            let is = |o: &nginx::Outcome| matches!(o, nginx::Outcome::Refused(_));
            answers.iter().all(is)
        };
        let mut nginx = theirs(asked);
        // Whoever may GET may ask for the head of it.
        if asked.method == "HEAD" && is_out(&nginx) {
            nginx = theirs(&Asked {
                method: "GET",
                ..asked.clone()
            });
        }
        let dhal = self.ours.answer(door, asked);
        count.asked += 1;
        let kept_out = is_out(&nginx);
        count.kept_out += u64::from(kept_out);
        match &dhal {
            ours::Outcome::Refused(_) => {
                count.stricter += u64::from(!kept_out);
                return None;
            }
            ours::Outcome::Led => return None,
            ours::Outcome::Fixed(_) if !kept_out => return None,
            ours::Outcome::Fixed(_) => {}
            ours::Outcome::Passed { upstream, target } => {
                let is_hidden =
                    !upstream.is_empty() && !self.model.is_reached(upstream, asked.client);
                // Where both read a path in another way, the shop sees what Dhal has read, which anybody may ask nginx for.
                let same = Asked {
                    target: target.clone(),
                    ..asked.clone()
                };
                if !is_hidden && (!kept_out || !is_out(&theirs(&same))) {
                    return None;
                }
            }
        }
        Some(format!("{asked:?}: nginx {nginx:?}, Dhal {dhal:?}"))
    }
}

/// Asks all of a configuration; what is wrong first.
fn wrong(
    text: &str,
    asked: &[Asked],
    count: &mut Count,
) -> Result<Option<(Asked, String)>, String> {
    let tree = nginx_import::parse(&Alone(text), "nginx.conf").map_err(|why| why.to_string())?;
    let import = nginx_import::import(&Alone(text), "nginx.conf").map_err(|why| why.to_string())?;
    let model = Model::of(&tree).ok_or("no server")?;
    let ours = Ours::of(&import.toml)?;
    let pair = Pair { model, ours };
    for asked in asked {
        if let Some(why) = pair.wider(asked, count) {
            return Ok(Some((asked.clone(), format!("{why}\n{}", import.toml))));
        }
    }
    Ok(None)
}

/// The text without as many of its lines and blocks as can go.
fn shrunk(text: &str, asked: &Asked) -> (String, String) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let still = |lines: &[String]| {
        let text = lines.join("\n");
        let asked = [asked.clone()];
        let (text, asked) = (text.clone(), asked);
        std::panic::catch_unwind(move || wrong(&text, &asked, &mut Count::default()).ok().flatten())
            .ok()
            .flatten()
            .map(|(_, why)| why)
    };
    let mut why = still(&lines).unwrap_or_default();
    let mut changed = true;
    while changed {
        changed = false;
        let mut at = 0;
        while at < lines.len() {
            // A line, a block with what is in it, or its two ends alone.
            let mut ends = vec![(at, at + 1, false)];
            if lines[at].trim_end().ends_with('{') {
                let mut depth = 0;
                let end = (at..lines.len()).find(|i| {
                    depth += i32::from(lines[*i].trim_end().ends_with('{'));
                    depth -= i32::from(lines[*i].trim() == "}");
                    depth == 0
                });
                ends = end.map_or(Vec::new(), |end| {
                    vec![(at, end + 1, false), (at, end, true)]
                });
            }
            let smaller = ends.into_iter().find_map(|(from, to, only_ends)| {
                let mut less = lines.clone();
                match only_ends {
                    true => {
                        less.remove(to);
                        less.remove(from);
                    }
                    false => {
                        less.drain(from..to);
                    }
                }
                let why = still(&less)?;
                Some((less, why))
            });
            match smaller {
                Some((less, said)) => {
                    (lines, why) = (less, said);
                    changed = true;
                }
                None => at += 1,
            }
        }
    }
    (lines.join("\n"), why)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn nothing_is_wider_than_nginx() {
    let seed = number("DHAL_MODEL_SEED", 1);
    let configurations = number("DHAL_MODEL_CASES", CONFIGURATIONS);
    let mut count = Count::default();
    let mut found = Vec::new();
    for own in seed..seed + configurations {
        let mut dice = Dice::new(own);
        let text = generator::configuration(&mut dice);
        let tree = nginx_import::parse(&Alone(&text), "nginx.conf").expect(&text);
        let asked = generator::requests(&mut dice, &tree, REQUESTS);
        match wrong(&text, &asked, &mut count) {
            Ok(None) => {}
            Ok(Some((asked, _))) => {
                let (text, why) = shrunk(&text, &asked);
                found.push(format!("seed {own}: {why}\n{text}"));
                if found.len() as u64 == number("DHAL_MODEL_SHOWN", 1) {
                    break;
                }
            }
            Err(why) => {
                count.refused += 1;
                eprintln!("seed {own}: {why}");
            }
        }
    }
    eprintln!("{count:?}");
    assert!(found.is_empty(), "{}", found.join("\n\n"));
    // Most has to be asked for real, or nothing is shown.
    assert!(count.refused * 50 <= configurations, "{count:?}");
    assert!(
        count.kept_out * 5 > count.asked && count.stricter * 3 < count.asked * 2,
        "{count:?}"
    );
}
