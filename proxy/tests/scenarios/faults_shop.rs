//! A shop that plays a fault to who asks for it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{relaying::read_head, tools::free_address};

/// A request as the faulty shop got it.
pub(crate) struct Asked<'a> {
    pub(crate) head: &'a str,
    pub(crate) target: &'a str,
    /// Counts the requests of this connection, from 1.
    pub(crate) nth: usize,
}

/// What becomes of the shop's connection.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// It waits for another request.
    Next,
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// It stays as it is until the edge ends it.
    Stay,
}

type Script = dyn Fn(&mut TcpStream, &Asked<'_>) -> Then + Send + Sync;

/// A shop that plays its fault to whoever asks for a path with `fault` in it, and answers all else rightly.
pub(crate) struct Shop {
    /// Where it is alone.
    pub(crate) alone: SocketAddr,
    /// Where another is beside it. No connection there is used twice, so that none can have been closed by the
    /// time it is used again, which is nobody's fault.
    pub(crate) beside: SocketAddr,
    script: Arc<Script>,
    open: Arc<AtomicUsize>,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    pub(crate) fn start(
        script: impl Fn(&mut TcpStream, &Asked<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        let shop = Self::absent(script);
        shop.open();
        shop
    }

    /// Not there yet.
    pub(crate) fn absent(
        script: impl Fn(&mut TcpStream, &Asked<'_>) -> Then + Send + Sync + 'static,
    ) -> Self {
        Self {
            alone: free_address(),
            beside: free_address(),
            script: Arc::new(script),
            open: Arc::default(),
            targets: Arc::default(),
        }
    }

    /// Begins to listen.
    pub(crate) fn open(&self) {
        for address in [self.alone, self.beside] {
            self.accept(TcpListener::bind(address).expect("free"));
        }
    }

    /// Serves who comes to this listener.
    pub(crate) fn accept(&self, listener: TcpListener) {
        let (script, targets) = (Arc::clone(&self.script), Arc::clone(&self.targets));
        let open = Arc::clone(&self.open);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, targets) = (Arc::clone(&script), Arc::clone(&targets));
                let open = Arc::clone(&open);
                open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    serve(stream, &*script, &targets);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How often it was asked for this.
    pub(crate) fn count(&self, target: &str) -> usize {
        let targets = self.targets.lock().expect("lock");
        targets.iter().filter(|known| *known == target).count()
    }
}

fn serve(mut stream: TcpStream, script: &Script, targets: &Mutex<Vec<String>>) {
    stream.set_nodelay(true).expect("an option");
    let mut nth = 0;
    while let Some(head) = read_head(&stream) {
        nth += 1;
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        targets.lock().expect("lock").push(target.clone());
        let asked = Asked {
            head: &head,
            target: &target,
            nth,
        };
        let then = match target.contains("fault") {
            true => script(&mut stream, &asked),
            false => answers(&mut stream, &asked),
        };
        match then {
            Then::Next => {}
            Then::Close => return,
            Then::Reset => {
                let socket = SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).expect("an option");
                return;
            }
            Then::Stay => {
                let mut rest = [0; 4 * 1024];
                while stream.read(&mut rest).is_ok_and(|n| n > 0) {}
                return;
            }
        }
    }
}

/// What the shop answers where nothing is wrong; nobody else's page looks like it.
pub(crate) fn right(target: &str) -> String {
    format!("the page at {target}")
}

/// Answers rightly.
pub(crate) fn answers(stream: &mut TcpStream, asked: &Asked<'_>) -> Then {
    let content = right(asked.target);
    let (connection, then) = match asked.target.contains("/beside/") {
        true => ("close", Then::Close),
        false => ("keep-alive", Then::Next),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\nConnection: {connection}",
        content.len()
    );
    let content = match asked.head.starts_with("HEAD ") {
        true => "",
        false => content.as_str(),
    };
    let _ = stream.write_all(format!("{head}\r\n\r\n{content}").as_bytes());
    then
}

/// A script of these bytes.
pub(crate) fn says(
    bytes: impl Into<Vec<u8>>,
    then: Then,
) -> impl Fn(&mut TcpStream, &Asked<'_>) -> Then + Send + Sync + 'static {
    let bytes = bytes.into();
    move |stream, _| {
        let _ = stream.write_all(&bytes);
        then
    }
}
