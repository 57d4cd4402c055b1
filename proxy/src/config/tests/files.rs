//! Configurations of several files, and the files that they name.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};

use super::super::{Errors, Loaded, check, load, render};

/// A folder that goes with the test.
pub(super) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("dhal-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let folder = Self(path.canonicalize().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn load(&self) -> Result<Loaded, Errors> {
        load(&self.path("dhal.toml"), &env)
    }

    /// What `dhal check` says, without the folder's name.
    pub(super) fn said(&self) -> String {
        let said = match check(&self.path("dhal.toml"), &env) {
            Ok(loaded) => render(&loaded.warnings),
            Err(errors) => errors.to_string(),
        };
        said.replace(&format!("{}/", self.0.display()), "")
    }

    /// A certificate that counts from so many days before now until so many after it, and its key.
    pub(super) fn pair(&self, name: &str, host: &str, days: (u32, u32)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        let day = Duration::from_secs(86_400);
        params.not_before = (SystemTime::now() - day * days.0).into();
        params.not_after = (SystemTime::now() + day * days.1 - day / 2).into();
        let cert = params.self_signed(&key).unwrap();
        self.write(&format!("{name}.pem"), &cert.pem());
        self.secret(&format!("{name}.key"), &key.serialize_pem());
    }

    pub(super) fn secret(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn env(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "API_TOKEN" => Some("swordfish".to_owned()),
        _ => None,
    }
}

const MAIN: &str = "\
include = ['conf.d/*.toml']
[[listeners]]
address = '127.0.0.1:8080'
[upstreams.shop]
servers = ['127.0.0.1:3000']
[[routes]]
upstream = 'shop'
";

#[test]
fn sections_of_included_files_are_added() {
    let folder = Folder::new(&[
        ("dhal.toml", &format!("{MAIN}[cache]\nmemory = '4MiB'\n")),
        (
            "conf.d/20-cart.toml",
            "[[routes]]\npath = '/b'\nupstream = 'cart'\ncache = 'pages'\n[upstreams.cart]\nservers = ['127.0.0.1:3001']\n",
        ),
        (
            "conf.d/10-a.toml",
            "[[routes]]\npath = '/a'\nupstream = 'shop'\ndeny = ['bad']\n[cache.policies.pages]\nttl = '1m'\n[address_lists.bad]\nfile = 'bad.txt'\n",
        ),
        ("conf.d/.hidden.toml", "nonsense"),
        ("conf.d/10-a.toml~", "nonsense"),
        ("conf.d/.10-a.toml.swp", "nonsense"),
        ("conf.d/readme.md", "nonsense"),
    ]);
    let loaded = folder.load().unwrap();
    assert_eq!(render(&loaded.warnings), "");
    let files = ["dhal.toml", "conf.d/10-a.toml", "conf.d/20-cart.toml"];
    assert_eq!(loaded.files, files.map(|name| folder.path(name)));
    assert_eq!(loaded.folders, [folder.path("conf.d")]);
    let config = loaded.config;
    let names: Vec<&str> = config.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["/*", "/a", "/b"], "in the order of their names");
    assert_eq!(config.routes[2].upstream(), Some(1));
    assert_eq!(config.cache.memory, 4 << 20);
    assert_eq!(config.policies[1].name, "pages");
    assert_eq!(
        config.address_lists[0].file.as_deref(),
        Some(folder.path("conf.d/bad.txt").as_path()),
        "relative to the file that it stands in"
    );
}

/// Cases of a text of the included file, and parts of what is said of it.
#[test]
fn mistakes_have_the_place_of_their_file() {
    for (text, parts) in [
        (
            "[[routes]]\nupstreem = 'shop'\n",
            &[
                "conf.d/a.toml:1:1: error: `upstream` is missing",
                "conf.d/a.toml:2:1: error: unknown key `upstreem`",
            ][..],
        ),
        (
            "\n[upstreams.shop]\nservers = ['127.0.0.1:1']\n",
            &[
                "dhal.toml:4:12: error: `upstreams.shop` is defined twice, also conf.d/a.toml:2",
                "conf.d/a.toml:2:12: error: `upstreams.shop` is defined twice, also dhal.toml:4",
            ],
        ),
        (
            "[[routes]]\nupstream = 'shop'\n",
            &[
                "conf.d/a.toml:1:1: error: this route never matches: dhal.toml:6 has the same host and path",
            ],
        ),
        (
            "include = ['b.toml']\n",
            &["conf.d/a.toml:1:1: error: a file that is included cannot include others"],
        ),
        ("[[routes]\n", &["conf.d/a.toml:1:10: error: "]),
        ("x", &["conf.d/a.toml:1:2: error: "]),
        (
            "[routes]\n",
            &[
                "conf.d/a.toml:1:2: error: `routes` is a list, as in dhal.toml:6",
                "write `[[routes]]`",
            ],
        ),
        (
            "upstreams = 4\n",
            &[
                "conf.d/a.toml:1:1: error: `upstreams` is a group of tables by name, as in dhal.toml:4",
            ],
        ),
        (
            "[[listeners]]\naddress = '127.0.0.1:8080'\n",
            &["conf.d/a.toml:2:11: error: 127.0.0.1:8080 is listened on already, dhal.toml:3"],
        ),
    ] {
        let folder = Folder::new(&[("dhal.toml", MAIN), ("conf.d/a.toml", text)]);
        let said = folder.said();
        for part in parts {
            assert!(said.contains(part), "{text}\n{said}");
        }
    }
}

#[test]
fn a_section_stands_in_one_file() {
    let folder = Folder::new(&[
        (
            "dhal.toml",
            &format!("{MAIN}[server]\nthreads = 1\n[cache]\nmemory = '4MiB'\n"),
        ),
        (
            "conf.d/a.toml",
            "[server]\nshutdown_grace = '1s'\n[cache]\nlock_timeout = '1s'\n",
        ),
    ]);
    let said = folder.said();
    for part in [
        "dhal.toml:8:2: error: `server` is defined twice, also conf.d/a.toml:1",
        "conf.d/a.toml:1:2: error: `server` is defined twice, also dhal.toml:8",
        "conf.d/a.toml:3:2: error: `cache` is defined twice, also dhal.toml:10",
        "4 errors",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn patterns_and_what_they_match() {
    for (include, files, parts) in [
        (
            "['absent.toml']",
            &[][..],
            &["dhal.toml:1:12: error: there is no file absent.toml"][..],
        ),
        (
            "['absent/*.toml']",
            &[],
            &["dhal.toml:1:12: warning: there is no folder absent"],
        ),
        ("'conf.d/*.toml'", &[], &["expected a list"]),
        (
            "['dhal.toml']",
            &[],
            &["dhal.toml:1:12: error: this file includes itself"],
        ),
        // Named by two patterns, and itself: once, and not at all.
        (
            "['*.toml', 'a.toml']",
            &[("a.toml", "[[routes]]\npath = '/a'\nupstream = 'shop'\n")],
            &[],
        ),
        (
            "['conf.d']",
            &[],
            &["dhal.toml:1:12: error: `conf.d` names no file to include"],
        ),
        ("['*/a.toml']", &[], &["stand for letters of a file's name"]),
        ("['${UNSET}.toml']", &[], &["`UNSET` is not set"]),
        (
            "['conf.d/a.toml']",
            &[("conf.d/a.toml/b", "")],
            &["conf.d/a.toml: it is a folder"],
        ),
    ] {
        let main = MAIN.replace("['conf.d/*.toml']", include);
        let folder = Folder::new(&[("dhal.toml", &main)]);
        for (name, text) in files {
            folder.write(name, text);
        }
        let said = folder.said();
        for part in parts {
            assert!(said.contains(part), "{include}\n{said}");
        }
        assert_eq!(said.is_empty(), parts.is_empty(), "{include}\n{said}");
    }
}

#[test]
fn files_are_bounded() {
    let main = MAIN;
    let folder = Folder::new(&[("dhal.toml", main)]);
    for number in 0..257 {
        folder.write(&format!("conf.d/{number}.toml"), "");
    }
    assert!(
        folder.said().contains("more than 256 files"),
        "{}",
        folder.said()
    );
    let folder = Folder::new(&[("dhal.toml", main)]);
    folder.write("conf.d/large.toml", &"#".repeat((1 << 20) + 1));
    assert!(
        folder.said().contains("larger than 1 MiB"),
        "{}",
        folder.said()
    );
    let folder = Folder::new(&[("dhal.toml", main)]);
    for number in 0..8 {
        folder.write(&format!("conf.d/{number}.toml"), &"#".repeat(1 << 20));
    }
    assert!(folder.said().contains("exceed 8 MiB"), "{}", folder.said());
    let folder = Folder::new(&[("dhal.toml", main)]);
    folder.write("conf.d/a.toml", "");
    symlink("nowhere", folder.path("conf.d/b.toml")).unwrap();
    symlink("a.toml", folder.path("conf.d/c.toml")).unwrap();
    let said = folder.said();
    assert!(said.contains("there is no file conf.d/b.toml"), "{said}");
    assert!(said.contains("1 error"), "{said}");
}

/// Beside a file that is no TOML the others are read, but nothing is said of what they refer to.
#[test]
fn no_toml_in_one_file() {
    let folder = Folder::new(&[
        ("dhal.toml", MAIN),
        (
            "conf.d/a.toml",
            "[upstreams.cart]\nservers = [127.0.0.1:3001]\n",
        ),
        (
            "conf.d/b.toml",
            "[[routes]]\npath = '/b'\nupstream = 'cart'\nmax_body = 64\n",
        ),
    ]);
    let said = folder.said();
    assert!(said.contains("conf.d/a.toml:2:"), "{said}");
    assert!(
        said.contains("conf.d/b.toml:4:12: error: expected a size"),
        "{said}"
    );
    assert!(!said.contains("there is no upstream"), "{said}");
}

/// Mistakes of many kinds over two files, in one run and each at its place.
#[test]
fn every_mistake_is_told_at_once() {
    let folder = Folder::new(&[]);
    folder.write("dhal.toml", include_str!("planted.toml"));
    folder.write("conf.d/more.toml", include_str!("planted-more.toml"));
    folder.write("lists/bad.txt", "10.0.0.1\n# fine\n10.0.0.0/33\n");
    folder.write("page.html", "<p>{{nothing}}</p>");
    folder.secret("short.key", "abc");
    folder.secret("admin.token", "short");
    folder.pair("one", "shop.example", (1, 100));
    folder.pair("two", "shop.example", (1, 100));
    folder.write("empty.pem", "");
    let said = folder.said();
    let mut places = Vec::new();
    for line in said.lines().filter(|line| line.contains(": error: ")) {
        let (place, message) = line.split_once(": error: ").unwrap();
        places.push((place, message));
    }
    let expected = include_str!("planted.txt");
    let rows: Vec<(&str, &str)> = expected
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    assert!(rows.len() >= 25, "{}", rows.len());
    for (place, part) in &rows {
        let found = places
            .iter()
            .any(|(at, message)| at == place && message.contains(part));
        assert!(found, "{place}: {part}\n{said}");
    }
    assert_eq!(places.len(), rows.len(), "{said}");
}

/// Certificates that are right, and what is said of them: host of the route, host and days of the certificate.
#[test]
fn certificates_are_looked_at() {
    for (route, host, days, part) in [
        ("shop.example", "shop.example", (1, 100), ""),
        ("www.shop.example", "*.shop.example", (1, 100), ""),
        (
            "shop.example",
            "shop.example",
            (1, 10),
            "dhal.toml:7:8: warning: a.pem expires in 9 days",
        ),
        (
            "shop.example",
            "shop.example",
            (20, 0),
            "warning: a.pem expired ",
        ),
        (
            "shop.example",
            "other.example",
            (1, 100),
            "dhal.toml:7:8: warning: no route is for a name of a.pem: other.example",
        ),
        (
            "shop.example",
            "other.example",
            (1, 100),
            "dhal.toml:12:8: warning: no certificate is for shop.example",
        ),
    ] {
        let folder = Folder::new(&[(
            "dhal.toml",
            &format!(
                "[[listeners]]\naddress = '127.0.0.1:8443'\ntls = true\n\n[[certificates]]\n# The pair.\ncert = 'a.pem'\nkey = 'a.key'\n[upstreams.shop]\nservers = ['127.0.0.1:3000']\n[[routes]]\nhost = '{route}'\nupstream = 'shop'\n"
            ),
        )]);
        folder.pair("a", host, days);
        let said = folder.said();
        match part {
            "" => assert_eq!(said, "", "{route} {host}"),
            part => assert!(said.contains(part), "{route} {host}\n{said}"),
        }
    }
}

#[test]
fn secrets_that_everybody_may_read_are_warned_of() {
    let folder = Folder::new(&[(
        "dhal.toml",
        &format!(
            "{}[admin]\naddress = '127.0.0.1:9900'\ntoken_file = 'token'\n",
            MAIN
        ),
    )]);
    folder.write("conf.d/a.toml", "");
    folder.secret("token", "0123456789abcdef0123456789abcdef");
    assert_eq!(folder.said(), "");
    fs::set_permissions(folder.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = folder.said();
    assert!(
        said.contains("dhal.toml:10:14: warning: every user of this machine may read this token"),
        "{said}"
    );
}

#[test]
fn a_secret_of_the_environment_is_in_no_message() {
    for text in [
        "[limits.few]\nrate = '${API_TOKEN}'\n",
        "[limits.few]\nrate = '5/s'\nkey = 'cookie:${API_TOKEN} '\n",
        "[server]\nthreads = '${API_TOKEN}'\n",
        "[upstreams.x]\nservers = ['${API_TOKEN}']\n",
    ] {
        let folder = Folder::new(&[("dhal.toml", &format!("{MAIN}{text}"))]);
        let said = folder.said();
        assert!(said.contains("error: "), "{text}\n{said}");
        assert!(!said.contains("swordfish"), "{said}");
    }
}

#[test]
fn folders_of_files_that_are_to_be_made() {
    let folder = Folder::new(&[(
        "dhal.toml",
        &format!("{MAIN}[access_log]\npath = 'absent/access.log'\n[server]\npid_file = 'conf.d'\n"),
    )]);
    folder.write("conf.d/x", "");
    let said = folder.said();
    assert!(
        said.contains("dhal.toml:9:8: warning: there is no folder absent"),
        "{said}"
    );
    assert!(
        said.contains("dhal.toml:11:12: error: conf.d is a folder"),
        "{said}"
    );
}
