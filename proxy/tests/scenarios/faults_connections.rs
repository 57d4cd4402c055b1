//! Faults of connections: those that do not come about, and those that end between two requests.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

use crate::{
    edge::Edge,
    faults::{
        Guest,
        Outcome::{self, ClearOrRight, Right, Unreached},
        Row, Shop, Then, Upload, answers, config, control, holds_nothing, is_logged,
        is_logged_with, right, ways,
    },
    tools::eventually,
};

/// A shop that nobody reaches: a visitor of the shop that is alone gets `alone`, one of a shop with a spare
/// beside it gets its page, whatever it asks for, since nothing has been sent to anyone else.
fn unreached(shop: &Shop, alone: Outcome, reason: &str) -> Edge {
    let spare = Shop::start(answers);
    let timeouts = "connect = \"500ms\", response = \"10s\"";
    let edge = Edge::start_tls(&config(shop, &spare, timeouts));
    let mut first = true;
    for way in ways() {
        let mut guest = Guest::new(&edge, way.protocol);
        for (method, upload) in [("GET", Upload::None), ("POST", Upload::Whole("form"))] {
            let target = format!("/{way}/alone/{method}");
            let got = guest.ask(method, &target, upload);
            alone.check(&format!("{method} {target}"), &target, got);
            // What comes later may be refused for what is known by then.
            match std::mem::take(&mut first) {
                true => is_logged(&edge, &target, reason),
                false => is_logged_with(&edge, &target, &[reason, "destination_unavailable"]),
            }
            let target = format!("/{way}/beside/{method}");
            let got = guest.ask(method, &target, upload);
            Right.check(&format!("{method} {target}"), &target, got);
        }
        control(&mut guest, &way, &["beside"], 1);
    }
    holds_nothing(&edge, shop);
    edge
}

/// Once the shop is there again, all is well by itself.
fn recovers(edge: &Edge, shop: &Shop) {
    for way in ways() {
        let mut guest = Guest::new(edge, way.protocol);
        // Within a pause, after which one request tries.
        let target = format!("/{way}/alone/back");
        eventually("it is found", || {
            guest.get(&target).text() == right(&target)
        });
        control(&mut guest, &way, &["alone", "beside"], 2);
    }
    holds_nothing(edge, shop);
}

#[test]
fn refused() {
    let shop = Shop::absent(answers);
    let edge = unreached(&shop, Unreached(502), "connection_refused");
    shop.open();
    recovers(&edge, &shop);
}

/// No connection can be made to an address for broadcasts, not even on loopback.
#[test]
fn unroutable() {
    let nowhere = |port| SocketAddr::from(([127, 255, 255, 255], port));
    let mut shop = Shop::absent(answers);
    (shop.alone, shop.beside) = (nowhere(3000), nowhere(3001));
    unreached(&shop, Unreached(502), "destination_ip_unroutable");
}

/// A listener whose queue is full drops who comes, as a network that drops packets does.
#[test]
fn dropped() {
    let shop = Shop::absent(answers);
    let (mut listeners, mut fillers) = (Vec::new(), Vec::new());
    for address in [shop.alone, shop.beside] {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&address.into()).expect("free");
        listener.listen(0).expect("an empty queue");
        listeners.push(listener);
        while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            fillers.push(filler);
        }
    }
    let edge = unreached(&shop, Unreached(504), "connection_timeout");
    drop(fillers);
    for listener in listeners {
        listener.listen(128).expect("a longer queue");
        shop.accept(listener.into());
    }
    recovers(&edge, &shop);
}

/// A shop that closes a connection which has served before when the next request is on it.
fn closing(then: Then) -> impl Fn(&mut TcpStream, &crate::faults::Asked<'_>) -> Then + Send + Sync {
    move |stream, asked| match asked.nth {
        1 => answers(stream, asked),
        _ => then,
    }
}

/// Nobody's fault: it costs no attempt, of which there is none, and a fresh connection answers.
#[test]
fn a_connection_that_ends_when_it_is_used_again() {
    for then in [Then::Close, Then::Reset] {
        Row::new(closing(then), Right).holds();
    }
}

/// The shop may have done it, so that it is not asked once more.
#[test]
fn a_connection_that_ends_when_a_form_is_sent_on_it() {
    for then in [Then::Close, Then::Reset] {
        Row::new(closing(then), ClearOrRight(502))
            .method("POST", Upload::Whole("form"))
            .another_answers()
            .holds();
    }
}
