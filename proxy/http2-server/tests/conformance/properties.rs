//! Whatever comes, nothing panics, memory stays bounded, and what is written are whole frames.

use bytes::Bytes;
use http2_server::{Config, ErrorCode, Event, StreamId};
use proptest::prelude::*;

use crate::peer::*;

/// A frame of a client that knows the rules, and breaks some.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let stream = (0..12_u32).prop_map(|n| if n == 11 { 2 } else { n * 2 + 1 });
    let octets = proptest::collection::vec(any::<u8>(), 0..40);
    let window = prop_oneof![0..100_u32, 60_000..70_000_u32, Just(0x7fff_ffff)];
    prop_oneof![
        6 => stream.clone().prop_map(get),
        4 => stream.clone().prop_map(post),
        4 => (stream.clone(), 0..20_000_usize, any::<u8>())
            .prop_map(|(id, len, flags)| frame(DATA, flags & 9, id, &vec![1; len.min(16_384)])),
        2 => stream.clone().prop_map(|id| frame(HEADERS, 5, id, &block(&[("a", "b")]))),
        2 => stream.clone().prop_map(rst_stream),
        3 => (stream.clone(), window.clone()).prop_map(|(id, more)| window_update(id, more)),
        2 => window.clone().prop_map(|more| window_update(0, more)),
        2 => window.prop_map(|size| settings(&[(4, size)])),
        1 => Just(frame(SETTINGS, ACK, 0, &[])),
        1 => Just(frame(PING, 0, 0, &[0; 8])),
        1 => (0..12_u8, any::<u8>(), stream, octets)
            .prop_map(|(kind, flags, id, octets)| frame(kind, flags, id, &octets)),
    ]
}

/// What a caller does behind a frame.
#[derive(Clone, Debug)]
enum Command {
    Respond(u32, usize),
    Stream(u32, usize, bool),
    Trailers(u32),
    Reset(u32),
    Release(u32, usize),
    Write(usize),
    GoAway,
    Shrink,
}

fn any_command() -> impl Strategy<Value = Command> {
    let stream = (0..10_u32).prop_map(|n| n * 2 + 1);
    prop_oneof![
        4 => (stream.clone(), 0..200_000_usize).prop_map(|(id, len)| Command::Respond(id, len)),
        2 => (stream.clone(), 0..50_000_usize, any::<bool>())
            .prop_map(|(id, len, end)| Command::Stream(id, len, end)),
        1 => stream.clone().prop_map(Command::Trailers),
        1 => stream.clone().prop_map(Command::Reset),
        2 => (stream, 0..50_000_usize).prop_map(|(id, len)| Command::Release(id, len)),
        4 => (0..100_000_usize).prop_map(Command::Write),
        1 => Just(Command::Shrink),
        1 => prop_oneof![9 => Just(Command::Shrink), 1 => Just(Command::GoAway)],
    ]
}

fn obey(peer: &mut Peer, command: &Command) {
    let connection = &mut peer.connection;
    match *command {
        Command::Respond(id, len) => {
            connection.respond(StreamId(id), b"\x88", Some(vec![0; len].into()), true);
        }
        Command::Stream(id, len, end) => {
            connection.send_head(StreamId(id), b"\x88", false);
            connection.send_content(StreamId(id), Bytes::from(vec![0; len]), end);
        }
        Command::Trailers(id) => connection.send_trailers(StreamId(id), b"\x00\x01a\x01b"),
        Command::Reset(id) => connection.reset(StreamId(id), ErrorCode::CANCEL),
        Command::Release(id, len) => connection.release(StreamId(id), len),
        Command::Write(max) => {
            if connection.wants_write() && max > 0 {
                peer.write(max);
            }
        }
        Command::GoAway => connection.go_away(peer.now),
        Command::Shrink => connection.shrink(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_frames_and_commands(
        steps in proptest::collection::vec((any_frame(), any_command(), any_command()), 1..120),
        cut in 1..5000_usize,
    ) {
        let mut peer = Peer::new();
        for (octets, first, second) in &steps {
            if peer.input.len() > 100_000 {
                break;
            }
            for part in octets.chunks(cut) {
                if peer.send(part).is_err() {
                    break;
                }
            }
            obey(&mut peer, first);
            obey(&mut peer, second);
            prop_assert!(peer.connection.memory() < 150_000, "{}", peer.connection.memory());
            prop_assert!(peer.connection.open_streams() <= 128);
        }
        check_order(&peer.frames())?;
    }

    #[test]
    fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut peer = Peer::new();
        let _ = peer.send(&octets);
        peer.frames();
    }

    #[test]
    fn any_block(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut peer = Peer::new();
        let _ = peer.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &octets));
        // What was taken for a request can be read.
        let _ = (peer.head.authority(), peer.head.target(), peer.head.iter().count());
        prop_assert!(peer.head.to_map().len() <= Config::default().max_fields);
    }

    #[test]
    fn fields_survive_a_round(
        fields in proptest::collection::vec(("[a-z0-9-]{1,20}", "[!-~]([ -~]{0,300}[!-~])?"), 0..20),
    ) {
        let known = ["host", "cookie", "te", "connection", "upgrade", "keep-alive", "content-length"];
        prop_assume!(fields.iter().all(|(name, _)| !known.contains(&name.as_str())));
        let mut all = GET.to_vec();
        all.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut peer = Peer::new();
        let octets = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&all));
        prop_assert_eq!(peer.events(&octets), ["1 GET /"]);
        let read: Vec<_> = peer.head.iter().collect();
        let sent: Vec<_> = fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        prop_assert_eq!(read, sent);
    }
}

/// Nothing follows the end of a stream.
fn check_order(frames: &[Frame]) -> Result<(), TestCaseError> {
    let mut ended = std::collections::HashSet::new();
    for frame in frames {
        match frame.kind {
            HEADERS | DATA => {
                prop_assert!(!ended.contains(&frame.stream), "{} behind its end", frame.stream);
                prop_assert!(frame.payload.len() <= 16_384);
                if frame.flags & END_STREAM != 0 {
                    ended.insert(frame.stream);
                }
            }
            RST_STREAM => {
                ended.insert(frame.stream);
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn events_are_small_and_connections_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<http2_server::Connection>();
    assert!(size_of::<Event>() <= 112, "{}", size_of::<Event>());
}
