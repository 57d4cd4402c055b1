//! A real browser: Chromium without a window, told what to do over two pipes (its DevTools protocol).

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::Instant,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};

use crate::tools::{Folder, PATIENCE};

/// Names it goes by.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A running browser with one page.
pub(crate) struct Chromium {
    child: Child,
    orders: File,
    answers: BufReader<File>,
    session: String,
    last: u64,
    _folder: Folder,
}

impl Chromium {
    /// Starts it; `None` where there is none on this machine, which `tools/test.sh` says loudly.
    pub(crate) fn start() -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = std::env::split_paths(&folders).collect();
        let mut all = NAMES
            .iter()
            .flat_map(|name| folders.iter().map(move |f| f.join(name)));
        let Some(program) = all.find(|path| path.exists()) else {
            eprintln!("SKIPPED: there is no Chromium on this machine");
            return None;
        };
        let folder = Folder::new();
        let pipe = |name: &str| {
            let path = folder.path().join(name);
            mkfifo(&path, Mode::S_IRWXU).expect("a pipe");
            path
        };
        let (orders, answers) = (pipe("orders"), pipe("answers"));
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$1\" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                  --remote-debugging-pipe --user-data-dir=\"$2\" about:blank 3<\"$3\" 4>\"$4\"")
            .arg("sh")
            .arg(program)
            .arg(folder.path().join("profile"))
            .args([&orders, &answers])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser");
        // Each waits until the browser holds the other end.
        let orders = OpenOptions::new().write(true).open(orders).expect("a pipe");
        let answers = BufReader::new(File::open(answers).expect("a pipe"));
        let session = String::new();
        let mut browser = Self {
            child,
            orders,
            answers,
            session,
            last: 0,
            _folder: folder,
        };
        let target = browser.tell("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.tell("Target.attachToTarget", attach);
        browser.session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        Some(browser)
    }

    /// Gives an order, and returns what came of it.
    pub(crate) fn tell(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut order = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            order["sessionId"] = json!(self.session);
        }
        self.orders
            .write_all(format!("{order}\0").as_bytes())
            .expect("the browser listens");
        loop {
            let mut text = Vec::new();
            let read = self
                .answers
                .read_until(0, &mut text)
                .expect("the browser answers");
            assert!(read > 0, "the browser ended");
            text.pop();
            let mut answer: Value = serde_json::from_slice(&text).expect("JSON");
            // What happens on the way is told as well, without an id.
            if answer["id"] == self.last {
                return answer["result"].take();
            }
        }
    }

    pub(crate) fn go(&mut self, url: &str) {
        self.tell("Page.navigate", json!({ "url": url }));
    }

    /// The value of an expression on the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.tell("Runtime.evaluate", asked)["result"]["value"].take()
    }

    /// Waits until a page shows a text; it takes as many times longer than anything else as `patience` says.
    pub(crate) fn shows(&mut self, text: &str, patience: u32, mut meanwhile: impl FnMut()) {
        let deadline = Instant::now() + PATIENCE * patience;
        loop {
            let seen = self.value("document.body ? document.body.innerText : ''");
            let seen = seen.as_str().unwrap_or_default();
            if seen.contains(text) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{text:?} never came, but {seen:?}"
            );
            meanwhile();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
