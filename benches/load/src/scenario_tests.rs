use std::path::Path;

use super::*;

const SMALL: &str = r#"
name = "small"
[protocols]
http1 = 1
[[phases]]
seconds = 10
rate = 50
ramp_to = 400
[[visitors]]
name = "reader"
share = 1
[[visitors.steps]]
do = "product"
times = [1, 3]
"#;

#[test]
fn a_small_one_has_sensible_defaults() {
    let small = Scenario::parse(SMALL).expect("a scenario");
    assert_eq!((small.seed, small.visitors_max), (1, 20_000));
    assert_eq!(small.timeout.0, Duration::from_secs(10));
    assert_eq!((small.seconds(), small.phases[0].end_rate()), (10.0, 400.0));
    let reader = &small.visitors[0];
    assert!(reader.cookies && !reader.assets && !reader.unwelcome);
    assert_eq!(reader.steps[0].times, Times::Between(1, 3));
}

#[test]
fn what_is_wrong_is_said() {
    for (from, to, said) in [
        ("name = \"small\"", "name = \"small\"\ncolour = 1", "colour"),
        ("http1 = 1", "http4 = 1", "http4"),
        ("http1 = 1", "http1 = 0", "at least one above it"),
        ("rate = 50", "rate = -1", "phase 1: a rate"),
        ("rate = 50", "rate = 50\nramp = 3", "ramp"),
        ("seconds = 10", "seconds = 0", "seconds must be above 0"),
        (
            "share = 1",
            "share = 1\nthink = \"2\"",
            "`2` is no duration",
        ),
        (
            "share = 1",
            "share = 1\nthink = \"s\"",
            "does not begin with a number",
        ),
        (
            "share = 1",
            "share = 1\naddresses = \"10.0.0.0/8\"",
            "127.0.0.0/8",
        ),
        (
            "share = 1",
            "share = 1\naddresses = \"127.0.0.1/16\"",
            "beyond its length",
        ),
        (
            "share = 1",
            "share = 1\naddresses = \"127.0.0.0/4\"",
            "from 8 to 32",
        ),
        ("share = 1", "share = 1\nsahre = 1", "sahre"),
        ("\"product\"", "\"produkt\"", "produkt"),
        (
            "\"product\"",
            "\"get\"",
            "`reader`, step 1: `get` needs a path",
        ),
        (
            "\"product\"",
            "\"product\"\npath = \"/\"",
            "only `get` has a path",
        ),
        (
            "\"product\"",
            "\"product\"\nchance = 2",
            "chance is from 0 to 1",
        ),
        (
            "\"product\"",
            "\"checkout\"\nabandon = \"1s\"",
            "can be abandoned",
        ),
        ("[1, 3]", "[3, 1]", "the fewest and the most"),
        (
            "[[visitors]]",
            "[[attackers]]\nway = \"shout\"\nconnections = 1\n[[visitors]]",
            "shout",
        ),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let error = Scenario::parse(&SMALL.replacen(from, to, 1)).expect_err(to);
        assert!(format!("{error:#}").contains(said), "{to}: {error:#}");
    }
}

#[test]
fn contradictions_are_told_at_once() {
    let text = SMALL
        .replace("rate = 50", "rate = -1")
        .replace("[1, 3]", "[3, 1]");
    let error = Scenario::parse(&text)
        .expect_err("two mistakes")
        .to_string();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn times_are_drawn_between_both_ends() {
    let mut dice = Dice::new(1);
    let drawn: Vec<u32> = (0..100)
        .map(|_| Times::Between(1, 3).draw(&mut dice))
        .collect();
    for times in 1..=3 {
        assert!(drawn.contains(&times));
    }
    assert!(drawn.iter().all(|times| (1..=3).contains(times)));
}

#[test]
fn the_scenarios_that_come_along_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let scenario = Scenario::read(&file).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(
            file.file_stem().and_then(|name| name.to_str()),
            Some(&*scenario.name)
        );
    }
}

#[test]
fn phases_are_read_from_the_command_line() {
    for (text, read) in [
        ("10x5", (10.0, 5.0, 5.0)),
        ("1.5x5-60.5", (1.5, 5.0, 60.5)),
        ("3x0", (3.0, 0.0, 0.0)),
    ] {
        let phase: Phase = text.parse().expect(text);
        assert_eq!(
            (phase.seconds, phase.rate, phase.end_rate()),
            read,
            "{text}"
        );
    }
    for text in ["", "10", "x5", "0x5", "10x-5", "10x5-", "10xinf", "ax5"] {
        assert!(text.parse::<Phase>().is_err(), "{text}");
    }
}
