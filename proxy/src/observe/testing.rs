//! What the tests of this module share.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::Method;

use super::{Protocol, Record, log_line};
use crate::{
    cache::status::Outcome,
    config,
    edge::decide::Now,
    shared::Shared,
    snapshot::{Route, Snapshot},
};

/// Routes with these names, whatever they are.
pub(crate) fn routes(names: &[&str]) -> Vec<Arc<Route>> {
    let text = "[[listeners]]\naddress = \"127.0.0.1:0\"\n[upstreams.shop]\nservers = [\"127.0.0.1:1\"]\n\
        [[routes]]\nupstream = \"shop\"\n";
    let surroundings = config::Surroundings {
        folder: std::path::Path::new(""),
        env: &|_| None,
    };
    let config = config::parse("test", text, &surroundings)
        .expect("valid")
        .config;
    let named = |name: &&str| {
        let mut config = config.clone();
        config.routes[0].name = (*name).to_owned();
        let (shared, _) = Shared::new(&config.cache, 1);
        let snapshot = Snapshot::build(config, 1, &shared).expect("built");
        Arc::clone(snapshot.router.find("shop.example", "/").expect("a route"))
    };
    names.iter().map(named).collect()
}

/// A request for `target`.
pub(crate) fn record<'a>(target: &'a str, request_id: &'a str) -> Record<'a> {
    Record {
        began: Now {
            wall: SystemTime::UNIX_EPOCH,
            tick: Duration::ZERO,
        },
        duration: Duration::ZERO,
        client: IpAddr::from([192, 0, 2, 1]),
        protocol: Protocol::Http11,
        method: &Method::GET,
        host: "shop.example",
        target,
        status: 200,
        bytes: 0,
        route: None,
        outcome: Outcome::Hit,
        upstream: None,
        upstream_time: None,
        attempts: 0,
        retried: None,
        request_id,
        limit: None,
        room: None,
        reason: None,
        fields: None,
        client_cert: None,
    }
}

/// The line of the JSON log.
pub(crate) fn json_line(record: &Record<'_>) -> String {
    let mut line = Vec::new();
    log_line::json(record, &mut log_line::Second::default(), &mut line);
    String::from_utf8(line).expect("JSON is UTF-8")
}

/// A folder that goes when it is dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dhal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until it is so.
pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
