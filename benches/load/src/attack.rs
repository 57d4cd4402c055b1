//! Connections that are held to do harm, and what the edge does about them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::Ipv4Addr,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout_at,
};

use crate::{
    connect::Protocol,
    fate::Fate,
    random::Dice,
    scenario::{Attacker, Way},
    visit::Stage,
};

/// Pages that a slow reader asks for at once: more than fits into the sockets between him and the edge.
const READ_AT_ONCE: usize = 200;

/// What became of the connections of one kind of attacker.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) opened: u64,
    pub(crate) refused: u64,
    /// Closed by the edge.
    pub(crate) closed: u64,
    /// Statuses it said before.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Milliseconds that connections lived which the edge closed.
    lives_ms: Vec<u64>,
    /// Open at the end.
    pub(crate) left: u64,
}

impl Held {
    /// How a connection ended after this life: with what the edge said before it closed it, without having been
    /// made, or with the attack.
    fn count(&mut self, ended: Option<Result<Option<u16>, Fate>>, life: Duration) {
        match ended {
            None => self.left += 1,
            Some(Err(_)) => self.refused += 1,
            Some(Ok(status)) => {
                self.closed += 1;
                self.lives_ms
                    .push(u64::try_from(life.as_millis()).unwrap_or(u64::MAX));
                if let Some(status) = status {
                    *self.statuses.entry(status).or_default() += 1;
                }
            }
        }
    }

    /// Half of the closed connections lived no longer, in milliseconds.
    pub(crate) fn median_life_ms(&self) -> u64 {
        let mut lives = self.lives_ms.clone();
        lives.sort_unstable();
        lives.get(lives.len() / 2).copied().unwrap_or_default()
    }
}

/// Keeps one connection busy, and opens another where the edge closes it, until the attack is over.
pub(crate) async fn attack(
    stage: Rc<Stage>,
    attacker: Attacker,
    held: Rc<RefCell<Held>>,
    start: Instant,
    mut dice: Dice,
) {
    let from = attacker.addresses.draw(&mut dice);
    let begin = start + attacker.start.0;
    stage.clock.until(begin).await;
    let over = || {
        let end = stage.end.get();
        attacker.last.map_or(end, |last| end.min(begin + last.0))
    };
    while Instant::now() < over() {
        let opened = Instant::now();
        let ended = timeout_at(over().into(), connection(&stage, &attacker, from, &held)).await;
        held.borrow_mut().count(ended.ok(), opened.elapsed());
        // Where connections are closed at once, opening them is not to become a flood of its own.
        let next = (opened + attacker.interval.0).max(Instant::now() + Duration::from_millis(100));
        stage.clock.until(next.min(over())).await;
    }
}

async fn connection(
    stage: &Stage,
    attacker: &Attacker,
    from: Ipv4Addr,
    held: &RefCell<Held>,
) -> Result<Option<u16>, Fate> {
    let protocol = if attacker.tls {
        Protocol::Http1Tls
    } else {
        Protocol::Http1
    };
    let stream = stage.target.tcp(protocol, from).await?;
    held.borrow_mut().opened += 1;
    let host = &stage.target.host;
    let ended = match stage.target.connector(protocol) {
        Some(tls) => harass(stage.target.tls(&tls, stream).await?, attacker, host).await,
        None => harass(stream, attacker, host).await,
    };
    // However it ended, the edge ended it.
    Ok(ended.unwrap_or(None))
}

/// Returns when the peer closes, with the first status it said.
async fn harass<S>(mut stream: S, attacker: &Attacker, host: &str) -> io::Result<Option<u16>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (first, drip): (String, &[u8]) = match attacker.way {
        Way::SlowHead => (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Slow: "), b"a"),
        Way::SlowBody => (
            format!(
                "POST /cart/add HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: 20000\r\n\r\n"
            ),
            b"a",
        ),
        Way::SlowReader => {
            let request = format!("GET /products HTTP/1.1\r\nHost: {host}\r\n\r\n");
            (request.repeat(READ_AT_ONCE), b"")
        }
        Way::Hold => (String::new(), b""),
    };
    stream.write_all(first.as_bytes()).await?;
    stream.flush().await?;
    let mut status = None;
    let mut piece = [0; 512];
    let room = if attacker.way == Way::SlowReader {
        1
    } else {
        piece.len()
    };
    let mut ticks = tokio::time::interval(attacker.interval.0);
    loop {
        if attacker.way == Way::SlowReader {
            ticks.tick().await;
            if stream.read(&mut piece[..room]).await? == 0 {
                return Ok(status);
            }
            continue;
        }
        tokio::select! {
            read = stream.read(&mut piece[..room]) => {
                let read = match read {
                    Ok(0) | Err(_) => return Ok(status),
                    Ok(read) => read,
                };
                status = status.or_else(|| said(&piece[..read]));
            }
            _ = ticks.tick() => {
                if stream.write_all(drip).await.is_err() || stream.flush().await.is_err() {
                    return Ok(status);
                }
            }
        }
    }
}

/// The status of an answer's first line.
fn said(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        assert_eq!(said(b"HTTP/1.1 408 Request Timeout\r\n"), Some(408));
        assert_eq!(said(b"HTTP/1.1 4"), None);
        assert_eq!(said(b""), None);
    }

    #[test]
    fn the_median_of_no_lives() {
        assert_eq!(Held::default().median_life_ms(), 0);
    }

    #[test]
    fn ends_are_told_apart() {
        let mut held = Held::default();
        for (ended, life) in [
            (Some(Ok(Some(408))), 9),
            (Some(Ok(None)), 1),
            (Some(Ok(Some(408))), 5),
            (Some(Err(Fate::Refused)), 0),
            (None, 100),
        ] {
            held.count(ended, Duration::from_millis(life));
        }
        assert_eq!((held.closed, held.refused, held.left), (3, 1, 1));
        assert_eq!(
            (held.median_life_ms(), &held.statuses),
            (5, &BTreeMap::from([(408, 2)]))
        );
    }
}
