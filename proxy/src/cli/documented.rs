//! What the documents say of the command line is what it takes, and their links lead somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser as _, error::ErrorKind};

use super::Cli;

/// The folders with pages for operators, within the repository.
const FOLDERS: [&str; 6] = ["", "docs", "docs/decisions", "certs", "docker", "terraform"];

/// A page and its text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "md") {
                let text = fs::read_to_string(&path).expect("a text");
                pages.push((path, text));
            }
        }
    }
    pages.sort();
    pages
}

/// A word of a shell: blanks end it outside of quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in command.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if matches!(letter, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None if letter == '#' && word.is_none() => return words,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// The command lines of `dhal` within a line of a shell, each with its name in front.
fn of_dhal(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for part in line.split(['|', ';', '&', '(', ')', '>', '<']) {
        let mut words = words(part);
        // Whom or what it is run by: `runuser -u dhal -- dhal`, `docker compose exec edge /usr/local/bin/dhal`.
        let begin = words.iter().enumerate().position(|(at, word)| {
            let is_it = word == "dhal" || word.ends_with("/dhal");
            let before = at.checked_sub(1).map(|before| words[before].as_str());
            is_it && before.is_none_or(|word| matches!(word, "--" | "edge" | "$" | "do" | "sudo"))
        });
        if let Some(begin) = begin {
            words.drain(..begin);
            found.push(words);
        }
    }
    found
}

/// Command lines of a page with their lines; whether the page names them in passing only.
fn commands(text: &str) -> Vec<(usize, Vec<String>, bool)> {
    let mut found = Vec::new();
    let mut block = None;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_some() {
                None
            } else {
                Some(language.trim())
            };
            continue;
        }
        let is_command = match block {
            Some("sh") => true,
            Some("console" | "") => line.starts_with("$ "),
            _ => false,
        };
        if is_command {
            let lines = of_dhal(line.trim_end_matches('\\'));
            found.extend(lines.into_iter().map(|words| (number, words, false)));
        } else if block.is_none() {
            let quoted = line.split('`').skip(1).step_by(2);
            let lines = quoted
                .filter(|quoted| quoted.starts_with("dhal "))
                .flat_map(of_dhal);
            found.extend(lines.map(|words| (number, words, true)));
        }
    }
    found
}

/// Why the command line would refuse it.
fn refused(words: &[String], in_passing: bool) -> Option<String> {
    if words.iter().any(|word| word.contains('…')) {
        return None;
    }
    // Words in capitals stand for something.
    let words = words.iter().map(|word| match word.as_str() {
        "NUMBER" => "3",
        "SHELL" => "bash",
        word => word,
    });
    match Cli::try_parse_from(words) {
        Ok(_) => None,
        Err(why) => match why.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if in_passing =>
            {
                None
            }
            _ => Some(why.to_string()),
        },
    }
}

#[test]
fn every_command_of_the_documents_is_one() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        for (line, words, in_passing) in commands(&text) {
            tried += 1;
            if let Some(why) = refused(&words, in_passing) {
                let words = words.join(" ");
                wrong.push(format!("{}:{line}: {words}\n{why}", path.display()));
            }
        }
    }
    assert!(tried > 100, "only {tried} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_are_found_where_they_stand() {
    for (line, found) in [
        (
            "dhal check -c /etc/dhal.toml   # exit 1",
            vec!["dhal check -c /etc/dhal.toml"],
        ),
        ("$ runuser -u dhal -- dhal check", vec!["dhal check"]),
        (
            "zstdcat a.zst | dhal limits suggest --log -",
            vec!["dhal limits suggest --log -"],
        ),
        (
            "install dhal /usr/bin/dhal && dhal upgrade",
            vec!["dhal upgrade"],
        ),
        (
            "target/release/dhal run; dhal status",
            vec!["target/release/dhal run", "dhal status"],
        ),
        ("systemctl restart dhal", vec![]),
        ("# dhal nothing", vec![]),
        ("dhal purge --tag 'a b'", vec!["dhal purge --tag a b"]),
    ] {
        let joined: Vec<String> = of_dhal(line).iter().map(|words| words.join(" ")).collect();
        assert_eq!(joined, found, "{line}");
    }
    let refuses = |line: &str, in_passing| refused(&of_dhal(line)[0], in_passing).is_some();
    assert!(refuses("dhal statuss", true));
    assert!(refuses("dhal status --colour", true));
    assert!(refuses("dhal drain", false) && !refuses("dhal drain", true));
    assert!(!refuses("dhal purge …", false));
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with('#') {
            found.insert(anchor(line.trim_start_matches('#')));
        }
        for named in line.split("<a id=\"").skip(1) {
            found.extend(named.split('"').next().map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for (path, text) in pages() {
        let mut is_code = false;
        for (number, line) in (1..).zip(text.lines()) {
            is_code ^= line.starts_with("```");
            let links = line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            for link in links.filter(|link| !is_code && !link.contains("://")) {
                tried += 1;
                let (file, place) = link.split_once('#').unwrap_or((link, ""));
                let there = match file {
                    "" => path.clone(),
                    file => path.with_file_name("").join(file),
                };
                let leads = match (there.exists(), place) {
                    (exists, "") => exists,
                    (_, place) => {
                        fs::read_to_string(&there).is_ok_and(|text| anchors(&text).contains(place))
                    }
                };
                if !leads {
                    wrong.push(format!("{}:{number}: {link}", path.display()));
                }
            }
        }
    }
    assert!(tried > 100, "only {tried} links were found");
    assert!(wrong.is_empty(), "dead links:\n{}", wrong.join("\n"));
}
