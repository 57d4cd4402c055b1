//! Root is given up, and the edge goes on: reloads, upgrades, logs, the disk and new low ports.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Output},
};

use nix::sys::signal::Signal;

use crate::{
    client::Conn,
    disk::{kept, plain_with_disk},
    edge::{Edge, Site},
    h2::https,
    handover::{Service, signal},
    origin::{Origin, page},
    serving::{plain, smallest},
    tools::{eventually, free_address},
};

/// A user without a name: every machine has it.
pub(crate) const USER: u32 = 54_321;

/// What makes the edge this user.
pub(crate) fn as_user() -> String {
    format!("[server]\nuser = \"{USER}\"\ngroup = \"{USER}\"\npid_file = \"@dir/dhal.pid\"\n")
}

/// Whether this is root, who alone can become another.
pub(crate) fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("SKIPPED: this scenario needs root");
    }
    is_root
}

/// Gives a folder and all that is in it to the user.
pub(crate) fn give(path: &Path) {
    chown(path, Some(USER), Some(USER)).expect("given");
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.expect("an entry").path();
        match entry.is_dir() {
            true => give(&entry),
            false => chown(&entry, Some(USER), Some(USER)).expect("given"),
        }
    }
}

/// All threads of a process, as the kernel knows them.
fn threads(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process");
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    tasks.filter_map(|task| status(task.ok()?)).collect()
}

fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(name));
    found.map(str::trim).expect("a line")
}

/// No thread is root, or can be.
fn is_given_up(process: u32) {
    let threads = threads(process);
    assert!(threads.len() > 2, "{threads:?}");
    for status in threads {
        for ids in ["Uid:", "Gid:"] {
            let own = [USER.to_string().as_str(); 4].join("\t");
            assert_eq!(line(&status, ids), own, "{status}");
        }
        // CAP_NET_BIND_SERVICE alone, or nothing. The bound on what could be had is a thread's own, and the
        // allocator's thread began before the program did.
        const KEPT: u64 = 1 << 10;
        let bound = (line(&status, "Name:") != "jemalloc_bg_thd").then_some("CapBnd:");
        for set in ["CapEff:", "CapPrm:"].into_iter().chain(bound) {
            let set = u64::from_str_radix(line(&status, set), 16).expect("a set");
            assert!(set == KEPT || set == 0, "{status}");
        }
    }
    // Those that visitors meet cannot gain anything by a program either.
    let own = fs::read_to_string(format!("/proc/{process}/status")).expect("a status");
    assert_eq!(line(&own, "NoNewPrivs:"), "1");
}

fn run_as(site: &Site, user: u32, arguments: &[&str]) -> Output {
    Command::new(&site.program)
        .args(arguments)
        .env("DHAL_CONFIG", site.path("dhal.toml"))
        .env_remove("DHAL_LOG")
        .current_dir(site.path("."))
        .uid(user)
        .gid(user)
        .output()
        .expect("dhal runs")
}

/// An address with a low port that nobody else uses; not tried out, see [`free_address`].
fn low_address() -> String {
    SocketAddr::new(free_address().ip(), 900).to_string()
}

fn text(output: &Output) -> String {
    let parts = [&output.stdout, &output.stderr].map(|part| String::from_utf8_lossy(part));
    parts.concat()
}

#[test]
fn root_is_given_up_and_all_goes_on() {
    if !is_root() {
        return;
    }
    let shop = Origin::start(|_| page("hello").fresh(60));
    let site = Site::new_tls(&(plain_with_disk(&shop, "") + &as_user()));
    let site = site.with_program_of_its_own();
    give(&site.path("."));
    // What root alone may read is read while it is root.
    let key = site.path("certs/dev.key");
    chown(&key, Some(0), Some(0)).expect("root's");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("set");
    let mut service = Service::of(Edge::start_at(site));
    let edge = &service.edge;
    is_given_up(edge.id());
    assert!(
        edge.stderr().contains("root is given up"),
        "{}",
        edge.stderr()
    );
    let warned = format!(
        "{0} cannot be read by the user {USER}: only a start as root reads it, reloads and upgrades will be refused, and \
         a file that takes its place is not taken up; let {USER} read it (`chgrp {USER} {0} && chmod g+r {0}`)",
        key.display()
    );
    assert!(edge.stderr().contains(&warned), "{}", edge.stderr());
    assert_eq!(edge.get("/a").text(), "hello");
    assert_eq!(https(edge.site.https, "shop.example").get("/a").status, 200);
    kept(edge, 1);
    let status = String::from_utf8(edge.site.dhal(&["status"]).stdout).expect("text");
    assert!(
        status.contains(&format!("user uid {USER}, root before")),
        "{status}"
    );
    for name in ["access.log", "dhal.pid", "admin.sock", "store"] {
        let about = fs::metadata(edge.site.path(name)).expect(name);
        assert_eq!((about.uid(), about.gid()), (USER, USER), "{name}");
    }

    // What a reload reads has to be the user's to read, and what a process that takes over does, too.
    let hint = format!("{} cannot be read by uid {USER}", key.display());
    let said = text(&edge.site.dhal(&["reload"]));
    assert!(said.contains(&hint), "{said}");
    let refused = service.try_upgrade(&[]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(text(&refused).contains(&hint), "{}", text(&refused));
    assert_eq!(service.edge.get("/a").text(), "hello");
    chown(&key, Some(USER), None).expect("given");
    let edge = &service.edge;
    let reload = |edge: &Edge| text(&edge.site.dhal(&["reload"]));
    fs::write(edge.site.path("list"), "10.0.0.0/8\n").expect("written");
    let list = edge.site.path("list");
    fs::set_permissions(&list, fs::Permissions::from_mode(0o600)).expect("set");
    let written = edge.site.read("dhal.toml");
    let with_list = format!(
        "{written}\n[address_lists.us]\nfile = \"{}\"\n",
        list.display()
    );
    fs::write(edge.site.path("dhal.toml"), &with_list).expect("written");
    let said = reload(edge);
    assert!(
        said.contains(&format!("{} cannot be read by uid {USER}", list.display())),
        "{said}"
    );
    assert!(
        said.contains("chgrp") && said.contains("restart as root"),
        "{said}"
    );
    chown(&list, Some(USER), None).expect("given");
    let said = reload(edge);
    assert!(said.contains("is in force"), "{said}");

    // A low port that nobody listened on before.
    let low = low_address();
    let listener = format!("[[listeners]]\naddress = \"{low}\"\n");
    fs::write(
        edge.site.path("dhal.toml"),
        format!("{with_list}{listener}"),
    )
    .expect("written");
    let said = reload(edge);
    assert!(said.contains("is in force"), "{said}");
    let mut conn = Conn::open(low.parse().expect("an address"));
    assert_eq!(conn.get("/a").text(), "hello");
    drop(conn);

    // The log is moved away, and opened anew.
    fs::rename(edge.site.path("access.log"), edge.site.path("access.log.1")).expect("moved");
    edge.signal(Signal::SIGUSR1);
    eventually("it is opened anew", || {
        edge.site.path("access.log").exists()
    });

    let (_, now) = service.upgrade();
    is_given_up(now);
    let edge = &service.edge;
    assert_eq!(edge.get("/a").text(), "hello");
    assert_eq!(https(edge.site.https, "shop.example").get("/b").status, 200);
    let other = low_address();
    let listener = format!("{listener}[[listeners]]\naddress = \"{other}\"\n");
    fs::write(
        edge.site.path("dhal.toml"),
        format!("{with_list}{listener}"),
    )
    .expect("written");
    let said = reload(edge);
    assert!(said.contains("is in force"), "the right goes along: {said}");
    signal(now, Signal::SIGTERM);
    eventually("all is taken away", || {
        !["dhal.pid", "admin.sock"]
            .iter()
            .any(|name| edge.site.path(name).exists())
    });
}

#[test]
fn folders_of_root_are_no_obstacle() {
    if !is_root() {
        return;
    }
    let shop = Origin::start(|_| page("hello").fresh(60));
    let mut edge = Edge::start(
        &(plain_with_disk(&shop, "") + "[[listeners]]\naddress = \"@http\"\n" + &as_user()),
    );
    // The folder is root's: the files in it are the user's, and not those that were there.
    for (name, owner) in [
        ("access.log", USER),
        ("dhal.pid", USER),
        ("store", USER),
        ("dhal.toml", 0),
    ] {
        let about = fs::metadata(edge.site.path(name)).expect(name);
        assert_eq!(about.uid(), owner, "{name}");
    }
    assert!(
        edge.stderr()
            .contains("cannot be made anew or removed there"),
        "{}",
        edge.stderr()
    );
    assert_eq!(edge.get("/").status, 200);
    kept(&edge, 1);
    eventually("it is logged", || edge.log().len() == 1);
    assert_eq!(edge.site.read("dhal.pid"), format!("{}\n", edge.id()));
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    // What cannot be removed names nobody.
    assert_eq!(edge.site.read("dhal.pid"), "");
}

/// After a start of the machine `/run` is empty, and where systemd does not make folders there nobody does.
#[test]
fn folders_of_pid_file_and_socket_are_made_for_the_user() {
    if !is_root() {
        return;
    }
    let shop = Origin::start(|_| page("hello"));
    let config = smallest(&shop) + &as_user().replace("@dir/dhal.pid", "@dir/run/dhal.pid");
    let admin = "[admin]\naddress = \"unix:@dir/run/admin.sock\"\n";
    let log = "[access_log]\npath = \"@dir/log/access.log\"\n";
    let mut edge = Edge::start(&(config + admin + log));
    for name in ["run", "log"] {
        let about = fs::metadata(edge.site.path(name)).expect(name);
        let is = (about.uid(), about.gid(), about.mode() & 0o777);
        assert_eq!(is, (USER, USER, 0o755), "{name}");
    }
    let said = text(&edge.site.dhal(&["reload"]));
    assert!(said.contains("is in force"), "{said}");
    edge.signal(Signal::SIGTERM);
    assert!(edge.wait().success());
    let left = fs::read_dir(edge.site.path("run")).expect("a folder");
    assert_eq!(left.count(), 0);
}

/// Certbot keeps keys in folders that only root may enter, and leads to them by links.
#[test]
fn the_folder_that_keeps_a_key_away_is_named() {
    if !is_root() {
        return;
    }
    let shop = Origin::start(|_| page("hello"));
    let site = Site::new_tls(&(plain(&shop) + &as_user()));
    fs::create_dir_all(site.path("archive")).expect("a folder");
    let key = site.path("certs/dev.key");
    fs::rename(&key, site.path("archive/dev1.key")).expect("moved");
    std::os::unix::fs::symlink("../archive/dev1.key", &key).expect("a link");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(site.path("archive"), closed).expect("set");
    let said = text(&site.dhal(&["check"]));
    let archive = site.path("archive").display().to_string();
    assert!(
        said.contains(&format!("{} cannot be read by", key.display()))
            && said.contains(&format!("`chgrp {USER} {archive} && chmod g+x {archive}`")),
        "{said}"
    );
}

#[test]
fn who_cannot_become_the_user_is_told() {
    let shop = Origin::start(|_| page("hello"));
    let site = Site::new(&(smallest(&shop) + "[server]\nuser = \"no-such-user\"\n"));
    for verb in ["run", "check"] {
        let said = site.dhal(&[verb]);
        assert!(!said.status.success(), "{said:?}");
        assert!(
            text(&said).contains("there is no user no-such-user"),
            "{}",
            text(&said)
        );
        assert!(text(&said).contains("useradd"), "{}", text(&said));
    }
    if !is_root() {
        return;
    }
    let site = Site::new(&(smallest(&shop) + &as_user())).with_program_of_its_own();
    give(&site.path("."));
    let said = run_as(&site, USER + 1, &["run"]);
    assert!(!said.status.success());
    let text = text(&said);
    assert!(
        text.contains(&format!("who cannot become {USER}")),
        "{text}"
    );
}

#[test]
fn a_check_as_root_names_what_the_user_cannot_read() {
    if !is_root() {
        return;
    }
    let shop = Origin::start(|_| page("hello"));
    let list =
        "[address_lists.us]\nfile = \"@dir/list\"\n[address_lists.them]\nfile = \"@dir/open\"\n";
    let site = Site::new(&(smallest(&shop) + &as_user() + list));
    for (name, mode) in [("list", 0o600), ("open", 0o644)] {
        fs::write(site.path(name), "10.0.0.0/8\n").expect("written");
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).expect("set");
    }
    let said = site.dhal(&["check"]);
    assert!(said.status.success(), "{said:?}");
    let text = text(&said);
    let path = |name| site.path(name).display().to_string();
    assert!(
        text.contains(&format!(
            "{} cannot be read by the user {USER}",
            path("list")
        )),
        "{text}"
    );
    assert!(
        !text.contains(&format!("{} cannot", path("open"))),
        "{text}"
    );
    assert!(text.contains("access.log cannot be made anew"), "{text}");
}

#[test]
fn admin_sockets_belong_to_whom_they_are_given() {
    let shop = Origin::start(|_| page("hello"));
    let own = nix::unistd::getegid().as_raw();
    let config = |admin: &str| {
        format!(
            "{}[admin]\naddress = \"unix:@dir/admin.sock\"\n{admin}",
            smallest(&shop)
        )
    };
    let edge = Edge::start(&config(""));
    let is = |mode: u32, group: u32| {
        let about = fs::metadata(edge.site.path("admin.sock")).expect("a socket");
        assert_eq!((about.mode() & 0o777, about.gid()), (mode, group));
    };
    is(0o600, own);
    let group = if is_root() { USER } else { own };
    for (admin, mode) in [
        (format!("group = \"{group}\""), 0o660),
        (format!("group = \"{group}\"\nmode = \"0640\""), 0o640),
        ("mode = \"600\"".to_owned(), 0o600),
    ] {
        let said = edge.reload(&config(&admin));
        assert!(said.status.success(), "{said:?}");
        is(mode, group);
    }
    let said = edge.reload(&config("group = \"no-such-group\""));
    assert!(!said.status.success());
    assert!(
        text(&said).contains("there is no group no-such-group"),
        "{}",
        text(&said)
    );
    is(0o600, group);
}
