//! Prints what a request costs a room: of somebody inside, and of one who waits in a crowd.
//!
//! `cargo run --release -p waiting-room --example cost`

use std::{hint::black_box, time::Duration};

use waiting_room::{Keys, Room, Rules, Verdict, Visitor};

const NOW: u64 = 1_800_000_000_000;

/// Time that this process has had a core for: others may be busy on the same machine.
fn on_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn main() {
    let keys = Keys::new("sale", [("a", [7u8; 32].as_slice())]);
    for crowd in [1_000u64, 100_000, 1_000_000] {
        let rules = Rules { capacity: 1_000, ..Rules::default() };
        let mut room = Room::new(rules, 1, NOW);
        let mut passes = Vec::new();
        let mut tickets = Vec::new();
        let begin = on_cpu();
        for n in 0..crowd + 1_000 {
            // A hundred thousand a second.
            let now = NOW + n / 100;
            let id = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut verdict = room.arrive(Visitor::New(id), now);
            // Everyone keeps cookies, and comes back.
            if let Verdict::Guest { ticket: Some(ticket) }
            | Verdict::Wait { ticket: Some((ticket, _)), .. } = verdict
                && let Ok(read) = keys.read(keys.write(&ticket, 0).as_bytes(), now)
            {
                verdict = room.arrive(Visitor::Holds(read), now);
            }
            match verdict {
                Verdict::Inside { pass: Some(pass), .. } => passes.push(keys.write(&pass, 0)),
                Verdict::Wait { ticket: Some((ticket, key)), .. } => {
                    tickets.push(keys.write(&ticket, key));
                }
                _ => {}
            }
        }
        let came = (on_cpu() - begin) / (crowd + 1_000) as u32;
        let now = NOW + crowd / 100 + 10_000;
        let ask = |room: &mut Room, text: &String| {
            if let Ok(read) = keys.read(text.as_bytes(), now)
                && let Verdict::Wait { ticket: Some((ticket, key)), .. } =
                    black_box(room.arrive(Visitor::Holds(read), now))
            {
                black_box(keys.write(&ticket, key));
            }
        };
        let rounds = 1 + 200_000 / tickets.len();
        let begin = on_cpu();
        for text in tickets.iter().cycle().take(rounds * tickets.len()) {
            ask(&mut room, text);
        }
        let waits = (on_cpu() - begin) / (rounds * tickets.len()) as u32;
        let begin = on_cpu();
        for text in passes.iter().cycle().take(200_000) {
            ask(&mut room, text);
        }
        let inside = (on_cpu() - begin) / 200_000;
        let begin = on_cpu();
        for text in passes.iter().cycle().take(200_000) {
            let _ = black_box(keys.read(text.as_bytes(), now));
        }
        let read = (on_cpu() - begin) / 200_000;
        println!(
            "{crowd:>8} wait: {came:?} for one who comes, {waits:?} for one who asks again, {inside:?} for one inside \
             ({read:?} of it the signature)"
        );
    }
}
