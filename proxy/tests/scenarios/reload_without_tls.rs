//! Listeners with TLS that go, so that none is left: what their certificates asked for goes with them, and whoever was
//! let in before makes his handshake all the same.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Conn, Response},
    edge::{Edge, Site},
    h2::{client_config, tls_over},
    origin::{Origin, page},
    secure::Authority,
    serving::smallest,
    tools::{Gate, PATIENCE, eventually},
};

const ACCEPTED: &str = "dhal_connections_accepted_total";

fn with_tls(shop: &Origin, client_auth: &str) -> String {
    format!(
        "{}[[listeners]]\naddress = \"@https\"\ntls = true\n\
         [[certificates]]\ncert = \"@dir/pair.pem\"\nkey = \"@dir/pair.key\"\n{client_auth}",
        smallest(shop)
    )
}

fn edge(config: &str) -> Edge {
    let site = Site::new(config);
    Authority::new("clients").write(&site.path("clients.pem"));
    pair(&site);
    Edge::start_at(site)
}

/// Another certificate in the place of the one before.
fn pair(site: &Site) {
    let own = Authority::new("server").server(&["shop.test"]);
    own.write(&site.path("pair.pem"), &site.path("pair.key"));
}

fn ask(edge: &Edge) -> Response {
    let mut conn = edge.connect();
    conn.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    conn.response("GET")
}

fn reloads(edge: &Edge, config: &str) {
    let output = edge.reload(config);
    assert!(output.status.success(), "{output:?}");
}

/// Makes a handshake and a request over a connection that is open.
fn shakes(socket: TcpStream) -> Response {
    let config = client_config(rustls::ALL_VERSIONS, &["http/1.1"]);
    let stream = tls_over(socket, "shop.test", &config).expect("a handshake");
    let socket = stream.sock.try_clone().expect("a second handle");
    Conn::over(stream, socket).get("/")
}

#[test]
fn certificates_that_are_gone_ask_for_nothing() {
    let shop = Origin::start(|_| page("ok"));
    let asks = "client_auth = { ca = \"@dir/clients.pem\" }\n";
    let edge = edge(&with_tls(&shop, asks));
    assert_eq!(ask(&edge).status, 421, "it wants a certificate");
    // Once more, because what is left of the first must not come back.
    for _ in 0..2 {
        reloads(&edge, &smallest(&shop));
        assert_eq!(ask(&edge).status, 200);
        let (_, status) = edge.admin("GET", "/status");
        assert!(!status.contains("pair.pem"), "{status}");
        assert_eq!(edge.metric("dhal_certificates"), Some(0.0));
    }
    // Nobody looks at its files any more: it would be told of within two looks, of two seconds each.
    pair(&edge.site);
    let until = Instant::now() + Duration::from_millis(4_500);
    while Instant::now() < until {
        assert_eq!(edge.metric("dhal_certificates"), Some(0.0));
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!edge.stderr().contains("new connections get it"));
    reloads(&edge, &with_tls(&shop, asks));
    assert_eq!(ask(&edge).status, 421, "it wants one again");
}

#[test]
fn who_was_accepted_before_the_last_listener_with_tls_went_is_served() {
    let gate = Gate::default();
    let shop = Origin::start({
        let gate = gate.clone();
        move |request| {
            if request.target == "/slow" {
                gate.wait(PATIENCE);
            }
            page("ok")
        }
    });
    let bounds = "[server]\nmax_connections = 1\nthreads = 1\n";
    let edge = edge(&(with_tls(&shop, "") + bounds));
    let mut at_work = edge.connect();
    at_work.request("GET", "/slow", &[]);
    eventually("the house is full", || shop.seen().len() == 1);
    // It is accepted, and waits for one to end.
    let waits = TcpStream::connect(edge.site.https).expect("let in by the system");
    eventually("it is accepted", || edge.metric(ACCEPTED) == Some(2.0));
    // Two reloads: the second one has nothing to leave, and takes nothing away.
    for _ in 0..2 {
        reloads(&edge, &(smallest(&shop) + bounds));
    }
    gate.open();
    assert_eq!(at_work.response("GET").status, 200);
    drop(at_work);
    assert_eq!(shakes(waits).status, 200);
}
