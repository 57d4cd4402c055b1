//! What the edge takes of the machine, and what it has read, as Linux tells it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use crate::{edge::Edge, tools::eventually};

/// What its use of the processor is measured over.
const MOMENT: Duration = Duration::from_millis(250);

/// Memory that is the edge's own share, in KiB.
pub(crate) fn memory(edge: &Edge) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", edge.id())).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.and_then(|n| n.parse().ok()).expect("a number")
}

/// Time of processors that the edge has used.
pub(crate) fn processor_time(edge: &Edge) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/stat", edge.id())).expect("Linux");
    let (_, behind_name) = text.rsplit_once(") ").expect("fields");
    let ticks = |nth: usize| behind_name.split(' ').nth(nth)?.parse::<u64>().ok();
    let (user, system) = (ticks(11).expect("a number"), ticks(12).expect("a number"));
    // Linux tells it in hundredths of a second to all programs.
    Duration::from_millis(10 * (user + system))
}

/// Waits until the edge has nothing more to do for now.
pub(crate) fn settles(edge: &Edge) {
    let (mut before, mut quiet) = (processor_time(edge), 0);
    eventually("the edge has nothing to do", || {
        thread::sleep(MOMENT);
        let now = processor_time(edge);
        quiet = match now - before <= Duration::from_millis(10) {
            true => quiet + 1,
            false => 0,
        };
        before = now;
        quiet == 2
    });
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

/// Whether the edge has sent from `edge` what does not fit into the receiver any more.
pub(crate) fn stuck(edge: SocketAddr, client: SocketAddr) -> bool {
    queues(edge, client).is_some_and(|(unsent, _)| unsent > 0)
}

/// Waits until the edge at `edge` has read all that was sent from `client`.
pub(crate) fn has_read(edge: SocketAddr, client: SocketAddr) {
    eventually("the edge reads", || {
        queues(edge, client).is_none_or(|(_, unread)| unread == 0)
    });
}
