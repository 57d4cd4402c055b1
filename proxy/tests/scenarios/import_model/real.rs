//! The model against nginx itself: what is generated is asked of both.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nginx_import::Tree;

use super::{
    generator::{self, Dice},
    nginx::{Asked, Model, Outcome},
    number,
    ours::Alone,
};
use crate::{
    origin::{Origin, page},
    tools::{Folder, eventually, free_address},
};

/// Configurations of a usual run: each starts an nginx.
const CONFIGURATIONS: u64 = 25;

const REQUESTS: usize = 20;

/// nginx with one configuration, in a folder of its own.
struct Real {
    child: Child,
    _folder: Folder,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the configuration, the addresses by which the model comes there, and those at which nginx listens.
struct Doors(Vec<(&'static str, SocketAddr, SocketAddr)>);

impl Doors {
    fn new() -> Self {
        let doors = [
            ("listen 80", [198, 51, 100, 1], 80),
            ("listen 8080", [198, 51, 100, 1], 8080),
            ("listen 127.0.0.1:8081", [127, 0, 0, 1], 8081),
            ("listen 127.0.0.1:80", [127, 0, 0, 1], 80),
        ];
        let doors = doors.map(|(listen, ip, port): (_, [u8; 4], u16)| {
            (listen, SocketAddr::from((ip, port)), free_address())
        });
        Self(doors.into())
    }

    /// Those at which a configuration listens.
    fn used(&self, text: &str) -> impl Iterator<Item = &(&'static str, SocketAddr, SocketAddr)> {
        let is_there = |listen: &str| {
            text.lines().any(|l| {
                l.strip_prefix(listen)
                    .is_some_and(|rest| rest.starts_with([';', ' ']))
            })
        };
        let used: Vec<_> = self
            .0
            .iter()
            .filter(|(listen, ..)| is_there(listen))
            .collect();
        used.into_iter()
    }
}

impl Real {
    /// `None` where nginx does not take it.
    fn start(text: &str, doors: &Doors, backend: &str) -> Option<Self> {
        let folder = Folder::new();
        let name = folder.path().display().to_string();
        let mut own: String = text
            .lines()
            .map(|line| {
                let found = doors.0.iter().find(|(listen, ..)| {
                    line.strip_prefix(listen)
                        .is_some_and(|rest| rest.starts_with([';', ' ']))
                });
                match found {
                    Some((listen, _, at)) => line.replace(listen, &format!("listen {at}")) + "\n",
                    None => line.to_owned() + "\n",
                }
            })
            .collect();
        for number in 0..3 {
            own = own.replace(&format!("10.9.0.{number}:3000"), backend);
        }
        let first = format!(
            "daemon off; master_process off; pid {name}/pid; error_log {name}/log crit;\n\
             events {{ worker_connections 64; }}\nhttp {{\naccess_log off; proxy_http_version 1.1;\n\
             client_body_temp_path {name}/b; proxy_temp_path {name}/p; fastcgi_temp_path {name}/f;\n\
             uwsgi_temp_path {name}/u; scgi_temp_path {name}/s;\n\
             set_real_ip_from 127.0.0.0/8; real_ip_header X-Test-Client;\n"
        );
        let own = own.replacen("http {", &first, 1);
        let file = folder.path().join("nginx.conf");
        fs::write(&file, own).expect("written");
        fs::write(folder.path().join("users"), "").expect("written");
        let mut child = Command::new("nginx")
            .args(["-p", &name, "-c", "nginx.conf", "-e"])
            .arg(folder.path().join("early.log"))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let used: Vec<_> = doors.used(text).collect();
        let mut is_gone = false;
        eventually("nginx listens", || {
            is_gone = child.try_wait().expect("its state").is_some();
            is_gone || used.iter().all(|(.., at)| TcpStream::connect(at).is_ok())
        });
        let real = Self {
            child,
            _folder: folder,
        };
        (!is_gone).then_some(real)
    }
}

/// The status of the answer, and whether it is the shop's; 444 where there is none.
fn ask(at: SocketAddr, asked: &Asked) -> (u16, bool) {
    let mut stream = TcpStream::connect(at).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time limit");
    let Asked {
        host,
        method,
        target,
        client,
    } = asked;
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Test-Client: {client}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let status = text.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(444);
    (status, text.contains("\r\nx-shop:"))
}

fn differ(model: &Outcome, real: (u16, bool)) -> bool {
    match (model, real) {
        (Outcome::Passed(_), (_, is_shop)) => !is_shop,
        (_, (_, true)) => true,
        (Outcome::Endless, (status, _)) => status != 500,
        (Outcome::File, (status, _)) => !matches!(status, 403..=405),
        (Outcome::Refused(wanted) | Outcome::Led(wanted) | Outcome::Fixed(wanted), (status, _)) => {
            *wanted != status
        }
    }
}

#[test]
fn the_model_is_as_nginx() {
    let found = Command::new("nginx")
        .arg("-v")
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: there is no nginx on this host to compare with");
        return;
    }
    let backend = Origin::start(|_| page("shop").field("X-Shop", "yes"));
    let seed = number("DHAL_MODEL_SEED", 1);
    let configurations = number("DHAL_MODEL_REAL", CONFIGURATIONS);
    let (mut asked_all, mut refused, mut wrong) = (0, 0, Vec::new());
    for own in seed..seed + configurations {
        let mut dice = Dice::new(own);
        let text = generator::configuration(&mut dice);
        let tree: Tree = nginx_import::parse(&Alone(&text), "nginx.conf").expect(&text);
        let requests = generator::requests(&mut dice, &tree, REQUESTS);
        let doors = Doors::new();
        let Some(_real) = Real::start(&text, &doors, &backend.to_string()) else {
            eprintln!("seed {own}: nginx refuses it");
            refused += 1;
            continue;
        };
        let model = Model::of(&tree).expect("servers");
        for asked in &requests {
            for door in model.doors(asked.client) {
                // An address of its own is needed for whoever comes from within.
                let Some((.., at)) = doors.used(&text).find(|(_, own, _)| *own == door) else {
                    continue;
                };
                asked_all += 1;
                let (model, real) = (model.answer(door, asked), ask(*at, asked));
                if differ(&model, real) {
                    wrong.push(format!(
                        "seed {own}: {asked:?} by {door}: model {model:?}, nginx {real:?}\n{text}"
                    ));
                }
            }
        }
    }
    eprintln!(
        "{asked_all} asked, {refused} configurations refused, {} differ",
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{}",
        wrong[..wrong.len().min(5)].join("\n")
    );
    assert!(refused * 10 <= configurations && asked_all > configurations * 10);
}
