use std::path::Path;

use super::*;
use crate::config::{self, Surroundings};

fn config() -> Config {
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.shop]\nservers = [\"127.0.0.1:1\"]\n\
                [[routes]]\nupstream = \"shop\"\n";
    let surroundings = Surroundings {
        folder: Path::new(""),
        env: &|_| None,
    };
    config::parse("test", text, &surroundings)
        .expect("right")
        .config
}

fn kept(generation: u64, text: &str, proven: bool) -> Arc<Kept> {
    Kept::new(config(), generation, Some(Arc::from(text)), proven)
}

fn attempt(trigger: Trigger, text: &str) -> Attempt {
    Attempt {
        trigger,
        generation: 7,
        restored: None,
        text: Some(Arc::from(text)),
    }
}

fn before(history: &History, only_proven: bool) -> Option<u64> {
    Some(history.before(only_proven)?.generation)
}

#[test]
fn the_last_ten_are_told_with_their_texts() {
    let history = History::new(kept(1, "first", true));
    for number in 2..=12 {
        let error = (number % 2 == 0).then_some("why");
        history.note(
            attempt(Trigger::Admin, &format!("text {number}")),
            error.is_none(),
            error,
        );
    }
    let entries = history.entries();
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(
        (entries[0].applied, entries[0].error.as_deref()),
        (false, Some("why"))
    );
    assert_eq!((entries[1].applied, &entries[1].error), (true, &None));
    assert_ne!(entries[0].text, entries[1].text);
    assert_eq!(history.text(12).as_deref(), Some("text 12"));
    assert_eq!(history.text(2), None);
}

#[test]
fn texts_and_errors_are_bounded() {
    let history = History::new(kept(1, "first", true));
    let large = "x".repeat(TEXTS_MAX / 2);
    for _ in 0..3 {
        history.note(
            attempt(Trigger::Signal, &large),
            false,
            Some(&"ö".repeat(ERROR_MAX)),
        );
    }
    let known = (1..=4).map(|number| history.text(number).is_some());
    assert_eq!(known.collect::<Vec<_>>(), [false, false, true, true]);
    let error = history.entries()[0].error.clone().expect("an error");
    assert!(error.len() < ERROR_MAX + 20 && error.ends_with("(and more)"));
}

#[test]
fn going_back_goes_further_back_each_time() {
    let history = History::new(kept(1, "one", true));
    assert_eq!(before(&history, false), None);
    assert!(history.came_into_force(kept(2, "two", true)));
    assert!(history.came_into_force(kept(3, "three", true)));
    let to = history.before(false).expect("one");
    assert_eq!(to.generation, 2);
    history.went_back(&to);
    assert_eq!(before(&history, false), Some(1));
    assert!(history.came_into_force(kept(5, "five", true)));
    assert_eq!(before(&history, false), Some(2));
}

#[test]
fn the_same_text_again_is_no_other_configuration() {
    let history = History::new(kept(1, "one", true));
    history.came_into_force(kept(2, "two", false));
    assert!(!history.came_into_force(kept(3, "two", true)));
    assert_eq!(before(&history, false), Some(1));
    let failed = history.present();
    assert!(history.is_still(&failed));
    assert!(!history.came_into_force(kept(3, "two", true)));
    assert!(history.is_still(&failed), "read anew");
    // It has proven itself no more than before.
    history.came_into_force(kept(4, "four", false));
    assert!(!history.is_still(&failed));
    assert_eq!(before(&history, false), Some(3));
    assert_eq!(before(&history, true), Some(1));
    history.has_proven_itself();
    history.came_into_force(kept(5, "five", false));
    assert_eq!(before(&history, true), Some(4));
}

#[test]
fn how_far_one_can_go_back_is_bounded() {
    let history = History::new(kept(1, "1", true));
    for generation in 2..100 {
        history.came_into_force(kept(generation, &generation.to_string(), true));
    }
    let mut steps = 0;
    while let Some(to) = history.before(false) {
        history.went_back(&to);
        steps += 1;
    }
    assert_eq!(steps, KEPT);
}

#[test]
fn the_latest_that_has_proven_itself_is_never_forgotten() {
    let history = History::new(kept(1, "1", true));
    history.came_into_force(kept(2, "2", true));
    for generation in 3..40 {
        history.came_into_force(kept(generation, &generation.to_string(), false));
        assert_eq!(before(&history, true), Some(2), "{generation}");
        assert_eq!(before(&history, false), Some(generation - 1));
    }
    // Once another has, it goes as any other.
    history.has_proven_itself();
    for generation in 40..60 {
        history.came_into_force(kept(generation, &generation.to_string(), false));
        assert_eq!(before(&history, true), Some(39), "{generation}");
    }
    let mut steps = 0;
    while let Some(to) = history.before(false) {
        history.went_back(&to);
        steps += 1;
    }
    assert_eq!(steps, KEPT);
}

#[test]
fn whether_the_files_hold_what_is_in_force() {
    let history = History::new(kept(1, "one", true));
    for (trigger, applied, wanted) in [
        (Trigger::Admin, true, false),
        (Trigger::Watch, false, true),
        (Trigger::Rollback, false, true),
        (Trigger::Signal, true, false),
        (Trigger::Rollback, false, false),
        (Trigger::Probation, true, true),
        (Trigger::Admin, true, false),
    ] {
        history.note(attempt(trigger, ""), applied, None);
        assert_eq!(history.differs_from_file(), wanted, "{trigger} {applied}");
    }
}

#[test]
fn a_line_of_an_entry() {
    let mut entry = Entry {
        number: 3,
        time: 784_111_777,
        trigger: Trigger::Watch,
        applied: false,
        generation: 2,
        restored: None,
        error: Some("one\ntwo".to_owned()),
        text: Some("0123abcd".to_owned()),
    };
    assert_eq!(
        entry.to_string(),
        "3    Sun, 06 Nov 1994 08:49:37 GMT  watch      0123abcd  refused, configuration 2 stays in force\n       one\n       two"
    );
    (entry.applied, entry.generation, entry.restored, entry.error) = (true, 4, Some(2), None);
    assert!(
        entry
            .to_string()
            .ends_with("configuration 4 in force, which is 2 again")
    );
}
