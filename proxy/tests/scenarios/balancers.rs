//! What balancers say of those they speak for: the PROXY protocol, `X-Forwarded-For` and `Forwarded`.

use std::{net::SocketAddr, time::Duration};

use crate::{
    client::Conn,
    edge::Edge,
    h2::{client_config, https},
    origin::{Origin, page},
    serving::plain,
    tools::eventually,
};

const BELIEVED: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

fn shop() -> Origin {
    Origin::start(|r| {
        page(r.fields("x-forwarded-for").join(" | ")).field("Cache-Control", "no-store")
    })
}

fn config(shop: &Origin, server: &str) -> String {
    let listeners = "[[listeners]]\naddress = \"@http\"\nproxy_protocol = true\n\
                     [[listeners]]\naddress = \"@https\"\nproxy_protocol = true\ntls = true\n\
                     [[certificates]]\ncert = \"@dir/certs/dev.pem\"\nkey = \"@dir/certs/dev.key\"\n";
    format!("{}[server]\n{server}\n{listeners}", plain(shop))
}

fn start(shop: &Origin, server: &str) -> Edge {
    let site = crate::edge::Site::new(&config(shop, server));
    assert!(
        site.dhal(&["dev-cert", "--name", "shop.example"])
            .status
            .success()
    );
    Edge::start_at(site)
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend((block.len() as u16).to_be_bytes());
    bytes.extend(block);
    bytes
}

const V4: [u8; 12] = [203, 0, 113, 7, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb];

fn refused(edge: &Edge, why: &str) -> f64 {
    let series = format!("dhal_connections_refused_total{{why=\"{why}\"}}");
    edge.metric(&series).expect("it is there from the start")
}

/// A TLS connection behind a header.
fn tls_behind(header: &[u8], address: SocketAddr) -> Conn {
    use std::io::Write;
    let mut socket = std::net::TcpStream::connect(address).expect("the edge accepts");
    socket.write_all(header).expect("sent");
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let name = rustls::pki_types::ServerName::try_from("shop.example").expect("a name");
    let client = rustls::ClientConnection::new(config, name).expect("a client");
    let handle = socket.try_clone().expect("a second handle");
    Conn::over(rustls::StreamOwned::new(client, socket), handle)
}

#[test]
fn a_balancer_says_whose_a_connection_is() {
    let shop = shop();
    let edge = start(&shop, BELIEVED);
    let mut v6 = [0; 36];
    (v6[0], v6[1], v6[15]) = (0x20, 1, 7);
    let with_more: Vec<u8> = V4.iter().copied().chain([4, 0, 1, 0]).collect();
    for (header, client) in [
        (
            &b"PROXY TCP4 203.0.113.7 198.51.100.1 8080 443\r\n"[..],
            "203.0.113.7",
        ),
        (b"PROXY TCP6 2001::7 ::1 8080 443\r\n", "2001::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (&v2(0x21, 0x11, &V4), "203.0.113.7"),
        (&v2(0x21, 0x11, &with_more), "203.0.113.7"),
        (&v2(0x21, 0x21, &v6), "2001::7"),
        (&v2(0x20, 0, &[]), "127.0.0.1"),
    ] {
        let mut conn = edge.connect();
        // In one segment with the request, and byte by byte.
        let mut bytes = header.to_vec();
        bytes.extend(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        conn.send(&bytes);
        assert_eq!(conn.response("GET").text(), client);
        assert_eq!(conn.get("/").text(), client, "said once, for all requests");
        let mut conn = edge.connect();
        for byte in &bytes {
            conn.send([*byte]);
        }
        assert_eq!(conn.response("GET").text(), client);
        let mut conn = tls_behind(header, edge.site.https);
        assert_eq!(conn.get("/").text(), client);
        eventually("it is in the log", || {
            edge.log().iter().any(|line| line["client"] == client)
        });
    }
    assert_eq!(refused(&edge, "proxy_header"), 0.0);
}

#[test]
fn an_ipv4_address_that_is_mapped_is_trusted_like_the_other() {
    let shop = shop();
    let edge = start(&shop, BELIEVED);
    for source in ["TCP4 127.0.0.1 127.0.0.2", "TCP6 ::ffff:127.0.0.1 ::1"] {
        for tls in [false, true] {
            let header = format!("PROXY {source} 8080 443\r\n");
            let mut conn = match tls {
                true => tls_behind(header.as_bytes(), edge.site.https),
                false => edge.connect(),
            };
            if !tls {
                conn.send(&header);
            }
            let fields = [
                ("X-Forwarded-For", "203.0.113.9"),
                ("X-Request-ID", "said-by-a-proxy"),
            ];
            conn.request("GET", "/", &fields);
            let answer = conn.response("GET");
            assert_eq!(answer.text(), "203.0.113.9, 127.0.0.1", "{source}");
            assert_eq!(
                answer.field("x-request-id"),
                Some("said-by-a-proxy"),
                "{source}"
            );
        }
    }
}

#[test]
fn without_a_sound_header_nobody_comes_in() {
    let shop = shop();
    let edge = start(&shop, &format!("{BELIEVED}handshake_timeout = \"3s\"\n"));
    let headers = [
        &b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"[..],
        b"PROXY TCP4 203.0.113.7 198.51.100.1 8080\r\n",
        b"PROXY TCP4 0313.0.113.7 198.51.100.1 8080 443\r\n",
        &[b'P'; 4096],
        &v2(0x21, 0x11, &V4[..8]),
        &v2(0x31, 0x11, &V4),
        &v2(0x21, 0x11, &[0; 8192]),
    ];
    let count = headers.len() as f64;
    for header in headers {
        let mut conn = edge.connect();
        conn.send(header);
        conn.ends();
    }
    eventually("all are counted", || {
        refused(&edge, "proxy_header") == count
    });
    // One that does not come to its end has the time of a handshake.
    let mut conn = edge.connect();
    conn.send("PROXY TCP4 203.0.113.7 198.51");
    conn.ends();
    let slow = "dhal_connections_shed_total{why=\"slow_handshake\"}";
    edge.counts(slow, 1.0);
    assert!(shop.seen().is_empty(), "nothing reached the shop");
}

#[test]
fn strangers_are_not_believed() {
    let shop = shop();
    let edge = start(&shop, "trusted_proxies = [\"192.0.2.0/24\"]");
    let mut conn = edge.connect();
    conn.send("PROXY TCP4 203.0.113.7 198.51.100.1 8080 443\r\nGET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    conn.ends();
    eventually("it is counted", || refused(&edge, "proxy_untrusted") == 1.0);
}

#[test]
fn connections_are_counted_for_whom_the_header_names() {
    let shop = shop();
    let edge = start(
        &shop,
        &format!("{BELIEVED}max_connections_per_client = 1\n"),
    );
    let open = |client: &str| {
        let mut conn = edge.connect();
        conn.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\n"));
        conn.request("GET", "/", &[]);
        conn
    };
    let mut one = open("203.0.113.7");
    assert_eq!(one.response("GET").status, 200);
    open("203.0.113.7").ends();
    assert_eq!(open("203.0.113.8").response("GET").status, 200);
    eventually("it is counted", || refused(&edge, "per_client") == 1.0);
}

#[test]
fn one_field_names_the_client_and_never_the_other() {
    let shop = shop();
    for (field, client, chain) in [
        (
            "x-forwarded-for",
            "198.51.100.7",
            "198.51.100.7:5678, 127.0.0.1",
        ),
        ("forwarded", "2001:db8::9", "2001:db8::9"),
    ] {
        let server = format!("[server]\n{BELIEVED}forwarded_field = \"{field}\"\n");
        let edge = Edge::start(&(plain(&shop) + &server));
        let fields = [
            ("X-Forwarded-For", "198.51.100.7:5678"),
            (
                "Forwarded",
                "for=_x, For=\"[2001:db8::9]:4711\";proto=https;by=127.0.0.3",
            ),
        ];
        assert_eq!(edge.ask("GET", "/", &fields).text(), chain);
        eventually("it is in the log", || {
            edge.log().iter().any(|line| line["client"] == client)
        });
        let long = vec!["127.0.0.9"; 1000].join(", ");
        let fields = [
            ("X-Forwarded-For", long.as_str()),
            ("Forwarded", "for=unknown"),
        ];
        assert_eq!(edge.ask("GET", "/", &fields).status, 200);
    }
}

#[test]
fn tls_listeners_without_a_header_are_as_before() {
    let shop = shop();
    let edge = Edge::start_tls(&plain(&shop));
    let mut conn = https(edge.site.https, "shop.example");
    assert_eq!(conn.get("/").text(), "127.0.0.1");
    assert!(conn.is_quiet(Duration::from_millis(20)));
}
