//! Listeners that ask for certificates, and then do not: nobody who is connected, or is just coming, loses a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use rustls::ClientConfig;

use crate::{
    client::Conn,
    edge::{Edge, Site},
    h2::{H2, showing, tls},
    origin::{Origin, page},
    secure::{Authority, Identity},
    serving::plain,
    tools::eventually,
};

const ASKS: &str = "client_auth = { ca = \"@dir/clients.pem\" }\n";

fn config(shop: &Origin, client_auth: &str) -> String {
    format!(
        "{}[[listeners]]\naddress = \"@https\"\ntls = true\n{client_auth}\
         [[certificates]]\ncert = \"@dir/pair.pem\"\nkey = \"@dir/pair.key\"\n",
        plain(shop)
    )
}

fn asking(shop: &Origin, clients: &Authority) -> Edge {
    let site = Site::new(&config(shop, ASKS));
    clients.write(&site.path("clients.pem"));
    let own = Authority::new("server").server(&["shop.example"]);
    own.write(&site.path("pair.pem"), &site.path("pair.key"));
    Edge::start_at(site)
}

fn identity(clients: &Authority) -> Identity {
    clients.identity(&["client.example"], Ok(Duration::from_secs(3_600)))
}

fn conn(edge: &Edge, config: &Arc<ClientConfig>) -> Conn {
    let stream = tls(edge.site.https, "shop.example", config).expect("a handshake");
    let socket = stream.sock.try_clone().expect("a second handle");
    Conn::over(stream, socket)
}

#[test]
fn who_has_shown_a_certificate_is_served_when_nobody_asks_for_it_any_more() {
    let shop = Origin::start(|_| page("ok"));
    let clients = Authority::new("clients");
    let edge = asking(&shop, &clients);
    let shown = identity(&clients);
    let mut h1 = conn(
        &edge,
        &showing(rustls::ALL_VERSIONS, &["http/1.1"], Some(&shown)),
    );
    let mut h2 = H2::connect_with(
        edge.site.https,
        "shop.example",
        showing(rustls::ALL_VERSIONS, &["h2"], Some(&shown)),
    );
    assert_eq!((h1.get("/1").status, h2.get("/2").status), (200, 200));
    assert_eq!(shop.last().fields("x-client-verify"), ["SUCCESS"]);
    let output = edge.reload(&config(&shop, ""));
    assert!(output.status.success(), "{output:?}");
    for path in ["/3", "/4"] {
        let status = match path {
            "/3" => h1.get(path).status,
            _ => h2.get(path).status,
        };
        assert_eq!(status, 200, "{path}");
        // Whom nobody believes any more, no shop is told of.
        assert!(!shop.last().fields("x-client-verify").contains(&"SUCCESS"));
    }
    h1.ends();
    // The other way round it is not known who they are.
    let mut unknown = conn(&edge, &showing(rustls::ALL_VERSIONS, &["http/1.1"], None));
    assert_eq!(unknown.get("/").status, 200);
    let output = edge.reload(&config(&shop, ASKS));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(unknown.get("/").status, 421);
}

#[test]
fn handshakes_outlive_the_end_of_asking() {
    let shop = Origin::start(|_| page("ok"));
    let clients = Authority::new("clients");
    let edge = asking(&shop, &clients);
    let shown = identity(&clients);
    let client = showing(rustls::ALL_VERSIONS, &["http/1.1"], Some(&shown));
    let (is_over, shaken) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    let mut conn = conn(&edge, &client);
                    // What was asked of it may be another thing by now, but it is answered.
                    let status = conn.get("/").status;
                    assert!([200, 421].contains(&status), "{status}");
                    shaken.fetch_add(1, Relaxed);
                }
            });
        }
        let reloads = || {
            for client_auth in ["", ASKS].repeat(30) {
                let before = shaken.load(Relaxed);
                let output = edge.reload(&config(&shop, client_auth));
                assert!(output.status.success(), "{output:?}");
                eventually("visitors come", || shaken.load(Relaxed) > before + 5);
            }
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(reloads));
        is_over.store(true, Relaxed);
        outcome.expect("all reloads");
    });
}
