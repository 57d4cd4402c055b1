//! The real program on free addresses, in a folder of its own.

use std::{
    fs::File,
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::{net::UnixStream, process::CommandExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    client::{Conn, Response},
    privilege::{USER, give},
    tools::{Folder, PATIENCE, eventually, free_address},
};

/// A folder with a configuration in it, and the addresses it names.
pub(crate) struct Site {
    folder: Folder,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin_tcp: SocketAddr,
    /// The most files that the edge may have open.
    files: Option<u32>,
    environment: Vec<(String, String)>,
    pub(crate) program: PathBuf,
    /// Who runs it, where that is somebody else.
    user: Option<u32>,
}

impl Site {
    /// Writes a configuration. `@http`, `@https` and `@admin` stand for free addresses, `@dir` for
    /// the folder. A listener at `@http`, the admin socket and the access log are added where the text
    /// has none.
    pub(crate) fn new(config: &str) -> Self {
        let site = Self {
            folder: Folder::new(),
            http: free_address(),
            https: free_address(),
            admin_tcp: free_address(),
            files: None,
            environment: Vec::new(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_dhal")),
            user: None,
        };
        site.configure(config);
        site
    }

    /// The same with a listener at `@https` and a certificate for `shop.example`.
    pub(crate) fn new_tls(config: &str) -> Self {
        let tls = r#"
            [[listeners]]
            address = "@http"
            [[listeners]]
            address = "@https"
            tls = true
            [[certificates]]
            cert = "@dir/certs/dev.pem"
            key = "@dir/certs/dev.key"
        "#;
        let site = Self::new(&format!("{config}\n{tls}"));
        let made = site.dhal(&["dev-cert", "--name", "shop.example"]);
        assert!(made.status.success());
        site
    }

    /// The program lies in the folder as well: where it was built, other users may not come.
    pub(crate) fn with_program_of_its_own(mut self) -> Self {
        let program = self.path("bin/dhal");
        std::fs::create_dir(self.path("bin")).expect("a folder");
        std::fs::copy(&self.program, &program).expect("a copy");
        self.program = program;
        self
    }

    /// Another user runs the program, who cannot become root again, and owns the folder. Only for root.
    pub(crate) fn run_by_user(self) -> Self {
        let mut site = self.with_program_of_its_own();
        give(&site.path("."));
        site.user = Some(USER);
        site
    }

    /// The edge has so few descriptors.
    pub(crate) fn with_files(mut self, files: u32) -> Self {
        self.files = Some(files);
        self
    }

    /// The edge has this in its environment; `@dir` stands for the folder.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        let value = value.replace("@dir", &self.folder.path().display().to_string());
        self.environment.push((name.to_owned(), value));
        self
    }

    /// Writes another configuration into the same place.
    pub(crate) fn configure(&self, config: &str) {
        let mut text = config.to_owned();
        // Every scenario within the sandbox, where that is asked for. Programs that take over may be scripts.
        if std::env::var_os("SCENARIOS_SANDBOXED").is_some() && !text.contains("sandbox =") {
            let sandbox = "[server]\nsandbox = { execute = [\"@dir\", \"/bin\", \"/usr/bin\"] }";
            let header = text.lines().find(|line| line.trim() == "[server]");
            text = match header.map(str::to_owned) {
                Some(header) => text.replacen(&header, sandbox, 1),
                None => format!("{text}\n{sandbox}\n"),
            };
        }
        for (section, content) in [
            ("[[listeners]]", "address = \"@http\""),
            ("[admin]", "address = \"unix:@dir/admin.sock\""),
            ("[access_log]", "path = \"@dir/access.log\""),
        ] {
            if !text.contains(section) {
                text.push_str(&format!("\n{section}\n{content}\n"));
            }
        }
        for (name, value) in [
            ("@https", self.https.to_string()),
            ("@http", self.http.to_string()),
            ("@admin", self.admin_tcp.to_string()),
            ("@dir", self.folder.path().display().to_string()),
        ] {
            text = text.replace(name, &value);
        }
        std::fs::write(self.path("dhal.toml"), text).expect("the configuration is written");
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the folder, and makes the folders above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, content).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The processes that run on this configuration, whoever has started them: those that took over are nobody's children
    /// any more.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let own = format!("DHAL_CONFIG={}", self.path("dhal.toml").display());
        let is_own = |pid: &u32| {
            let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            variables.split(|b| *b == 0).any(|v| v == own.as_bytes())
        };
        let entries = std::fs::read_dir("/proc").expect("processes");
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.filter(is_own).collect()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("DHAL_CONFIG", self.path("dhal.toml"))
            .env_remove("DHAL_LOG")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs a verb on the configuration and waits for its end.
    pub(crate) fn dhal(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("dhal runs")
    }

    /// The same where those who were to read what it says have closed their end already; what it says of errors is kept
    /// if asked for.
    pub(crate) fn dhal_unheard(&self, arguments: &[&str], keeps_errors: bool) -> Output {
        let closed = || io::pipe().expect("a pipe").1;
        let mut command = self.command(arguments);
        command.stdout(closed());
        if !keeps_errors {
            command.stderr(closed());
        }
        command.output().expect("dhal runs")
    }

    /// Starts the edge without waiting for it.
    pub(crate) fn spawn(self) -> Edge {
        let child = self.run();
        Edge { site: self, child }
    }

    fn run(&self) -> Child {
        let file = |name| File::create(self.path(name)).expect("a log");
        let mut run = self.command(&["run"]);
        if let Some(files) = self.files {
            run = self.command(&[]);
            let program = run.get_program().to_owned();
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &format!("ulimit -n {files}; exec \"$0\" run")])
                .arg(program)
                .env("DHAL_CONFIG", self.path("dhal.toml"))
                .env_remove("DHAL_LOG")
                .current_dir(self.folder.path())
                .stdin(Stdio::null());
            run = shell;
        }
        run.envs(self.environment.iter().cloned())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("dhal starts")
    }
}

/// A running edge; killed when dropped, with all processes that took over from it.
pub(crate) struct Edge {
    pub(crate) site: Site,
    child: Child,
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that fails in the middle of an upgrade does not know who took over.
        for process in self.site.processes() {
            let _ = kill(
                Pid::from_raw(i32::try_from(process).expect("a process id")),
                Signal::SIGKILL,
            );
        }
        if thread::panicking() {
            eprintln!("--- the edge said:\n{}", self.stderr());
        }
    }
}

impl Edge {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_at(Site::new(config))
    }

    /// The same with TLS, see [`Site::new_tls`].
    pub(crate) fn start_tls(config: &str) -> Self {
        Self::start_at(Site::new_tls(config))
    }

    pub(crate) fn start_at(site: Site) -> Self {
        let mut edge = site.spawn();
        edge.become_ready();
        edge
    }

    /// Whether its first process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    fn become_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.stderr().contains("ready") {
            let gone = self.child.try_wait().expect("its state");
            assert!(gone.is_none(), "the edge ended: {}", self.stderr());
            assert!(Instant::now() < deadline, "the edge is not ready in time");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it with a signal, and starts it again in the same place.
    pub(crate) fn restart(&mut self, signal: Signal) {
        self.signal(signal);
        self.wait();
        self.child = self.site.run();
        self.become_ready();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> String {
        self.site.read("stderr")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("the edge runs");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the edge ends", || {
            status = self.child.try_wait().expect("its state");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Puts another configuration in force with `dhal reload`.
    pub(crate) fn reload(&self, config: &str) -> Output {
        self.site.configure(config);
        self.site.dhal(&["reload"])
    }

    /// Asks the admin socket.
    pub(crate) fn admin(&self, method: &str, path: &str) -> (u16, String) {
        self.admin_with(method, path, "")
    }

    /// Gives the admin socket an order.
    pub(crate) fn admin_json(&self, path: &str, json: &str) -> (u16, String) {
        self.admin_with("POST", path, json)
    }

    fn admin_with(&self, method: &str, path: &str, content: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.site.path("admin.sock")).expect("admin socket");
        // An edge that stands still fails its scenario, and does not hold it up.
        let patience = Some(3 * PATIENCE);
        stream.set_read_timeout(patience).expect("set");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            content.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        // What is refused for its size is not read to its end.
        let _ = stream.write_all(content.as_bytes());
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// The value of a metric, named with its labels as Prometheus writes them.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.admin("GET", "/metrics");
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    /// Waits until a metric has this value: what is counted of an answer may be counted when it has left.
    pub(crate) fn counts(&self, series: &str, wanted: f64) {
        eventually(&format!("{series} is {wanted}"), || {
            self.metric(series) == Some(wanted)
        });
    }

    /// Waits until the process log says so: it may be written when an answer has left.
    pub(crate) fn says(&self, what: &str) {
        eventually(&format!("the log says {what:?}"), || {
            self.stderr().contains(what)
        });
    }

    /// The access log's lines so far.
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        let text = self.site.read("access.log");
        text.lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect()
    }

    pub(crate) fn connect(&self) -> Conn {
        Conn::open(self.site.http)
    }

    /// GET on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask("GET", path, &[])
    }

    /// A request without content on a connection of its own.
    pub(crate) fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut conn = self.connect();
        conn.request(method, path, fields);
        conn.response(method)
    }
}
