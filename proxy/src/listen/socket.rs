//! Listening sockets: one per thread and address, so that the kernel spreads connections (`SO_REUSEPORT`).

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds an address once per thread.
///
/// `SO_REUSEPORT` would let a second process share a port without a word, so the first socket is
/// bound without it, and given up for the real ones once it is clear that nobody else listens.
pub fn bind(address: SocketAddr, threads: usize) -> io::Result<Vec<TcpListener>> {
    let probe = socket(address)?;
    probe.bind(&address.into())?;
    probe.listen(1)?;
    // Port 0 becomes the same port for all threads.
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    drop(probe);
    bind_more(address, threads)
}

/// Binds an address, which is bound by this user already, so many times more.
pub fn bind_more(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let bind = |_| {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    (0..count).map(bind).collect()
}

/// Sockets of the process before, and as many more as threads have none. Where the user may not bind more, some
/// threads do without.
pub fn complete(mut inherited: Vec<TcpListener>, threads: usize) -> io::Result<Vec<TcpListener>> {
    let missing = threads.saturating_sub(inherited.len());
    if let Some(first) = inherited.first()
        && missing > 0
    {
        let address = first.local_addr()?;
        match bind_more(address, missing) {
            Ok(more) => inherited.extend(more),
            Err(why) => tracing::warn!(%address, %why, missing, "some threads do not accept there"),
        }
    }
    for socket in &inherited {
        socket.set_nonblocking(true)?;
    }
    Ok(inherited)
}

/// Bytes that the system holds for a connection and has not sent. Most answers fit; of a long one to a slow
/// reader the system holds no more, and its progress shows in steps of a half of it.
pub const UNSENT: u32 = 128 * 1024;

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it: small answers must not wait for acknowledgements.
    socket.set_tcp_nodelay(true)?;
    // The same; where the system knows no such option, slow readers are known for less.
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    Ok(socket)
}
