use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::*;
use crate::config::model::{Anchor, TlsProfile};

fn listener(address: &str) -> Listener {
    Listener {
        address: address.parse().expect("an address"),
        tls: false,
        redirect_to_https: false,
        https_port: 443,
        proxy_protocol: false,
        tls_profile: TlsProfile::default(),
        client_auth: None,
        place: Anchor::nowhere(),
    }
}

fn prepare(sockets: &Sockets, listeners: &[Listener]) -> Result<Change, BindError> {
    sockets.prepare(listeners)
}

fn bound(sockets: &Sockets) -> Vec<Arc<Line>> {
    sockets.lines().borrow().to_vec()
}

/// Accepts one connection from any of these.
fn accept_one(sockets: &[TcpListener]) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some((stream, _)) = sockets.iter().find_map(|socket| socket.accept().ok()) {
            return stream;
        }
        assert!(Instant::now() < deadline, "nobody is there");
        std::thread::yield_now();
    }
}

#[test]
fn lines_come_change_and_go() {
    let sockets = Sockets::new(2);
    let one = listener("127.0.0.1:0");
    let change = prepare(&sockets, std::slice::from_ref(&one)).expect("bound");
    assert_eq!(change.added.len(), 1);
    assert!(bound(&sockets).is_empty(), "nothing has changed yet");
    sockets.apply(change);
    let first = bound(&sockets)[0].clone();
    assert_eq!(
        [
            first.take(0).len(),
            first.take(1).len(),
            first.take(0).len()
        ],
        [1, 1, 0]
    );

    // Another way to listen there, and another address.
    let before = first.settings();
    let changed = Listener {
        redirect_to_https: true,
        ..one.clone()
    };
    let both = [changed.clone(), listener("127.0.0.2:0")];
    let change = prepare(&sockets, &both[..1]).expect("known");
    assert_eq!(
        (
            change.added.len(),
            change.changed.len(),
            change.removed.len()
        ),
        (0, 1, 0)
    );
    sockets.apply(change);
    assert!(Arc::ptr_eq(&bound(&sockets)[0], &first), "the same sockets");
    assert!(before.is_over() && !first.settings().is_over());
    assert!(first.settings().listener.redirect_to_https);

    // The one that stays is not disturbed by the other.
    let settings = first.settings();
    sockets.apply(prepare(&sockets, &both).expect("one more"));
    assert_eq!(bound(&sockets).len(), 2);
    let change = prepare(&sockets, &both).expect("nothing new");
    assert!(change.added.is_empty() && change.changed.is_empty() && change.removed.is_empty());
    sockets.apply(change);
    assert!(Arc::ptr_eq(&first.settings(), &settings));

    // It goes when it has lingered.
    let change = prepare(&sockets, &both[1..]).expect("less");
    assert_eq!(change.removed, [first.bound]);
    sockets.apply(change);
    assert!(first.is_leaving() && first.settings().is_over());
    assert_eq!(bound(&sockets).len(), 2);
    assert!(!*first.closing().borrow());
    let leaving = sockets.leaving();
    sockets.close_left(&leaving);
    assert!(*first.closing().borrow());
    assert_eq!(bound(&sockets).len(), 1);
}

#[test]
fn an_address_that_is_taken_changes_nothing() {
    let sockets = Sockets::new(1);
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let wanted = [listener("127.0.0.1:0"), listener(&address.to_string())];
    let why = prepare(&sockets, &wanted).err().expect("taken");
    assert_eq!(why.address, address);
    assert!(
        why.to_string()
            .starts_with(&format!("cannot listen on {address}: ")),
        "{why}"
    );
    assert!(bound(&sockets).is_empty());
}

#[test]
fn who_waits_at_a_line_that_goes_is_served_and_nobody_new_gets_in() {
    let sockets = Sockets::new(1);
    sockets.apply(prepare(&sockets, &[listener("127.0.0.1:0")]).expect("bound"));
    let line = bound(&sockets)[0].clone();
    let own = line.take(0);
    let mut early = TcpStream::connect(line.bound).expect("in the queue");
    sockets.apply(prepare(&sockets, &[]).expect("nothing to bind"));
    early.write_all(b"early").expect("sent");
    let late = TcpStream::connect_timeout(&line.bound, Duration::from_millis(200));
    assert!(late.is_err(), "no new handshake is begun");
    let mut accepted = accept_one(&own);
    accepted.set_nonblocking(false).expect("an option");
    let mut word = [0; 5];
    accepted.read_exact(&mut word).expect("what was sent");
    assert_eq!(&word, b"early");
    accepted.write_all(b"later").expect("sent");
    drop(own);
    sockets.close_left(&sockets.leaving());
    drop(line);
    early.read_exact(&mut word).expect("answered");
    assert_eq!(&word, b"later");
}

#[test]
fn a_line_that_comes_back_while_it_lingers_is_the_same() {
    let sockets = Sockets::new(1);
    let one = listener("127.0.0.1:0");
    sockets.apply(prepare(&sockets, std::slice::from_ref(&one)).expect("bound"));
    let line = bound(&sockets)[0].clone();
    let own = line.take(0);
    sockets.apply(prepare(&sockets, &[]).expect("nothing to bind"));
    let leaving = sockets.leaving();
    let change = prepare(&sockets, &[one]).expect("still there");
    assert_eq!((&change.added, change.lines.len()), (&vec![line.bound], 1));
    sockets.apply(change);
    sockets.close_left(&leaving);
    assert!(Arc::ptr_eq(&bound(&sockets)[0], &line));
    assert!(!line.is_leaving() && !line.settings().is_over());
    let patience = Duration::from_secs(20);
    drop(TcpStream::connect_timeout(&line.bound, patience).expect("it takes handshakes again"));
    accept_one(&own);
}

#[test]
fn what_is_lent_has_the_same_queue() {
    let sockets = Sockets::new(1);
    sockets.apply(prepare(&sockets, &[listener("127.0.0.1:0")]).expect("bound"));
    let address = bound(&sockets)[0].bound;
    let wanted = [listener(&address.to_string())];
    let lent = sockets.lend().expect("clones");
    assert_eq!(lent.len(), 1);
    let _visitor = TcpStream::connect(address).expect("in the queue");

    // The other has more threads, and another address that is not configured there.
    let unwanted = TcpListener::bind("127.0.0.1:0").expect("bound");
    let unwanted_at = unwanted.local_addr().expect("an address");
    let inherited = lent.into_iter().chain([(unwanted_at, unwanted)]);
    let other = Sockets::with_inherited(2, inherited.collect());
    other.apply(prepare(&other, &wanted).expect("inherited"));
    let lines = bound(&other);
    assert_eq!(lines.len(), 1);
    let own = [lines[0].take(0), lines[0].take(1)];
    assert_eq!(
        [own[0].len(), own[1].len()],
        [1, 1],
        "a second one was bound"
    );
    accept_one(&own[0]);
    let why = TcpStream::connect(unwanted_at).expect_err("closed");
    assert_eq!(why.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn more_sockets_than_threads_are_all_accepted_from() {
    let many = Sockets::new(5);
    many.apply(prepare(&many, &[listener("127.0.0.1:0")]).expect("bound"));
    let address = bound(&many)[0].bound;
    let few = Sockets::with_inherited(2, many.lend().expect("clones"));
    few.apply(prepare(&few, &[listener(&address.to_string())]).expect("inherited"));
    let line = bound(&few)[0].clone();
    assert_eq!(
        [line.take(0).len(), line.take(1).len(), line.take(2).len()],
        [3, 2, 0]
    );
}

#[test]
fn an_address_that_is_not_let_go_yet_is_ours() {
    let sockets = Sockets::new(1);
    sockets.apply(prepare(&sockets, &[listener("127.0.0.1:0")]).expect("bound"));
    let line = bound(&sockets)[0].clone();
    let own = line.take(0);
    let again = [listener(&line.bound.to_string())];
    sockets.apply(prepare(&sockets, &[]).expect("nothing to bind"));
    sockets.close_left(&sockets.leaving());
    assert!(bound(&sockets).is_empty());
    // A thread has not looked yet.
    sockets.apply(prepare(&sockets, &again).expect("nobody else's"));
    drop((own, line));
    let line = bound(&sockets)[0].clone();
    let _visitor = TcpStream::connect(line.bound).expect("in the queue");
    accept_one(&line.take(0));
}

#[test]
fn addresses_in_each_others_way() {
    for (one, other, wanted) in [
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "127.0.0.1:81", false),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("127.0.0.1:80", "0.0.0.0:80", true),
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("0.0.0.0:80", "[::]:80", false),
        ("[::1]:80", "[::]:80", true),
        ("127.0.0.1:0", "127.0.0.1:0", false),
    ] {
        let [a, b] = [one, other].map(|address| address.parse().expect("an address"));
        assert_eq!(overlap(a, b), wanted, "{one} {other}");
    }
}
