//! IPv4 addresses in IPv6's clothes (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2): sockets of IPv6 alone, as ours are, cannot be
//! bound to them, and visitors who come by IPv4 are known by their IPv4 addresses.

use std::net::SocketAddr;

use ipnet::{IpNet, Ipv4Net};

use super::diagnostic::Complaint;

/// An address to listen at or to ask.
pub(super) fn unmapped(address: SocketAddr) -> Result<SocketAddr, Complaint> {
    let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
    if plain.ip() == address.ip() {
        return Ok(address);
    }
    let complaint = Complaint::new(format!("{} is an IPv4 address within IPv6", address.ip()));
    Err(complaint.help(format!("write \"{plain}\"")))
}

/// The network that is meant, `None` where IPv4 addresses and others would be in it alike.
pub(crate) fn network(written: IpNet) -> Option<IpNet> {
    let IpNet::V6(within) = written else {
        return Some(written);
    };
    let Some(v4) = within.addr().to_ipv4_mapped() else {
        return Some(written);
    };
    let length = within.prefix_len().checked_sub(96)?;
    Ipv4Net::new(v4, length).map(IpNet::V4).ok()
}

/// What is wrong with a network that is none.
pub(crate) const TOO_WIDE: &str = "the network holds IPv4 addresses within IPv6 and others as well: visitors who come by \
    IPv4 would not be in it";

/// The same, with what to write.
pub(super) fn plain(written: IpNet) -> Result<IpNet, Complaint> {
    network(written).ok_or_else(|| {
        Complaint::new(TOO_WIDE)
            .help("write \"0.0.0.0/0\" for every IPv4 address, or a network such as \"10.0.0.0/8\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn networks_are_what_visitors_come_from() {
        for (written, meant) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:10.1.2.3/104", Some("10.1.2.3/8")),
            ("::ffff:192.0.2.1/128", Some("192.0.2.1/32")),
            ("::ffff:0:0/96", Some("0.0.0.0/0")),
            ("::ffff:10.0.0.0/95", None),
            ("::ffff:0:0/16", None),
            ("::/0", Some("::/0")),
            ("2001:db8::/32", Some("2001:db8::/32")),
        ] {
            let meant = meant.map(|text| text.parse::<IpNet>().expect("a network"));
            let written = written.parse().expect("a network");
            assert_eq!(network(written), meant, "{written}");
        }
    }

    fn parsed(text: &str) -> Result<config::Loaded, String> {
        let surroundings = config::Surroundings {
            folder: std::path::Path::new(""),
            env: &|_| None,
        };
        config::parse("test", text, &surroundings).map_err(|why| why.to_string())
    }

    fn text(listener: &str, server: &str, more: &str) -> String {
        format!(
            "[[listeners]]\naddress = \"{listener}\"\n[upstreams.shop]\nservers = [\"{server}\"]\n\
             [[routes]]\nupstream = \"shop\"\n{more}"
        )
    }

    #[test]
    fn addresses_are_written_as_what_they_are() {
        let (plain, mapped) = ("127.8.1.13:20300", "[::ffff:127.8.1.13]:20300");
        let (listener, server) = ("127.0.0.1:1", "127.0.0.1:2");
        let with = |more: String| text(listener, server, &more);
        let admin = |address| with(format!("[admin]\naddress = \"{address}\"\n"));
        let resolver = |address| with(format!("[server]\nresolvers = [\"{address}\"]\n"));
        let all = |address| {
            [
                text(address, server, ""),
                text(listener, address, ""),
                admin(address),
                resolver(address),
            ]
        };
        for (wrong, right) in all(mapped).into_iter().zip(all(plain)) {
            let why = parsed(&wrong).expect_err("refused");
            assert!(why.contains("write \"127.8.1.13:20300\""), "{why}");
            let right = parsed(&right);
            assert!(right.is_ok(), "{right:?}");
        }
    }

    #[test]
    fn networks_of_the_file_match_who_comes_from_them() {
        let lists = |network| {
            let more = format!(
                "[server]\ntrusted_proxies = [\"{network}\"]\n[address_lists.office]\nentries = [\"{network}\"]\n"
            );
            parsed(&text("127.0.0.1:1", "127.0.0.1:2", &more))
        };
        let loaded = lists("::ffff:10.0.0.0/104").expect("valid");
        let meant: IpNet = "10.0.0.0/8".parse().expect("a network");
        assert_eq!(loaded.config.server.trusted_proxies, [meant]);
        assert_eq!(loaded.config.address_lists[0].entries, [meant]);
        let why = lists("::ffff:10.0.0.0/64").expect_err("refused");
        assert!(why.contains("0.0.0.0/0"), "{why}");
    }
}
