//! The PROXY protocol, versions 1 and 2: a balancer says in front of a connection whose it is.
//!
//! Read strictly, and to the byte: what follows belongs to TLS or HTTP. A version 1 line is bounded by its
//! specification, a version 2 header by [`MAX_V2`]; its additional fields are passed over unread.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use tokio::{io::AsyncReadExt, net::TcpStream};

/// How a header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included.
const MAX_V1: usize = 107;
/// Longest header of version 2. The addresses take 52 bytes; a balancer that terminates TLS may add what it knows
/// of the client's certificate.
const MAX_V2: usize = 4 * 1024;

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(&'static str);

/// A header, and what it says of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    length: usize,
    /// Whose the connection is; `None` says that it is the balancer's own, or nobody knows.
    source: Option<SocketAddr>,
}

/// Takes a header off a connection. `None`: the connection speaks for itself.
pub(super) async fn read(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut bytes = Vec::with_capacity(MAX_V1);
    let mut ahead = [0; 512];
    loop {
        let peeked = tcp.peek(&mut ahead).await?;
        if peeked == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = bytes.len();
        bytes.extend_from_slice(&ahead[..peeked]);
        let header = parse(&bytes)
            .map_err(|Malformed(why)| io::Error::new(io::ErrorKind::InvalidData, why))?;
        // While the header has no end all that is here belongs to it.
        let own = header.map_or(peeked, |header| header.length - taken);
        tcp.read_exact(&mut ahead[..own]).await?;
        if let Some(header) = header {
            return Ok(header.source);
        }
    }
}

/// Reads a header; `None` where there is more of it to come.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let compared = bytes.len().min(SIGNATURE.len());
    if bytes[..compared] == SIGNATURE[..compared] {
        return parse_v2(bytes);
    }
    parse_v1(bytes)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    const START: &[u8] = b"PROXY ";
    let compared = bytes.len().min(START.len());
    if bytes[..compared] != START[..compared] {
        return Err(Malformed("no PROXY header"));
    }
    let bounded = &bytes[..bytes.len().min(MAX_V1)];
    let Some(end) = bounded.windows(2).position(|two| two == b"\r\n") else {
        return match bounded.len() < MAX_V1 {
            true => Ok(None),
            false => Err(Malformed("the PROXY line is too long")),
        };
    };
    let line = std::str::from_utf8(&bytes[START.len()..end])
        .map_err(|_| Malformed("the PROXY line is no text"))?;
    let mut words = line.split(' ');
    let source = match words.next() {
        // Whatever else the line says is to be ignored.
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(v1_addresses::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(v1_addresses::<Ipv6Addr>(words)?),
        _ => return Err(Malformed("unknown protocol in the PROXY line")),
    };
    Ok(Some(Header {
        length: end + 2,
        source,
    }))
}

fn v1_addresses<'a, A: FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, Malformed> {
    let mut address = || words.next()?.parse::<A>().ok();
    let (source, target) = (address(), address());
    let mut port = || {
        let digits = words.next()?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        let whole = plain && (digits == "0" || !digits.starts_with('0'));
        digits.parse::<u16>().ok().filter(|_| whole)
    };
    let ports = (port(), port());
    match (source, target, ports, words.next()) {
        (Some(source), Some(_), (Some(port), Some(_)), None) => {
            Ok(SocketAddr::new(source.into(), port))
        }
        _ => Err(Malformed("wrong addresses in the PROXY line")),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    const FIXED: usize = 16;
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED + length > MAX_V2 {
        return Err(Malformed("the PROXY header is too long"));
    }
    let is_local = match fixed[12] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed("unknown version or command of the PROXY header")),
    };
    // Family and transport: unspecified, IPv4, IPv6 or Unix, over a stream or datagrams.
    let of_addresses = match fixed[13] {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(Malformed("unknown family in the PROXY header")),
    };
    if length < of_addresses && !is_local {
        return Err(Malformed("the PROXY header is too short for its addresses"));
    }
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    let source = match fixed[13] {
        _ if is_local => None,
        0x11 => {
            let address: [u8; 4] = block[..4].try_into().unwrap_or_default();
            Some(SocketAddr::new(address.into(), port(8)))
        }
        0x21 => {
            let address: [u8; 16] = block[..16].try_into().unwrap_or_default();
            Some(SocketAddr::new(address.into(), port(32)))
        }
        0x00 => None,
        _ => return Err(Malformed("the PROXY header is for no TCP connection")),
    };
    Ok(Some(Header {
        length: FIXED + length,
        source,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb];

    #[test]
    fn sound_headers() {
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 1, 7, 80);
        let with_more: Vec<u8> = V4.iter().copied().chain([4, 0, 1, 0]).collect();
        let table: [(Vec<u8>, Option<&str>); 11] = [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n".to_vec(),
                Some("192.0.2.1:8080"),
            ),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(),
                Some("255.255.255.255:65535"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 8080 443\r\n".to_vec(),
                Some("[2001:db8::1]:8080"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff:: ff:: 1 2 and more\r\n".to_vec(), None),
            (v2(0x21, 0x11, &V4), Some("192.0.2.1:8080")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.1:8080")),
            (v2(0x21, 0x21, &v6), Some("[2001::7]:80")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &V4), None),
            (v2(0x21, 0x00, &[]), None),
        ];
        for (bytes, source) in table {
            let wanted = Header {
                length: bytes.len(),
                source: source.map(|text| text.parse().expect("address")),
            };
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let mut followed = bytes.clone();
            followed.extend(b"GET / HTTP/1.1\r\n\r\n");
            assert_eq!(parse(&followed), Ok(Some(wanted)), "{shown}");
            for end in 1..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes of {shown}");
            }
        }
    }

    #[test]
    fn what_is_no_header() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1));
        let lines: [&[u8]; 19] = [
            b"GET / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            b"PROXY TCP4 0300.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 127.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
            long.as_bytes(),
        ];
        for bytes in lines {
            assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        let mut too_long = v2(0x21, 0x11, &V4);
        too_long[14..16].copy_from_slice(&[0x10, 0]);
        for bytes in [
            v2(0x11, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x13, &V4),
            v2(0x21, 0x41, &V4),
            v2(0x21, 0x12, &V4),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &V4),
            too_long,
        ] {
            assert!(parse(&bytes).is_err(), "{bytes:?}");
        }
    }
}
