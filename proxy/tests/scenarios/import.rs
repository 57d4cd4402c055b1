//! `dhal import`: configurations of nginx become ours, and both answer alike.
//!
//! The sites are those of `proxy/nginx-import/tests/sites/`; nginx runs them beside the edge, in a folder of its own.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, SystemTime},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    edge::{Edge, Site},
    origin::{Answer, Origin, Seen, page},
    tools::{Folder, eventually, free_address},
};

/// All of them get the same answers from both.
const SITES: [&str; 6] = [
    "plain-proxy",
    "static-and-proxy",
    "shop-with-cache",
    "limited-api",
    "hosts-with-tls",
    "magento-like",
];

fn site_file(site: &str, file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx-import/tests/sites");
    fs::read_to_string(folder.join(site).join(file)).expect(file)
}

/// The shop behind both.
fn shop(seen: &Seen) -> Answer {
    let path = seen.target.split('?').next().unwrap_or_default();
    let host = seen.field("host").unwrap_or_default();
    match path {
        "/missing" => page("no such page").status(404),
        "/forbidden" => page("no").status(403),
        "/redirect" => page("").status(302).field("Location", "/elsewhere"),
        path if path.starts_with("/images/") => page("an image").field("Set-Cookie", "a=b"),
        _ => page(format!(
            "{host} {} {}",
            seen.target,
            seen.field("x-api").unwrap_or("-")
        ))
        .field("X-Powered-By", "a shop"),
    }
}

/// nginx with a configuration in a folder of its own.
struct Nginx {
    child: Child,
    _folder: Folder,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// Where a site listens, and whom it asks.
struct Addresses {
    listen: SocketAddr,
    plain: SocketAddr,
    backend: String,
}

fn filled_in(site: &str, at: &Addresses, folder: &str) -> String {
    let mut text = site_file(site, "nginx.conf");
    for (placeholder, value) in [
        ("@dir", folder),
        ("@listen", &at.listen.to_string()),
        ("@plain", &at.plain.to_string()),
        ("@backend2", &at.backend),
        ("@backend", &at.backend),
    ] {
        text = text.replace(placeholder, value);
    }
    text
}

/// Files that the sites serve.
fn lay_out(folder: &Path) {
    for (name, content) in [
        ("www/index.html", "home"),
        ("www/page.html", "a page"),
        ("www/sub/index.html", "below"),
        ("files/site.css", "a { }"),
        ("magento/pub/static/site.css", "b { }"),
        ("magento/pub/site.css", "c { }"),
        ("magento/pub/static/site.js", "d()"),
        ("magento/pub/media/a.png", "a picture"),
        ("magento/pub/index.php", "secret"),
        ("magento/pub/get.php", "secret"),
        ("www/page.html.gz", "not looked at"),
        ("www/bare/a.txt", "abcdefghijklmnopqrstuvwxyz"),
        ("files/app.css", "e { }"),
        ("files/app.css.gz", "as gzip"),
        ("files/a.unknown", "what"),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        let file = fs::File::options().write(true).open(path).expect("opened");
        // Both have the same files, and so the same tags.
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_modified(date).expect("dated");
    }
}

fn nginx_is_here() -> bool {
    let found = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status();
    let is_here = found.is_ok_and(|status| status.success());
    if !is_here {
        eprintln!("SKIPPED: there is no nginx on this host to compare with");
    }
    is_here
}

impl Nginx {
    fn start(site: &str, at: &Addresses, certs: &Path) -> Self {
        let folder = Folder::new();
        lay_out(folder.path());
        let _ = std::os::unix::fs::symlink(certs, folder.path().join("certs"));
        let name = folder.path().display().to_string();
        fs::write(folder.path().join("nginx.conf"), filled_in(site, at, &name)).expect("written");
        let child = Command::new("nginx")
            .args(["-p", &name, "-c", "nginx.conf", "-g", "daemon off;"])
            .arg("-e")
            .arg(folder.path().join("early.log"))
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let mut nginx = Self {
            child,
            _folder: folder,
        };
        eventually("nginx listens", || {
            let gone = nginx.child.try_wait().expect("its state");
            assert!(gone.is_none(), "nginx refuses {site}");
            TcpStream::connect(at.listen).is_ok()
        });
        nginx
    }
}

/// Translates a site in the folder of an edge.
fn import(edge: &Site, site: &str, at: &Addresses) -> Output {
    let folder = edge.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    lay_out(Path::new(folder));
    fs::write(edge.path("nginx.conf"), filled_in(site, at, folder)).expect("written");
    let output = edge.dhal(&["import", "nginx.conf", "-o", "dhal.toml", "--force"]);
    assert!(output.status.success(), "{output:?}");
    let text = edge
        .read("dhal.toml")
        .replace("/var/cache/dhal", &format!("{folder}/store"));
    let text = format!("{text}\n[admin]\naddress = \"unix:{folder}/admin.sock\"\n");
    fs::write(edge.path("dhal.toml"), text).expect("written");
    output
}

/// Both with the same site, and what `--compare` says of them.
fn compared(site: &str) {
    if !nginx_is_here() {
        return;
    }
    let backend = Origin::start(shop);
    let at = |listen, plain| Addresses {
        listen,
        plain,
        backend: backend.to_string(),
    };
    let here = Site::new_tls("");
    let theirs = at(free_address(), free_address());
    let ours = at(here.http, here.https);
    let said = import(&here, site, &ours);
    let nginx = Nginx::start(site, &theirs, &here.path("certs"));
    let edge = Edge::start_at(here);
    let requests = site_file(site, "requests.txt");
    fs::write(edge.site.path("requests.txt"), &requests).expect("written");
    let scheme = if requests.contains("https://") {
        "https"
    } else {
        "http"
    };
    // Twice: what was stored the first time answers the second.
    for _ in 0..2 {
        let output = edge.site.dhal(&[
            "import",
            "--compare",
            "--nginx",
            &format!("{scheme}://{}", theirs.listen),
            "--dhal",
            &format!("{scheme}://{}", ours.listen),
            "--urls",
            "requests.txt",
            "--ignore-header",
            "expires",
        ]);
        assert!(
            output.status.success(),
            "{site}: {}\n{}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&said.stderr),
            edge.site.read("dhal.toml")
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(" 0 differ, 0 failed"), "{text}");
    }
    drop(nginx);
}

#[test]
fn sites_answer_alike() {
    for site in SITES {
        compared(site);
    }
}

#[test]
fn what_comes_of_a_site_is_valid() {
    let at = Addresses {
        listen: free_address(),
        plain: free_address(),
        backend: "127.0.0.1:3000".to_owned(),
    };
    for site in SITES {
        let here = Site::new_tls("");
        import(&here, site, &at);
        let check = here.dhal(&["check"]);
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(check.status.success(), "{site}: {said}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let here = Site::new("");
    fs::create_dir_all(here.path("conf.d")).expect("made");
    fs::write(
        here.path("nginx.conf"),
        "http {\n  include conf.d/*.conf;\n}\n",
    )
    .expect("written");
    fs::write(here.path("conf.d/a.conf"), "server {\n  listen 80\n}\n").expect("written");
    let output = here.dhal(&["import", "nginx.conf"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("conf.d/a.conf:3:"), "{said}");
    let output = here.dhal(&["import", "none.conf"]);
    assert_eq!(output.status.code(), Some(1));
    for arguments in [
        &["import"][..],
        &["import", "--compare"],
        &["import", "nginx.conf", "--compare"],
        &[
            "import",
            "--compare",
            "--nginx",
            "http://a",
            "--dhal",
            "http://b",
        ],
    ] {
        assert_eq!(here.dhal(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_there_stays() {
    let here = Site::new("");
    fs::write(
        here.path("nginx.conf"),
        "http { server { listen 127.0.0.1:80; location / { proxy_pass http://127.0.0.1:3000; } } }",
    )
    .expect("written");
    fs::write(here.path("mine.toml"), "mine").expect("written");
    let output = here.dhal(&["import", "nginx.conf", "-o", "mine.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(here.read("mine.toml"), "mine");
    let output = here.dhal(&["import", "nginx.conf", "-o", "new.toml", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let end = text.rfind('}').expect("JSON");
    let start = text.find('{').expect("JSON");
    let report: serde_json::Value = serde_json::from_str(&text[start..=end]).expect("JSON");
    assert_eq!(report["missing"], 0, "{report}");
    assert!(here.read("new.toml").contains("[[routes]]"));
}

#[test]
fn what_check_refuses_is_no_success() {
    let here = Site::new("");
    let text = "http { server { listen 127.0.0.1:443 ssl; ssl_certificate none.pem; ssl_certificate_key none.key; location / { proxy_pass http://127.0.0.1:3000; } } }";
    fs::write(here.path("nginx.conf"), text).expect("written");
    for arguments in [
        &["import", "nginx.conf"][..],
        &["import", "nginx.conf", "-o", "new.toml"],
    ] {
        let output = here.dhal(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("does not take this yet"), "{said}");
        assert!(said.contains("none.pem"), "{said}");
    }
    // It can be mended by hand.
    assert!(here.read("new.toml").contains("none.pem"));
}

#[test]
fn what_nginx_says_in_another_way_each_time_is_left_out() {
    let moody = |seen: &Seen| page(format!("{}", seen.nth)).field("X-Mood", seen.nth.to_string());
    let one = Origin::start(moody);
    let other = Origin::start(|seen| match seen.target.as_str() {
        "/lost" => page("now"),
        _ => page("now").field("X-Mood", "now"),
    });
    let here = Site::new("");
    fs::write(here.path("urls"), "/same\n/lost\n").expect("written");
    let (nginx, dhal) = (format!("http://{one}"), format!("http://{other}"));
    let asked = [
        "--nginx", &nginx, "--dhal", &dhal, "--urls", "urls", "--json",
    ];
    let output = here.dhal(&[&["import", "--compare"][..], &asked[..]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["equal"], &report["unsteady"]),
        (&1.into(), &2.into()),
        "{report}"
    );
    let what = &report["differences"][0]["what"];
    assert_eq!(what.as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(what[0]["name"], "x-mood", "{report}");
}

#[test]
fn differences_are_shown() {
    let one = Origin::start(|seen| match seen.target.as_str() {
        "/same" => page("same").field("X-A", "1").field("Server", "nginx"),
        _ => page("one").field("X-A", "1"),
    });
    let other = Origin::start(|seen| match seen.target.as_str() {
        "/same" => page("same").field("X-A", "1").field("Via", "1.1 dhal"),
        "/status" => page("one").field("X-A", "1").status(404),
        _ => page("two").field("X-A", "2"),
    });
    let here = Site::new("");
    fs::write(here.path("urls"), "/same\n/other\n/status\n").expect("written");
    let (nginx, dhal) = (format!("http://{one}"), format!("http://{other}"));
    let arguments = [
        "import",
        "--compare",
        "--nginx",
        &nginx,
        "--dhal",
        &dhal,
        "--urls",
        "urls",
        "--json",
        "--host",
        "shop.example",
    ];
    let output = here.dhal(&arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["equal"], &report["differ"]),
        (&1.into(), &2.into())
    );
    let names: Vec<_> = report["differences"][0]["what"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pair| pair["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["x-a", "content"]);
    assert_eq!(report["differences"][1]["what"][0]["name"], "status");
    assert_eq!(one.last().field("host"), Some("shop.example"));
}

/// What crossplane, another reader of nginx's grammar, makes of the same files; where it is not installed, a line says so.
#[test]
fn crossplane_reads_the_same() {
    let script = "import crossplane, json, sys\n\
        def flat(d): return [[x['line'], x['directive'], x['args'], flat(x.get('block', []))] for x in d if x['directive'] != '#']\n\
        p = crossplane.parse(sys.argv[1], comments=False)\n\
        assert p['status'] == 'ok', p['errors']\n\
        print(json.dumps(flat(p['config'][0]['parsed'])))";
    let found = Command::new("python3")
        .args(["-c", "import crossplane"])
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: python3 has no crossplane (pip install crossplane==0.5.8)");
        return;
    }
    struct Disk;
    impl nginx_import::Files for Disk {
        fn read(&self, path: &str) -> Result<String, String> {
            fs::read_to_string(path).map_err(|why| why.to_string())
        }
        fn matching(&self, _: &str) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }
    }
    fn flat(directives: &[nginx_import::Directive]) -> serde_json::Value {
        directives
            .iter()
            .map(|d| {
                // crossplane takes the brackets of conditions away, and leaves `\\n` as it is written.
                let mut args: Vec<_> = d.words().map(|w| w.replace('\n', "\\n")).collect();
                if d.name == "if" {
                    let text = args.join(" ");
                    let inner = text.trim_start_matches('(').trim_end_matches(')').trim();
                    args = inner.split(' ').map(str::to_owned).collect();
                }
                serde_json::json!([d.at.line, d.name, args, flat(d.children())])
            })
            .collect::<Vec<_>>()
            .into()
    }
    let folder = Folder::new();
    let mut files = Vec::new();
    for site in SITES {
        files.push(site_file(site, "nginx.conf"));
    }
    files.push("http {\n  log_format x '$a \"$b\" ${c}' \"d e\";\n  map $u $v { default 1; ~^/x\\.y$ 2; }\n  server { location ~ \"^/a{2}$\" { return 200 'x;y'; } }\n}\n".to_owned());
    for (number, text) in files.iter().enumerate() {
        let path = folder.path().join(format!("{number}.conf"));
        fs::write(&path, text).expect("written");
        let name = path.display().to_string();
        let output = Command::new("python3")
            .args(["-c", script, &name])
            .output()
            .expect("runs");
        assert!(output.status.success(), "{name}: {output:?}");
        let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let tree = nginx_import::parse(&Disk, &name).expect("parsed");
        assert_eq!(flat(&tree.directives), theirs, "{text}");
    }
}
