//! A health check for containers that have neither a shell nor curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::cli::Healthcheck;

/// Limit for connecting and for each read and write.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks once; anything but a 200 is an error with its reason.
pub fn run(options: &Healthcheck) -> Result<(), String> {
    let url = options
        .url
        .clone()
        .unwrap_or_else(|| default_url(options.listen));
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("{url} does not start with http://"))?;
    let (authority, path) = rest
        .find('/')
        .map_or((rest, "/healthz"), |slash| rest.split_at(slash));
    let with_port = if has_port(authority) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let address = with_port
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve {authority}: {error}"))?
        .next()
        .ok_or_else(|| format!("{authority} has no address"))?;
    let status =
        ask(address, authority, path).map_err(|error| format!("no answer from {url}: {error}"))?;
    if status == "200" {
        Ok(())
    } else {
        Err(format!("{url} answered {status}"))
    }
}

fn ask(address: SocketAddr, authority: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )?;
    // "HTTP/1.1 200" is all we want to know.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head[9..]).into_owned())
}

/// The wildcard address is no destination; the loopback address of the same family is.
fn default_url(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}/healthz", SocketAddr::new(ip, listen.port()))
}

fn has_port(authority: &str) -> bool {
    authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_addresses_are_asked_on_the_loopback() {
        for (listen, url) in [
            ("0.0.0.0:3000", "http://127.0.0.1:3000/healthz"),
            ("[::]:3000", "http://[::1]:3000/healthz"),
            ("10.0.0.7:80", "http://10.0.0.7:80/healthz"),
        ] {
            assert_eq!(default_url(listen.parse().expect("an address")), url);
        }
    }
}
