//! A DNS server over UDP that says what it is told to say (RFC 1035).

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::tools::free_address;

const A: [u8; 2] = [0, 1];

/// What is said of a name.
#[derive(Clone)]
pub(crate) enum Says {
    /// These addresses, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// There is no such name.
    NoSuchName,
    /// There is one, and no address.
    NoAddress,
    /// Nothing at all.
    Nothing,
}

#[derive(Default)]
struct State {
    names: Mutex<HashMap<String, Says>>,
    asked: AtomicUsize,
    stopped: AtomicBool,
}

/// The server.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    answering: Option<JoinHandle<()>>,
}

impl Dns {
    /// Knows no name.
    pub(crate) fn start() -> Self {
        let address = free_address();
        let socket = UdpSocket::bind(address).expect("its address is free");
        let pause = Some(Duration::from_millis(50));
        socket.set_read_timeout(pause).expect("an option");
        let state = Arc::<State>::default();
        let answering = thread::spawn({
            let state = Arc::clone(&state);
            move || state.answer(&socket)
        });
        Self {
            address,
            state,
            answering: Some(answering),
        }
    }

    /// From now on.
    pub(crate) fn say(&self, name: &str, says: Says) {
        let mut names = self.state.names.lock().expect("lock");
        names.insert(name.to_owned(), says);
    }

    /// A name leads to the addresses of these shops, for a second.
    pub(crate) fn lead(&self, name: &str, shops: &[SocketAddr]) {
        let v4 = |shop: &SocketAddr| match shop {
            SocketAddr::V4(shop) => *shop.ip(),
            SocketAddr::V6(_) => panic!("not over IPv4"),
        };
        self.say(name, Says::Addresses(shops.iter().map(v4).collect(), 1));
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        if let Some(answering) = self.answering.take() {
            let _ = answering.join();
        }
    }
}

impl State {
    fn answer(&self, socket: &UdpSocket) {
        let mut buf = [0; 1500];
        while !self.stopped.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut buf) else {
                continue;
            };
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = self.compose(&buf[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn compose(&self, question: &[u8]) -> Option<Vec<u8>> {
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
            at = end;
        }
        let kind = &question[at + 1..at + 3];
        let end = at + 5;
        let says = self
            .names
            .lock()
            .expect("lock")
            .get(&labels.join("."))
            .cloned();
        let (code, addresses, ttl) = match says.unwrap_or(Says::NoSuchName) {
            Says::Addresses(addresses, ttl) if kind == A => (0, addresses, ttl),
            Says::Addresses(..) | Says::NoAddress => (0, Vec::new(), 0),
            Says::NoSuchName => (3, Vec::new(), 0),
            Says::Nothing => return None,
        };
        let count = u8::try_from(addresses.len()).expect("few addresses");
        let mut answer = question[..2].to_vec();
        // A response, recursion desired and available; one question, so many answers.
        answer.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        for address in addresses {
            // The name of the question, A, IN.
            answer.extend([0xc0, 12, 0, 1, 0, 1]);
            answer.extend(ttl.to_be_bytes());
            answer.extend([0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }
}
