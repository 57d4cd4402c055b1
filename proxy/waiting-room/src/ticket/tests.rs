//! Tickets as a table: what is read, and what is refused.

use proptest::prelude::*;

use super::*;

const NOW: Millis = 1_800_000_000_000;

fn keys(room: &str, ids: &[&str]) -> Keys {
    let secrets: Vec<_> = ids.iter().map(|id| (*id, id.repeat(40))).collect();
    Keys::new(room, secrets.iter().map(|(id, secret)| (*id, secret.as_bytes())))
}

fn ticket(kind: Kind) -> Ticket {
    Ticket {
        id: 0x0123_4567_89ab_cdef,
        order: match kind {
            Kind::Waiting => Order::new(NOW / 128, 77),
            _ => Order::default(),
        },
        issued: NOW - 5_000,
        expires: NOW + 60_000,
        told: 12,
        epoch: 99,
        counted: kind != Kind::Guest,
        kind,
    }
}

#[test]
fn what_is_written_is_read() {
    let keys = keys("sale", &["a", "b"]);
    let mut tickets: Vec<_> =
        [Kind::Waiting, Kind::Early, Kind::Guest, Kind::Pass, Kind::Cart].map(ticket).into();
    let fresh = |kind| Ticket { counted: false, ..ticket(kind) };
    tickets.extend([fresh(Kind::Waiting), fresh(Kind::Early)]);
    for ticket in tickets {
        for key in [0, 1] {
            let text = keys.write(&ticket, key);
            assert_eq!(text.len(), TEXT_LENGTH);
            let read = keys.read(text.as_bytes(), NOW).expect("ours");
            assert_eq!((read.ticket, read.key), (ticket, key));
            let draws = ticket.kind == Kind::Early || !ticket.counted;
            assert_eq!(read.draw, if draws { keys.draw_by(ticket.id, key) } else { 0 });
        }
    }
}

#[test]
fn what_is_refused() {
    let ours = keys("sale", &["a", "b"]);
    let text = ours.write(&ticket(Kind::Waiting), 0);
    let early = |change: fn(&mut Ticket)| {
        let mut ticket = ticket(Kind::Pass);
        change(&mut ticket);
        ours.write(&ticket, 0)
    };
    let table = [
        (String::new(), Refusal::Malformed),
        ("A".repeat(TEXT_LENGTH), Refusal::Malformed),
        (text.clone() + "AAAA", Refusal::Malformed),
        (text[..100].to_owned(), Refusal::Malformed),
        (text.replacen(&text[50..51], "*", 1), Refusal::Malformed),
        ("x".repeat(100_000), Refusal::Malformed),
        (keys("sale", &["c"]).write(&ticket(Kind::Pass), 0), Refusal::Key),
        (keys("other", &["a"]).write(&ticket(Kind::Pass), 0), Refusal::Room),
        (early(|t| t.expires = NOW), Refusal::Expired),
        (early(|t| t.issued = NOW + SKEW + 1), Refusal::Future),
    ];
    for (text, why) in table {
        assert_eq!(ours.read(text.as_bytes(), NOW), Err(why), "{text}");
    }
    // A key of the same name with another secret.
    let other = Keys::new("sale", [("a", [7u8; 32].as_slice())]);
    let forged = other.write(&ticket(Kind::Pass), 0);
    assert_eq!(ours.read(forged.as_bytes(), NOW), Err(Refusal::Forged));
    // A little ahead is another machine's clock.
    let ahead = early(|t| t.issued = NOW + SKEW);
    assert!(ours.read(ahead.as_bytes(), NOW).is_ok());
}

#[test]
fn every_bit_is_signed() {
    let keys = keys("sale", &["a"]);
    let text = keys.write(&ticket(Kind::Waiting), 0);
    let octets: [u8; BODY + MAC] = base64::decode(text.as_bytes()).expect("base64");
    for bit in 0..octets.len() * 8 {
        let mut changed = octets;
        changed[bit / 8] ^= 1 << (bit % 8);
        let read = keys.read(base64::encode(&changed).as_bytes(), NOW);
        assert!(read.is_err(), "bit {bit}");
    }
}

#[test]
fn the_order_of_the_early_is_not_written_on_them() {
    let keys = keys("sale", &["a", "b"]);
    let with = |order| {
        let mut ticket = ticket(Kind::Early);
        ticket.order = order;
        keys.write(&ticket, 1)
    };
    assert_eq!(with(Order::new(1, 2)), with(Order::new(3, 4)));
    let read = keys.read(with(Order::new(1, 2)).as_bytes(), NOW).expect("ours");
    assert_eq!(read.draw, keys.draw_by(ticket(Kind::Early).id, 1));
    assert_ne!(read.draw, keys.draw(ticket(Kind::Early).id), "another key draws otherwise");
}

#[test]
fn a_key_of_yesterday_still_verifies() {
    let yesterday = keys("sale", &["a"]).write(&ticket(Kind::Pass), 0);
    let today = keys("sale", &["b", "a"]);
    assert_eq!(today.read(yesterday.as_bytes(), NOW).map(|read| read.key), Ok(1));
    let tomorrow = keys("sale", &["b"]);
    assert_eq!(tomorrow.read(yesterday.as_bytes(), NOW), Err(Refusal::Key));
}

proptest! {
    #[test]
    fn no_text_makes_a_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = keys("sale", &["a"]).read(&text, NOW);
    }

    #[test]
    fn no_octets_are_a_ticket(octets in proptest::array::uniform32(any::<u8>()), rest in proptest::array::uniform32(any::<u8>())) {
        let all: Vec<u8> = octets.iter().chain(&rest).chain(&octets[..14]).copied().collect();
        prop_assert!(keys("sale", &["a"]).read(base64::encode(&all).as_bytes(), NOW).is_err());
    }
}
