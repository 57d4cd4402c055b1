//! What the edge takes of the machine, and what it has read, as Linux tells it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use crate::{edge::Edge, tools::eventually};

/// Memory that is the edge's own share, in KiB.
pub(crate) fn memory(edge: &Edge) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", edge.id())).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|n| n.parse().ok()).expect("a number")
}

/// Bytes that wait in the kernel, as `/proc/net/tcp` writes the ends of a connection.
fn queues(local: SocketAddr, remote: SocketAddr) -> Option<(u64, u64)> {
    let hex = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => format!(
            "{:08X}:{:04X}",
            u32::from_le_bytes(ip.octets()),
            address.port()
        ),
        IpAddr::V6(_) => String::new(),
    };
    let (local, remote) = (hex(local), hex(remote));
    let text = fs::read_to_string("/proc/net/tcp").expect("Linux");
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != local || words.next()? != remote {
            return None;
        }
        let (sent, read) = words.nth(1)?.split_once(':')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(sent)?, number(read)?))
    })
}

/// Waits until the edge at `edge` has read all that was sent from `client`.
pub(crate) fn has_read(edge: SocketAddr, client: SocketAddr) {
    eventually("the edge reads", || {
        queues(edge, client).is_none_or(|(_, unread)| unread == 0)
    });
}
