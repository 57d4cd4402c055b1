//! Starting the program, and talking to it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take before a test gives up; generous, for a machine with other things to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running program. Killed when dropped.
pub(crate) struct Shop {
    pub(crate) url: String,
    pub(crate) child: Child,
}

/// A folder with a database path in it.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) database: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("shop.sqlite3");
        Self { folder, database }
    }

    pub(crate) fn sqlite(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(&self.database).expect("opens");
        connection.busy_timeout(PATIENCE).expect("a timeout");
        connection
    }
}

/// The program, with an environment of its own.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dhakacart-origin"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Shop {
    pub(crate) fn start(database: &Path) -> Self {
        Self::start_with(database, |_| {})
    }

    /// Starts the program and waits for the line that says where it listens.
    pub(crate) fn start_with(database: &Path, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = command();
        command
            .args(["--listen", "127.0.0.1:0", "--database"])
            .arg(database)
            .stderr(Stdio::inherit());
        change(&mut command);
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("says something");
        let url = line.trim().rsplit_once(' ').map(|(_, url)| url.to_owned());
        let url = url.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { url, child }
    }

    pub(crate) fn authority(&self) -> &str {
        self.url.strip_prefix("http://").expect("a plain address")
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("can be killed");
        self.child.wait().expect("is gone");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client with cookies of its own that shows redirects instead of following them.
pub(crate) fn browser() -> Client {
    Client::builder()
        .cookie_store(true)
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .build()
        .expect("a client")
}

pub(crate) async fn get(client: &Client, url: &str) -> Response {
    client.get(url).send().await.expect("an answer")
}

pub(crate) async fn text(client: &Client, url: &str) -> String {
    get(client, url).await.text().await.expect("a body")
}

pub(crate) async fn json(client: &Client, url: &str) -> Value {
    get(client, url).await.json().await.expect("JSON")
}

pub(crate) fn field<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().expect("text"))
}

/// The value of a hidden field.
pub(crate) fn hidden(html: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let from = html
        .find(&start)
        .unwrap_or_else(|| panic!("no field {name}"))
        + start.len();
    html[from..].split('"').next().expect("a value").to_owned()
}

pub(crate) fn customer() -> Value {
    json!({ "name": "Rahima Khatun", "phone": "01712345678", "address": "House 12, Road 5, Dhanmondi, Dhaka" })
}

/// A slug with at least so many pieces.
pub(crate) async fn plentiful(client: &Client, shop: &Shop, pieces: i64) -> String {
    let products = json(client, &shop.at("/api/products?per_page=100")).await;
    let found = products["products"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|p| p["stock"].as_i64() >= Some(pieces));
    found.expect("some product is plentiful")["slug"]
        .as_str()
        .expect("a slug")
        .to_owned()
}

pub(crate) async fn stock(client: &Client, shop: &Shop, slug: &str) -> i64 {
    json(client, &shop.at(&format!("/api/products/{slug}"))).await["stock"]
        .as_i64()
        .expect("a number")
}

/// Asks until the answer is yes.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}
