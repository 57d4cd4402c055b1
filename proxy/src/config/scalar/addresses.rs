//! Addresses: of sockets, servers and networks.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use ipnet::IpNet;

use super::paths::{FilePath, resolved};
use crate::config::{
    diagnostic::{Complaint, shown},
    mapped,
    read::Scalar,
};

/// An IP address with its port.
const SOCKET: &str = r"([0-9.]+|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]):[0-9]+";

impl Scalar for SocketAddr {
    const WANTED: &'static str = "an address with its port, such as \"127.0.0.1:8080\"";

    fn pattern() -> Option<String> {
        Some(format!("^{SOCKET}$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().ok().map(mapped::unmapped).unwrap_or_else(|| {
            let complaint = Complaint::new(format!("{} is no IP address with a port", shown(text)));
            match text.rsplit_once(':') {
                Some(("" | "*", port)) => {
                    Err(complaint.help(format!("write \"0.0.0.0:{port}\" for every IPv4 address of the host, \"[::]:{port}\" for IPv6")))
                }
                _ => Err(complaint.help("write \"127.0.0.1:8080\", \"0.0.0.0:80\" or \"[::1]:8080\"")),
            }
        })
    }
}

/// Where the admin endpoint listens, the path of a socket as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum AdminEndpoint {
    Tcp(SocketAddr),
    Unix(FilePath),
}

impl Scalar for AdminEndpoint {
    const WANTED: &'static str =
        "an address such as \"127.0.0.1:9900\" or \"unix:/run/dhal/admin.sock\"";

    fn pattern() -> Option<String> {
        Some(format!("^(unix:.+|{SOCKET})$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return FilePath::parse(path).map(Self::Unix);
        }
        if text.starts_with('/') || text.ends_with(".sock") {
            return Err(
                Complaint::new(format!("{} is no address", shown(text))).help(format!(
                    "write \"unix:{text}\" for a socket in the file system"
                )),
            );
        }
        SocketAddr::parse(text).map(Self::Tcp)
    }

    fn starting_at(self, folder: &Path) -> Self {
        match self {
            Self::Unix(path) => Self::Unix(path.starting_at(folder)),
            tcp @ Self::Tcp(_) => tcp,
        }
    }

    fn resolved(text: &str, folder: &Path) -> String {
        match text.strip_prefix("unix:") {
            Some(path) => format!("unix:{}", resolved(path, folder)),
            None => text.to_owned(),
        }
    }
}

/// A network; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Network(pub(in crate::config) IpNet);

impl Scalar for Network {
    const WANTED: &'static str = "a network such as \"10.0.0.0/8\"";

    fn pattern() -> Option<String> {
        Some(r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$".to_owned())
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let parsed = text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let parsed = parsed.map_err(|_| {
            Complaint::new(format!("{} is no network", shown(text)))
                .help("write an IP address or a network such as \"10.0.0.0/8\" or \"fd00::/8\"")
        });
        mapped::plain(parsed?).map(Self)
    }
}

/// `host:port` of a server: an IP address, or a name to be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct ServerAddress(pub(in crate::config) String);

impl Scalar for ServerAddress {
    const WANTED: &'static str = "an address with its port, such as \"127.0.0.1:3000\"";

    fn pattern() -> Option<String> {
        Some(format!("^([0-9A-Za-z_.-]+:[0-9]+|{SOCKET})$"))
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.contains("://") {
            return Err(Complaint::new("a server is `host:port`, without a scheme")
                .help("leave out the scheme; `tls = true` of the upstream says that its servers speak TLS"));
        }
        let wrong = || {
            Complaint::new(format!("{} is no `host:port`", shown(text)))
                .help("write an IP address or a name, and a port: \"127.0.0.1:3000\", \"[::1]:3000\" or \"shop.internal:3000\"")
        };
        if let Ok(address) = text.parse::<SocketAddr>() {
            let address = mapped::unmapped(address)?;
            return match (address.port(), address.ip().is_unspecified()) {
                (0, _) => Err("a server needs a port other than 0".into()),
                (_, true) => Err(
                    Complaint::new("a server needs an address to connect to").help(format!(
                        "write \"127.0.0.1:{}\" for this host",
                        address.port()
                    )),
                ),
                _ => Ok(Self(text.to_owned())),
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let lettered = host.bytes().any(|b| b.is_ascii_alphabetic());
        let port = port.parse::<u16>().is_ok_and(|port| port != 0);
        match port && lettered && host.len() <= 253 && host.bytes().all(name) {
            true => Ok(Self(text.to_owned())),
            false => Err(wrong()),
        }
    }
}
