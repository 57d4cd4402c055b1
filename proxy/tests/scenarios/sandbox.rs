//! What the process takes from itself holds for visitors, reloads and upgrades, and keeps nothing from working.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Output},
};

use nix::sys::signal::Signal;

use crate::{
    acme_authority::{leaf, names_of},
    client::Conn,
    disk::{kept, plain_with_disk},
    edge::{Edge, Site},
    h2::{H2, exchange, https, request},
    handover::{Service, script},
    origin::{Origin, page},
    serving::smallest,
    tools::eventually,
    upgrade::{ASK, echoing},
};

const ON: &str = "[server]\nsandbox = \"on\"\npid_file = \"@dir/dhal.pid\"\n";

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    parts.concat()
}

/// What the kernel says of a process.
fn status(process: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    found.map(str::trim).expect("a line").to_owned()
}

/// What `dhal status` says of it, where this kernel has Landlock; says loudly where it has not.
fn has_landlock(edge: &Edge) -> bool {
    let (_, text) = edge.admin("GET", "/status");
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let has = status["sandbox"]["landlock_abi"].is_number();
    if !has {
        eprintln!("SKIPPED: this kernel has no Landlock");
    }
    has
}

#[test]
fn everything_works_within_it() {
    let shop = Origin::start(|_| page("hello").fresh(60));
    let site = Site::new_tls(&(plain_with_disk(&shop, "") + ON));
    let mut service = Service::of(Edge::start_at(site));
    let edge = &service.edge;
    assert_eq!(status(edge.id(), "Seccomp:"), "2");
    assert_eq!(status(edge.id(), "NoNewPrivs:"), "1");
    assert_eq!(edge.get("/").text(), "hello");
    assert_eq!(https(edge.site.https, "shop.example").get("/").status, 200);
    let h2 = H2::connect(edge.site.https);
    let ask = exchange(h2.sender.clone(), request("GET", "/h2", &[]), None);
    assert_eq!(h2.runtime.block_on(ask).expect("an answer").status, 200);
    kept(edge, 2);
    // The certificate is another one, by way of files that are moved into place.
    let other = ["dev-cert", "--force", "--name", "other.example"];
    let made = edge.site.dhal(&other);
    assert!(made.status.success(), "{made:?}");
    eventually("it is picked up", || {
        leaf(edge, "other.example").is_some_and(|leaf| names_of(&leaf) == ["other.example"])
    });
    // A log that is moved away.
    fs::rename(edge.site.path("access.log"), edge.site.path("access.log.1")).expect("moved");
    edge.signal(Signal::SIGUSR1);
    eventually("it is opened anew", || {
        edge.site.path("access.log").exists()
    });
    // A reload that names more within the folders that are known.
    fs::write(edge.site.path("list"), "10.0.0.0/8\n").expect("written");
    let more = "[address_lists.us]\nfile = \"@dir/list\"\n[[listeners]]\naddress = \"@http\"\n[[listeners]]\naddress = \"@https\"\ntls = true\n[[certificates]]\ncert = \"@dir/certs/dev.pem\"\nkey = \"@dir/certs/dev.key\"\n";
    let said = edge.reload(&(plain_with_disk(&shop, "") + ON + more));
    assert!(said.status.success(), "{said:?}");
    assert_eq!(https(edge.site.https, "other.example").get("/").status, 200);

    // Upgrades, one after the other, and no layer more for it.
    for _ in 0..2 {
        let (_, now) = service.upgrade();
        assert_eq!(status(now, "Seccomp_filters:"), "2");
        assert_eq!(status(now, "Seccomp:"), "2");
        assert_eq!(service.edge.get("/").text(), "hello");
    }
    let said = service.edge.site.dhal(&["reload"]);
    assert!(said.status.success(), "{said:?}");
    let status = text(&service.edge.site.dhal(&["status"]));
    assert!(status.contains("seccomp lets"), "{status}");
    assert_eq!(
        https(service.edge.site.https, "other.example")
            .get("/c")
            .status,
        200
    );
}

#[test]
fn tunnels_work_within_it() {
    let shop = echoing();
    let edge = Edge::start(&(smallest(&shop) + ON));
    let mut conn = edge.connect();
    conn.send(format!("{ASK}early"));
    assert_eq!(conn.head().expect("an answer").0, 101);
    assert_eq!(conn.take(13).expect("both"), b"welcome early");
}

#[test]
fn a_reload_cannot_name_what_lies_beyond() {
    let shop = Origin::start(|_| page("hello"));
    let outside = Site::new(&smallest(&shop));
    fs::create_dir_all(outside.path("lists")).expect("a folder");
    let list = outside.path("lists/list");
    fs::write(&list, "10.0.0.0/8\n").expect("written");
    let named = format!("[address_lists.us]\nfile = \"{}\"\n", list.display());
    let config = smallest(&shop) + ON;
    let mut service = Service::of(Edge::start(&config));
    let edge = &service.edge;
    if !has_landlock(edge) {
        return;
    }
    let is_refused = |said: Output| {
        assert!(!said.status.success(), "{said:?}");
        let said = text(&said);
        for part in [
            list.display().to_string().as_str(),
            "restart",
            "neither a reload nor an upgrade",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    is_refused(edge.reload(&(config.clone() + &named)));
    let log = outside.path("access.log").display().to_string();
    let elsewhere = format!("{config}[access_log]\npath = \"{log}\"\n");
    let said = edge.reload(&elsewhere);
    assert!(text(&said).contains(&log), "{said:?}");
    assert_eq!(edge.get("/").status, 200);
    // A link that leads there is no way out.
    symlink(&list, edge.site.path("link")).expect("a link");
    let link = "[address_lists.us]\nfile = \"@dir/link\"\n";
    let said = edge.reload(&(config.clone() + link));
    assert!(
        !said.status.success() && text(&said).contains("the sandbox keeps"),
        "{said:?}"
    );
    // Nor is an upgrade.
    edge.site.configure(&(config.clone() + &named));
    is_refused(service.try_upgrade(&[]));
    // A program from elsewhere is none that may be started.
    let edge = &service.edge;
    edge.site.configure(&config);
    let program = script(&outside, "other", "exit 0");
    let said = service.try_upgrade(&["--binary", &program]);
    assert!(!said.status.success());
    assert!(text(&said).contains("execute"), "{}", text(&said));
    assert_eq!(service.edge.get("/").status, 200);
    // A restart names what it likes, and so does who names it in advance.
    service.edge.site.configure(&(config + &named));
    service.edge.restart(Signal::SIGTERM);
    let folder = outside.path("lists").display().to_string();
    let ahead = format!(
        "[server]\nsandbox = {{ read = [\"{folder}\"], execute = [\"{folder}\"] }}\n{}",
        smallest(&shop)
    );
    service.edge.site.configure(&ahead);
    service.edge.restart(Signal::SIGTERM);
    let said = service.edge.reload(&(ahead + &named));
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn each_half_can_be_left_out() {
    let shop = Origin::start(|_| page("hello"));
    for (sandbox, seccomp, landlock) in [
        ("", "0", false),
        ("sandbox = \"off\"", "0", false),
        ("sandbox = false", "0", false),
        ("sandbox = { landlock = false }", "2", false),
        ("sandbox = { seccomp = false }", "0", true),
    ] {
        let edge = Edge::start(&format!("{}[server]\n{sandbox}\n", smallest(&shop)));
        let own = fs::read_to_string("/proc/self/status").expect("a status");
        let is_filtered = own.contains("Seccomp:\t2");
        if !is_filtered {
            assert_eq!(status(edge.id(), "Seccomp:"), seccomp, "{sandbox}");
        }
        if landlock {
            has_landlock(&edge);
        } else {
            let (_, text) = edge.admin("GET", "/status");
            assert!(text.contains("\"landlock_abi\":null"), "{sandbox}: {text}");
        }
        assert_eq!(edge.get("/").status, 200);
        if seccomp == "0" && !landlock {
            // What it leaves running can be changed by a restart alone.
            let said = edge.reload(&format!("{}{ON}", smallest(&shop)));
            assert!(
                text(&said).contains("server.sandbox cannot change"),
                "{said:?}"
            );
        }
    }
}

/// Runs a verb where the environment holds a secret.
fn dhal(site: &Site, arguments: &[&str], secret: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dhal"))
        .args(arguments)
        .env("DHAL_CONFIG", site.path("dhal.toml"))
        .env("EDGE_SECRET", secret)
        .env_remove("DHAL_LOG")
        .current_dir(site.path("."))
        .output()
        .expect("dhal runs")
}

/// Values that nobody may ever see, and where they are planted.
const SECRETS: [&str; 5] = [
    "tok3n-7f1d-planted-for-all",
    "r00mkey-55aa-planted-for-all-to-look-for-in-vain",
    "env-9c2e-planted-value",
    "hmacPlantedPlantedPlantedPlantedPlantedPlant",
    "header-31bd-planted-value",
];

#[test]
fn no_secret_is_ever_told() {
    let shop = Origin::start(|r| page(r.field("x-api-key").unwrap_or("none")));
    let [token, room, env, hmac, header] = SECRETS;
    // At a name that tells nothing: for those who may change things.
    let plain = "plain-77aa-planted-value";
    let config = format!(
        r#"
        [admin]
        address = ["unix:@dir/admin.sock", "@admin"]
        token_file = "@dir/token"
        [upstreams.shop]
        servers = ["{shop}"]
        [waiting_rooms.sale]
        capacity = 100
        keys = [{{ id = "a", file = "@dir/room.key" }}]
        [[routes]]
        upstream = "shop"
        waiting_room = "sale"
        request_headers = {{ set = {{ x-api-key = "${{EDGE_SECRET}}", x-token = "{header}", x-plain = "{plain}" }} }}
        [acme]
        agree_tos = true
        storage = "@dir/acme"
        directory = "https://127.0.0.1:1/dir"
        names = [["ordered.example"]]
        eab = {{ key_id = "kid", hmac_file = "@dir/eab" }}
        "#
    );
    let site = Site::new_tls(&config).with_variable("EDGE_SECRET", env);
    for (file, secret) in [("token", token), ("room.key", room), ("eab", hmac)] {
        fs::write(site.path(file), secret).expect("written");
    }
    let key = fs::read_to_string(site.path("certs/dev.key")).expect("a key");
    let key = key.lines().nth(1).expect("base64").to_owned();
    let edge = Edge::start_at(site);
    let mut told = Vec::new();
    let mut tell = |what: &str, text: String| told.push((what.to_owned(), text));
    assert_eq!(edge.get("/").text(), env, "the shop gets it");
    for path in [
        "/status", "/metrics", "/config", "/reloads", "/healthz", "/nothing",
    ] {
        tell(path, edge.admin("GET", path).1);
    }
    for verb in [
        &["status"][..],
        &["status", "--json"],
        &["check"],
        &["reload"],
        &["config", "print"],
        &["config", "print", "--json"],
        &["history"],
        &["acme", "status"],
    ] {
        let said = dhal(&edge.site, verb, env);
        tell(&verb.join(" "), text(&said));
    }
    // Files that are wrong are told with what is wrong about them, and no more.
    let written = edge.site.read("dhal.toml");
    for (file, wrong) in [
        ("token", token[..12].to_owned()),
        ("room.key", room[..20].to_owned()),
        (
            "certs/dev.key",
            format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"),
        ),
        ("eab", format!("{hmac} !!")),
        (
            "dhal.toml",
            written.replace("upstream = \"shop\"", "upstream = \"${EDGE_SECRET}\""),
        ),
        (
            "dhal.toml",
            written.replace("request_headers = { set", "request_headers = { sett"),
        ),
        (
            "dhal.toml",
            written.replace("\"@http\"", "7").replace(
                "capacity = 100",
                &format!("capacity = \"${{EDGE_SECRET}}\"\nstay = \"{header}\""),
            ),
        ),
    ] {
        let before = fs::read(edge.site.path(file)).expect(file);
        fs::write(edge.site.path(file), wrong).expect("written");
        for verb in ["check", "reload"] {
            let said = dhal(&edge.site, &[verb], env);
            let mut said = text(&said);
            assert!(!said.contains(plain), "{said}");
            if said.contains("stay = ") {
                // What stands there in the clear, at a key that is not a secret's, is shown with its line.
                said = said.replace(header, "");
            }
            tell(&format!("{verb} with a wrong {file}"), said);
        }
        fs::write(edge.site.path(file), before).expect("written");
    }
    // Who may read over TCP, and no more, is not told what was wrong, nor what the shop is told.
    let ask = |path: &str, fields: &[(&str, &str)]| {
        let mut conn = Conn::open(edge.site.admin_tcp);
        conn.request("GET", path, fields);
        let answer = conn.response("GET");
        assert_eq!(answer.status, 200, "{path}");
        answer.text().to_owned()
    };
    let bearer = format!("Bearer {token}");
    for (path, withheld) in [
        ("/reloads", "there is no upstream"),
        ("/reloads", "dhal.toml:"),
        ("/status", "dhal.toml:"),
        ("/config", plain),
    ] {
        let all = [
            edge.admin("GET", path).1,
            ask(path, &[("Authorization", &bearer)]),
        ];
        assert!(all.iter().all(|text| text.contains(withheld)), "{all:?}");
        for fields in [&[][..], &[("Authorization", "Bearer wrong")]] {
            let text = ask(path, fields);
            assert!(!text.contains(withheld), "{text}");
            tell(path, text);
        }
    }
    // The wrong token, near the right one.
    for given in [&token[..token.len() - 1], "wrong", token] {
        let mut conn = Conn::open(edge.site.admin_tcp);
        let bearer = format!("Bearer {given}");
        let fields = [("Authorization", bearer.as_str()), ("Content-Length", "0")];
        conn.request("POST", "/reload", &fields);
        let answer = conn.response("POST");
        assert_eq!(answer.status == 200, given == token, "{given}");
        tell("a reload over TCP", answer.text());
    }
    tell("standard error", edge.stderr().replace(header, ""));
    tell("standard output", edge.site.read("stdout"));
    tell("the access log", edge.site.read("access.log"));
    assert!(told.len() > 20);
    for (what, text) in &told {
        for secret in SECRETS.iter().copied().chain([key.as_str()]) {
            // A piece of it would be enough.
            let piece = &secret[..12];
            assert!(!text.contains(piece), "{what} tells {secret}:\n{text}");
        }
    }
}
