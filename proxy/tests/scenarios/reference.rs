//! What the command says of itself and of its file: schema, page of keys, completions, manual pages.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::edge::Site;

fn printed(arguments: &[&str]) -> String {
    let output = Site::new("").dhal(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn committed(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(file).unwrap_or_else(|why| panic!("{path}: {why}"))
}

#[test]
fn schema_and_reference_are_printed_as_they_are_committed() {
    for (verb, path) in [
        ("schema", "config/dhal.schema.json"),
        ("reference", "docs/configuration.md"),
    ] {
        assert!(
            printed(&["config", verb]) == committed(path),
            "{path} is not what `dhal config {verb}` prints: run `make reference`"
        );
    }
}

#[test]
fn links_of_the_reference_lead_somewhere() {
    let page = printed(&["config", "reference"]);
    let mut links = 0;
    for link in page.split("](").skip(1) {
        let (target, _) = link.split_once(')').unwrap();
        links += 1;
        match target.strip_prefix('#') {
            Some(anchor) => {
                let anchor = format!("<a id=\"{anchor}\"></a>");
                assert_eq!(page.matches(&anchor).count(), 1, "{anchor}");
            }
            None if target.starts_with("https://") => {}
            None => {
                committed(&format!("docs/{target}"));
            }
        }
    }
    assert!(links > 50, "only {links} links were found");
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let mut dhal = Command::new(env!("CARGO_BIN_EXE_dhal"))
        .args(["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe is smaller than the schema, so the command still writes.
    drop(dhal.stdout.take());
    let mut said = String::new();
    dhal.stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(dhal.wait().unwrap().success(), "{said}");
    assert_eq!(said, "");
}

/// What bash offers for a command line, its last word unfinished.
fn offered(script: &Path, words: &[&str]) -> Vec<String> {
    let complete = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
        _dhal dhal \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", complete, "bash"])
        .arg(script)
        .args(words)
        .output()
        .unwrap_or_else(|why| panic!("bash: {why}"));
    assert!(output.status.success(), "{output:?}");
    let offered = String::from_utf8_lossy(&output.stdout);
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_and_options() {
    let site = Site::new("");
    let script = site.path("dhal.bash");
    fs::write(&script, printed(&["completions", "bash"])).unwrap();
    for (words, wanted) in [
        (&["dhal", "rel"][..], &["reload"][..]),
        (&["dhal", "config", "s"], &["schema"]),
        (&["dhal", "purge", "--ta"], &["--tag"]),
        (&["dhal", "completions", "z"], &["zsh"]),
        (&["dhal", "nothing-like-it"], &[""]),
    ] {
        assert_eq!(offered(&script, words), wanted, "{words:?}");
    }
}

#[test]
fn other_shells_have_completions() {
    for (shell, mark) in [("zsh", "#compdef dhal"), ("fish", "complete -c dhal")] {
        let script = printed(&["completions", shell]);
        assert!(script.contains(mark), "{shell}: {script}");
        for word in ["reload", "purge", "schema"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let output = Site::new("").dhal(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn every_verb_has_a_manual_page() {
    let site = Site::new("");
    let output = site.dhal(&["man", "share/man1"]);
    assert!(output.status.success(), "{output:?}");
    let folder = site.path("share/man1");
    let help = printed(&["help"]);
    let (_, verbs) = help.split_once("Commands:\n").unwrap();
    let (verbs, _) = verbs.split_once("\n\n").unwrap();
    let mut pages = 0;
    for verb in verbs
        .lines()
        .filter_map(|line| line.split_whitespace().next())
    {
        if verb == "help" {
            continue;
        }
        let page = fs::read_to_string(folder.join(format!("dhal-{verb}.1"))).unwrap();
        assert!(page.contains(".TH"), "{verb}: {page}");
        pages += 1;
    }
    assert!(pages >= 10, "only {pages} pages were found");
    assert!(folder.join("dhal.1").exists());

    fs::write(site.path("file"), "").unwrap();
    let output = site.dhal(&["man", "file/man1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("file/man1"));
}
