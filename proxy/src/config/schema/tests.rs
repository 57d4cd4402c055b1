//! The schema against files that are right, files that are wrong, and the code that reads both.

mod tables;
mod wrong;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;
use toml::Table;

use super::*;
use crate::config::{Errors, Surroundings, model::Config, parse, reference};

/// Files of the tree with snippets of configurations.
const PAGES: [&str; 3] = ["README.md", "certs/README.md", "CHANGELOG.md"];

type Checker = LazyLock<(Schemas, SchemaIndex)>;

static SCHEMA: Checker = LazyLock::new(|| compiled(schema()));

/// The schema for snippets, which leave out what they are not about.
static OF_PARTS: Checker = LazyLock::new(|| {
    let mut schema = schema();
    nothing_required(&mut schema);
    compiled(schema)
});

fn compiled(schema: Value) -> (Schemas, SchemaIndex) {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler.add_resource("dhal.json", schema).unwrap();
    let index = compiler.compile("dhal.json", &mut schemas).unwrap();
    (schemas, index)
}

fn nothing_required(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            entries.remove("required");
            entries.values_mut().for_each(nothing_required);
        }
        Value::Array(items) => items.iter_mut().for_each(nothing_required),
        _ => {}
    }
}

/// What the schema says of a file.
pub(in crate::config) fn refused(text: &str) -> Option<String> {
    refused_by(&SCHEMA, text)
}

fn refused_by(checker: &Checker, text: &str) -> Option<String> {
    let file: Table = text.parse().unwrap_or_else(|why| panic!("{why}: {text}"));
    let (schemas, index) = &**checker;
    let file = json_of(file.into());
    let checked = schemas.validate(&file, *index);
    checked.err().map(|why| why.to_string())
}

/// TOML as editors hand it to a validator: dates are strings.
fn json_of(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(moment) => moment.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json_of).collect(),
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| (key, json_of(value)));
            Value::Object(entries.collect())
        }
    }
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn with_extension(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(tree().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|has| has == extension))
        .collect()
}

#[test]
fn examples_are_valid() {
    let mut files = 0;
    for path in with_extension("config", "toml") {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(refused(&text), None, "{}", path.display());
        let first = text.lines().next();
        assert_eq!(
            first,
            Some("#:schema ./dhal.schema.json"),
            "{}",
            path.display()
        );
        files += 1;
    }
    assert!(files >= 3, "only {files} examples were found");
}

#[test]
fn snippets_of_the_documentation_are_valid() {
    let pages = PAGES.map(|page| tree().join(page));
    let pages = pages.into_iter().chain(with_extension("docs", "md"));
    let mut snippets = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for snippet in text.split("```toml\n").skip(1) {
            let (snippet, _) = snippet.split_once("```").unwrap();
            // `…` stands for what is left out.
            if snippet.contains('…') {
                continue;
            }
            let checker = match snippet.contains("[[listeners]]") {
                true => &SCHEMA,
                false => &OF_PARTS,
            };
            let why = refused_by(checker, snippet);
            assert_eq!(why, None, "{}:\n{snippet}", page.display());
            snippets += 1;
        }
    }
    assert!(snippets >= 10, "only {snippets} snippets were found");
}

#[test]
fn what_is_committed_is_what_the_code_says() {
    let committed = fs::read_to_string(tree().join("config/dhal.schema.json")).unwrap();
    let page = fs::read_to_string(tree().join("docs/configuration.md")).unwrap();
    assert!(
        committed == format!("{:#}\n", schema()),
        "config/dhal.schema.json is not what the code says: run `make reference`"
    );
    assert!(
        page == reference::page(),
        "docs/configuration.md is not what the code says: run `make reference`"
    );
}

#[test]
fn values_of_the_environment_may_stand_everywhere() {
    let file = r#"
        [server]
        threads = "${THREADS:-0}"
        shutdown_grace = "${GRACE}"
        max_header_bytes = "${KIB}KiB"
        encoded_slashes = "${SLASHES:-keep}"
        min_receive_rate = "${RATE:-240B/s}"
        trusted_proxies = ["${LB}", "10.0.0.0/8"]
        forwarded_field = "${FIELD}"
        hsts = "${HSTS}"
        watch_config = "${WATCH:-false}"
        [tls]
        profile = "${PROFILE}"
        [admin]
        address = "${ADMIN}"
        token_file = "${HOME}/token"
        [[listeners]]
        address = "127.0.0.1:${PORT}"
        tls = "${TLS:-true}"
        [upstreams.shop]
        servers = ["${HOST}:3000", { address = "${SPARE}", backup = "${YES}" }]
        hash_key = "header:${FIELD}"
        tls = "${TLS}"
        [limits.a]
        key = "${KEY}"
        rate = "${RATE}"
        status = "${STATUS}"
        [[routes]]
        host = "${HOST}"
        path = "/${PATH}"
        upstream = "${UPSTREAM}"
        class = "${CLASS}"
        "#;
    assert_eq!(refused(file), None);
}

fn read(text: &str) -> Result<Config, Errors> {
    let surroundings = Surroundings {
        folder: Path::new("/etc/dhal"),
        env: &|_| None,
    };
    parse("dhal.toml", text, &surroundings).map(|loaded| loaded.config)
}

/// The words of a choice stand in [`Scalar::CHOICES`], or the schema would not know them.
///
/// [`Scalar::CHOICES`]: crate::config::read::Scalar::CHOICES
#[test]
fn no_choice_is_hidden() {
    let sources = ["proxy/src/config", "proxy/src/config/scalar"];
    let sources = sources.map(|folder| with_extension(folder, "rs"));
    let mut calls = 0;
    for path in sources.concat() {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices(" choice(") {
            let call = text[at..].split(';').next().unwrap();
            calls += usize::from(call.contains("Self::CHOICES"));
            assert!(
                !call.contains("text, &[") && !call.contains("text,\n            &["),
                "{}: move the words into `const CHOICES`: {call}",
                path.display()
            );
        }
    }
    assert!(calls >= 10, "only {calls} choices were found");
}
