//! What the two processes say to each other: frames on a Unix socket, and descriptors beside them.
//!
//! A frame is a kind, the length of what follows, and that. Nothing is read ahead of a frame, because descriptors
//! come with bytes of their own ([`send_sockets`], [`receive_sockets`]) and would be lost with a read that does not
//! expect them.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    net::SocketAddr,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of what follows. Processes of different versions do not hand over: the newer one refuses to start,
/// and the older one goes on.
pub(super) const PROTOCOL: u32 = 1;

/// A frame's content: the largest is a stored response, and 64 MiB of one are more than is worth handing over.
pub(super) const FRAME_MAX: usize = 64 << 20;
/// Descriptors in one message; the kernel takes 253.
const BATCH: usize = 64;
/// Sockets that are handed over: a thousand threads with a few addresses each.
const SOCKETS_MOST: usize = 16 * 1024;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// New: who it is ([`Hello`]).
    Hello = b'H' as isize,
    /// Old: what it hands over ([`Offer`]); the sockets come behind it.
    Offer = b'O' as isize,
    /// Old: what only its memory has ([`super::state::State`]).
    State = b'S' as isize,
    /// Old: a stored response, or what the responses to a URI vary on.
    Stored = b'R' as isize,
    /// Old: those were all.
    AllStored = b'E' as isize,
    /// New: it could serve ([`Prepared`]).
    Prepared = b'Y' as isize,
    /// Old: serve.
    Go = b'G' as isize,
    /// New: it serves.
    Serving = b'L' as isize,
    /// Both: a purge; the other confirms its number.
    Purge = b'P' as isize,
    /// Both: the purge of this number is in force.
    Purged = b'A' as isize,
    /// Old: how its end comes along ([`Leaving`]).
    Leaving = b'D' as isize,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Hello,
        Self::Offer,
        Self::State,
        Self::Stored,
        Self::AllStored,
        Self::Prepared,
        Self::Go,
        Self::Serving,
        Self::Purge,
        Self::Purged,
        Self::Leaving,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The new process introduces itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) version: String,
    pub(super) pid: u32,
}

/// What is handed over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) protocol: u32,
    pub(super) version: String,
    pub(super) pid: u32,
    /// When the old process began, in seconds since 1970.
    pub(super) since: u64,
    /// How long the new one may wait for the old one, in milliseconds.
    pub(super) patience_ms: u64,
    /// What the sockets are, in their order.
    pub(super) sockets: Vec<Role>,
}

/// What a descriptor is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Visitors come here; the address as configured.
    Listener(SocketAddr),
    /// The admin endpoint over TCP; the address as configured.
    AdminTcp(SocketAddr),
    /// The admin endpoint at a path.
    AdminUnix(PathBuf),
    /// Where errors are to be told from the end of the handover on.
    Stderr,
}

/// The new process could serve.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prepared {
    /// Addresses that its configuration does not have.
    pub(super) unwanted: Vec<SocketAddr>,
    /// Responses that it has taken in so far.
    pub(super) stored: u64,
}

/// How the old process's end comes along.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Leaving {
    /// Connections open.
    pub(super) connections: usize,
    /// Seconds until what is left is cut off.
    pub(super) left: u64,
}

/// Writes a frame.
pub(super) fn send(mut to: &UnixStream, kind: Kind, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len())
        .ok()
        .filter(|_| content.len() <= FRAME_MAX)
        .ok_or_else(|| invalid("a frame is too long"))?;
    let mut head = [0; 5];
    head[0] = kind as u8;
    head[1..].copy_from_slice(&length.to_be_bytes());
    if content.len() > 16 * 1024 {
        to.write_all(&head)?;
        return to.write_all(content);
    }
    let mut frame = Vec::with_capacity(head.len() + content.len());
    frame.extend_from_slice(&head);
    frame.extend_from_slice(content);
    to.write_all(&frame)
}

/// The same with content in JSON.
pub(super) fn send_json(to: &UnixStream, kind: Kind, what: &impl Serialize) -> io::Result<()> {
    send(to, kind, &serde_json::to_vec(what)?)
}

/// Reads a frame. The end of the stream is an error.
pub(super) fn receive(mut from: &UnixStream) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let kind =
        Kind::of(kind).ok_or_else(|| invalid("the other process speaks another language"))?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_MAX {
        return Err(invalid("a frame is too long"));
    }
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    Ok((kind, content))
}

/// Reads a frame of this kind.
pub(super) fn expect<T: DeserializeOwned>(from: &UnixStream, kind: Kind) -> io::Result<T> {
    let (got, content) = receive(from)?;
    if got != kind {
        return Err(invalid("the other process speaks out of turn"));
    }
    Ok(serde_json::from_slice(&content)?)
}

/// A complaint about what came.
pub(super) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Sends descriptors, each batch with a byte of its own.
pub(super) fn send_sockets(to: &UnixStream, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in sockets.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(batch)) {
            return Err(invalid("too many descriptors"));
        }
        let byte = [IoSlice::new(b"+")];
        rustix::io::retry_on_intr(|| sendmsg(to, &byte, &mut control, SendFlags::NOSIGNAL))?;
    }
    Ok(())
}

/// Receives so many descriptors; each is closed on exec.
pub(super) fn receive_sockets(from: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    if count > SOCKETS_MOST {
        return Err(invalid("too many descriptors"));
    }
    let mut received = Vec::with_capacity(count);
    while received.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        let message = rustix::io::retry_on_intr(|| {
            recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        let before = received.len();
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = item {
                received.extend(rights);
            }
        }
        // The kernel drops what exceeds the limit on open files, and says so only here.
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid(
                "not all sockets could be taken over: the limit on open files is too low",
            ));
        }
        if message.bytes == 0 || received.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if received.len() > count {
        return Err(invalid("more descriptors than were announced"));
    }
    Ok(received)
}

/// Reads fail from this moment on.
pub(super) fn read_until(stream: &UnixStream, until: Option<Instant>) -> io::Result<()> {
    let left = match until {
        None => None,
        Some(until) => {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // Shorter ones would be none.
            Some(left.max(Duration::from_millis(1)))
        }
    };
    stream.set_read_timeout(left)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::TcpListener, os::fd::AsFd};

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        let (one, other) = UnixStream::pair().expect("a pair");
        let until = Some(Instant::now() + Duration::from_secs(10));
        read_until(&one, until).expect("a limit");
        read_until(&other, until).expect("a limit");
        (one, other)
    }

    #[test]
    fn frames_arrive_as_they_were_sent() {
        let (one, other) = pair();
        for kind in Kind::ALL {
            send(&one, kind, b"content").expect("sent");
            assert_eq!(
                receive(&other).expect("received"),
                (kind, b"content".to_vec())
            );
        }
        let large = vec![7; 100_000];
        let sent = large.clone();
        let writer = std::thread::spawn(move || send(&one, Kind::Stored, &sent).map(|()| one));
        assert_eq!(receive(&other).expect("received"), (Kind::Stored, large));
        let one = writer.join().expect("no panic").expect("sent");
        assert!(send(&one, Kind::Stored, &vec![0; FRAME_MAX + 1]).is_err());
        drop(one);
        let end = receive(&other).expect_err("the end").kind();
        assert_eq!(end, io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for (bytes, what) in [
            (&b"GET / HTTP/1.1\r\n"[..], "an unknown kind"),
            (b"P\xff\xff\xff\xff", "too long"),
            (b"P\0\0\0\x09short", "cut off"),
        ] {
            let (one, other) = pair();
            (&one).write_all(bytes).expect("sent");
            drop(one);
            assert!(receive(&other).is_err(), "{what}");
        }
        let (one, other) = pair();
        send(&one, Kind::Go, b"").expect("sent");
        assert!(expect::<Hello>(&other, Kind::Hello).is_err(), "out of turn");
    }

    #[test]
    fn sockets_arrive_in_their_order_and_frames_behind_them() {
        let (one, other) = pair();
        let sockets: Vec<_> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("bound"))
            .collect();
        // More than a batch.
        let many: Vec<_> = (0..150).map(|n| sockets[n % 3].as_fd()).collect();
        send(&one, Kind::Offer, b"150").expect("sent");
        send_sockets(&one, &many).expect("sent");
        send(&one, Kind::Go, b"").expect("sent");
        assert_eq!(receive(&other).expect("received").0, Kind::Offer);
        let received = receive_sockets(&other, 150).expect("received");
        assert_eq!(receive(&other).expect("received").0, Kind::Go);
        for (n, socket) in received.into_iter().enumerate() {
            let address = TcpListener::from(socket).local_addr().expect("an address");
            assert_eq!(address, sockets[n % 3].local_addr().expect("an address"));
        }
    }

    #[test]
    fn missing_descriptors_are_no_success() {
        let (one, other) = pair();
        send_sockets(&one, &[File::open("/dev/null").expect("open").as_fd()]).expect("sent");
        drop(one);
        assert!(receive_sockets(&other, 2).is_err());
    }
}
