//! `dhal demo`: two shops and the edge in front of them, on this machine.

use std::{
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{dev_cert, say};
use crate::config::model::{Admin, AdminAddress};

/// How long all three may take until they answer; the first start fills the shop's database.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often it looks whether a process is still there.
const LOOK: Duration = Duration::from_millis(50);

/// The variable by which the edges of a demo are known; its value is the demo's folder.
const MARK: &str = "DHAL_DEMO";

const SHOPS: [&str; 2] = ["127.0.0.1:3000", "127.0.0.1:3001"];
const EDGE: [&str; 2] = ["127.0.0.1:8080", "127.0.0.1:8443"];

/// Where things are, and whether to stay.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder for the certificate, the shop's database and the logs.
    #[arg(long, value_name = "DIR", default_value = "var/demo")]
    dir: PathBuf,
    /// Leave all running and return.
    #[arg(long)]
    detach: bool,
    /// Stop what an earlier `--detach` left running.
    #[arg(long)]
    stop: bool,
}

pub(super) fn demo(config: Option<&Path>, options: &Options) -> anyhow::Result<()> {
    fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make {}", options.dir.display()))?;
    stop(&options.dir);
    if options.stop {
        return say!("stopped");
    }
    for address in SHOPS.iter().chain(&EDGE) {
        if answers(address) {
            bail!(
                "something else listens on {address}; the demo needs ports 3000, 3001, 8080, 8443 and 9900"
            );
        }
    }
    let (cert, key) = (options.dir.join("dev.pem"), options.dir.join("dev.key"));
    if !(cert.exists() && key.exists()) {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        dev_cert::make(&cert, &key, &names)?;
    }
    let config = config.unwrap_or_else(|| Path::new("config/demo.toml"));
    let edge = super::load(config)?.config;
    let mut running = Running {
        dir: options.dir.clone(),
        children: Vec::new(),
        keep: options.detach,
    };
    let own = std::env::current_exe().context("cannot find this program")?;
    let shop = own.with_file_name("dhakacart-origin");
    if !shop.exists() {
        bail!("{} is missing: build the whole workspace", shop.display());
    }
    let database = options.dir.join("shop.sqlite");
    for (i, address) in SHOPS.iter().enumerate() {
        let name = format!("shop-{}", i + 1);
        let mut command = Command::new(&shop);
        command
            .args(["--listen", address, "--name", &name, "--database"])
            .arg(&database);
        if let Some(endpoint) = purge_endpoint(edge.admin.as_ref()) {
            command.args(["--purge", &endpoint]);
        }
        running.start(&name, command)?;
    }
    let mut command = Command::new(&own);
    command.arg("run").arg("-c").arg(config);
    command.env(MARK, mark(&options.dir));
    running.start("edge", command)?;
    running.wait_until_up()?;
    announce(&options.dir, options.detach)?;
    if !options.detach {
        running.wait();
    }
    Ok(())
}

/// Where the shops tell the edge what has changed: its socket, which asks for no token.
fn purge_endpoint(admin: Option<&Admin>) -> Option<String> {
    admin?.addresses.iter().find_map(|address| match address {
        AdminAddress::Unix(path) => Some(format!("unix:{}", path.display())),
        AdminAddress::Tcp(_) => None,
    })
}

fn announce(dir: &Path, detached: bool) -> anyhow::Result<()> {
    let [first, second] = SHOPS;
    let dir = dir.display();
    let end = match detached {
        true => "Stop it with: make demo-stop",
        false => "Ctrl-C stops all of it.",
    };
    say!(
        "
  The shop behind the edge   https://localhost:8443/   (HTTP/2; the certificate is for development)
  The same without TLS       http://localhost:8080/
  Metrics and readiness      http://127.0.0.1:9900/metrics   http://127.0.0.1:9900/readyz
  The shops themselves       http://{first}/   http://{second}/
  Logs                       {dir}/*.log

  Twice, and the second is a hit:
      curl -sk -o /dev/null -D - https://localhost:8443/ | grep -i cache-status

  {end}
"
    )
}

fn answers(address: &str) -> bool {
    let Ok(address) = address.parse::<SocketAddr>() else {
        return false;
    };
    TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}

/// Ends what an earlier run has left, if it is still ours: the edge, and whatever took over from it, by what they were
/// started with, and the rest by its pid files.
fn stop(dir: &Path) {
    // The edge first, so that nobody sees its shops go.
    end(&edges(dir));
    for name in ["edge", "shop-1", "shop-2"] {
        let file = dir.join(format!("{name}.pid"));
        let Some(pid) = fs::read_to_string(&file)
            .ok()
            .and_then(|text| text.trim().parse::<i32>().ok())
        else {
            continue;
        };
        let _ = fs::remove_file(&file);
        // A process id may have gone to somebody else since.
        if is_ours(pid) {
            end(&[Pid::from_raw(pid)]);
        }
    }
}

fn is_ours(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    program.starts_with("dhal") || program.starts_with("dhakacart-origin")
}

/// What the edge of a demo has in its environment, and hands on to the process that takes over from it.
fn mark(dir: &Path) -> OsString {
    dir.canonicalize()
        .unwrap_or_else(|_| dir.to_owned())
        .into_os_string()
}

/// The edges of a demo: the one that was started, or those that took over from it since.
fn edges(dir: &Path) -> Vec<Pid> {
    let marked = [MARK.as_bytes(), b"=", mark(dir).as_bytes()].concat();
    let is_marked = |pid: &i32| {
        let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        variables.split(|b| *b == 0).any(|it| it == marked) && is_ours(*pid)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers.filter(is_marked).map(Pid::from_raw).collect()
}

/// Tells them to end, and waits until they have.
fn end(pids: &[Pid]) {
    pids.iter().for_each(|pid| terminate(*pid));
    let deadline = Instant::now() + Duration::from_secs(15);
    while pids.iter().any(|pid| kill(*pid, None).is_ok()) && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
}

/// The three processes; ended when dropped, unless they are to stay.
struct Running {
    dir: PathBuf,
    children: Vec<(String, Child)>,
    keep: bool,
}

impl Running {
    fn start(&mut self, name: &str, mut command: Command) -> anyhow::Result<()> {
        let path = self.dir.join(format!("{name}.log"));
        let log =
            fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if self.keep {
            // Of its own process group, so that the terminal's Ctrl-C later does not reach it.
            command.process_group(0);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        fs::write(self.dir.join(format!("{name}.pid")), child.id().to_string())?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    fn wait_until_up(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for (name, child) in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    let log = fs::read_to_string(self.dir.join(format!("{name}.log")))
                        .unwrap_or_default();
                    self.keep = false;
                    bail!("{name} ended ({status}):\n{log}");
                }
            }
            if SHOPS.iter().chain(&EDGE).all(|address| answers(address)) {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.keep = false;
                bail!(
                    "not all of it answers after {PATIENCE:?}; see {}/*.log",
                    self.dir.display()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn wait(&mut self) {
        if let Some((_, edge)) = self.children.last_mut() {
            let _ = edge.wait();
        }
        // Another process may have taken over.
        while !edges(&self.dir).is_empty() {
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // The edge first, so that nobody sees its shops go.
        end(&edges(&self.dir));
        for (name, child) in self.children.iter_mut().rev() {
            terminate(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)));
            let _ = child.wait();
            let _ = fs::remove_file(self.dir.join(format!("{name}.pid")));
        }
    }
}

fn terminate(pid: Pid) {
    // Process 0 would be the whole group.
    if pid.as_raw() > 0 {
        let _ = kill(pid, Signal::SIGTERM);
    }
}
