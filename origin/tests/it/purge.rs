//! What the edges in front are told, and when. The edge is a script over a real socket.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::shop::{PATIENCE, Place, Shop, browser, command, customer, eventually, hidden, text};

/// Long enough for a purge that should not be there to arrive.
const QUIET: Duration = Duration::from_millis(300);

const TOKEN: &str = "a token of more than 16 bytes";

/// What the shop asked for.
#[derive(Debug)]
struct Call {
    head: String,
    body: Value,
}

impl Call {
    fn tags(&self) -> Vec<&str> {
        let tags = self.body["tags"].as_array().expect("tags");
        tags.iter().map(|tag| tag.as_str().expect("text")).collect()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

#[derive(Clone)]
enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// An edge that takes purges as its script says; gone when dropped.
struct Edge {
    address: Address,
    calls: Receiver<Call>,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// Says which status a call gets, and may take its time.
type Script = dyn Fn(&Call) -> u16 + Send + Sync;

impl Edge {
    fn unix(path: &Path, script: impl Fn(&Call) -> u16 + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("binds");
        let accept = move || -> Box<dyn Stream> { Box::new(listener.accept().expect("accepts").0) };
        Self::new(Address::Unix(path.to_owned()), accept, Arc::new(script))
    }

    fn tcp(script: impl Fn(&Call) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        let accept = move || -> Box<dyn Stream> { Box::new(listener.accept().expect("accepts").0) };
        Self::new(Address::Tcp(address), accept, Arc::new(script))
    }

    fn new(
        address: Address,
        accept: impl Fn() -> Box<dyn Stream> + Send + 'static,
        script: Arc<Script>,
    ) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (told, calls) = channel();
        let acceptor = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || loop {
                let stream = accept();
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let (script, told) = (Arc::clone(&script), told.clone());
                std::thread::spawn(move || answer(stream, &*script, &told));
            }
        });
        Self {
            address,
            calls,
            ended,
            acceptor: Some(acceptor),
        }
    }

    fn endpoint(&self) -> String {
        match &self.address {
            Address::Unix(path) => format!("unix:{}", path.display()),
            Address::Tcp(address) => format!("http://{address}"),
        }
    }

    fn next(&self) -> Call {
        self.calls.recv_timeout(PATIENCE).expect("a purge")
    }

    fn is_quiet(&self) {
        if let Ok(call) = self.calls.recv_timeout(QUIET) {
            panic!("an unexpected purge: {call:?}");
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        match &self.address {
            Address::Unix(path) => {
                let _ = UnixStream::connect(path);
                let _ = std::fs::remove_file(path);
            }
            Address::Tcp(address) => drop(TcpStream::connect(address)),
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn answer(stream: Box<dyn Stream>, script: &Script, told: &Sender<Call>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).expect("reads") == 0 {
            return;
        }
    }
    let mut call = Call {
        head,
        body: Value::Null,
    };
    let length = call.field("content-length").expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).expect("reads");
    call.body = serde_json::from_slice(&body).expect("JSON");
    let status = script(&call);
    // Known to the test before the shop knows the answer.
    let _ = told.send(call);
    let body = "{\"purged\":3}";
    let length = body.len();
    let _ = write!(
        stream.get_mut(),
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

/// A place whose products are there already, so that nothing is told at the start.
fn filled() -> Place {
    let place = Place::new();
    drop(Shop::start(&place.database));
    place
}

fn telling(place: &Place, endpoints: &str) -> Shop {
    Shop::start_with(&place.database, |command| {
        command.args(["--purge", endpoints]);
    })
}

/// Slugs and tags of products with plenty of stock.
fn products(place: &Place, count: usize) -> Vec<(String, String)> {
    let sqlite = place.sqlite();
    let mut statement = sqlite
        .prepare("SELECT slug, id FROM products WHERE stock >= 50 ORDER BY id LIMIT ?1")
        .expect("prepares");
    let rows = statement
        .query_map([i64::try_from(count).expect("small")], |row| {
            Ok((row.get(0)?, format!("product-{}", row.get::<_, i64>(1)?)))
        })
        .expect("queries");
    let found: Vec<_> = rows.collect::<Result<_, _>>().expect("reads");
    assert_eq!(found.len(), count);
    found
}

async fn order(client: &Client, shop: &Shop, slugs: &[&str]) -> StatusCode {
    let items: Vec<Value> = slugs
        .iter()
        .map(|slug| json!({ "slug": slug, "quantity": 1 }))
        .collect();
    let order = json!({ "customer": customer(), "items": items });
    let request = client.post(shop.at("/api/orders")).json(&order);
    request.send().await.expect("an answer").status()
}

async fn ordered(shop: &Shop, slugs: &[&str]) {
    assert_eq!(
        order(&browser(), shop, slugs).await,
        StatusCode::CREATED,
        "{slugs:?}"
    );
}

#[tokio::test]
async fn an_order_has_exactly_its_products_purged_softly() {
    let place = Place::new();
    let socket = place.folder.path().join("admin.sock");
    let database = place.database.clone();
    // What the database says at the moment the edge is told.
    let (stock, stocks) = channel();
    let edge = Edge::unix(&socket, move |call| {
        let id = call.tags()[0].strip_prefix("product-").map(str::to_owned);
        if let Some(id) = id {
            let sqlite = rusqlite::Connection::open(&database).expect("opens");
            let pieces: i64 = sqlite
                .query_row("SELECT stock FROM products WHERE id = ?1", [id], |row| {
                    row.get(0)
                })
                .expect("a product");
            stock.send(pieces).expect("is awaited");
        }
        200
    });
    let shop = telling(&place, &edge.endpoint());
    // The catalogue is new: whatever the edge has is of another shop.
    assert_eq!(edge.next().tags(), ["shop"]);

    let [(one, tag_one), (two, tag_two), (three, tag_three)] = &products(&place, 3)[..] else {
        unreachable!("three were asked for");
    };
    let before: i64 = place
        .sqlite()
        .query_row("SELECT stock FROM products WHERE slug = ?1", [one], |row| {
            row.get(0)
        })
        .expect("a product");
    ordered(&shop, &[one, two]).await;
    let call = edge.next();
    assert!(
        call.head.starts_with("POST /purge HTTP/1.1\r\n"),
        "{}",
        call.head
    );
    assert_eq!(call.field("content-type"), Some("application/json"));
    assert_eq!(call.field("authorization"), None);
    assert_eq!(
        call.body,
        json!({ "tags": [tag_one, tag_two], "soft": true })
    );
    assert_eq!(stocks.recv().expect("a stock"), before - 1);

    // The same from the pages of the shop.
    let client = browser();
    client
        .post(shop.at("/cart/add"))
        .form(&[("product", three)])
        .send()
        .await
        .expect("an answer");
    let form = text(&client, &shop.at("/checkout")).await;
    let field = |name| hidden(&form, name);
    let filled = [
        ("csrf", field("csrf")),
        ("key", field("key")),
        ("total", field("total")),
        ("name", "Rahima Khatun".to_owned()),
        ("phone", "01712345678".to_owned()),
        ("address", "House 12, Road 5, Dhanmondi, Dhaka".to_owned()),
    ];
    for _ in 0..2 {
        let sent = client.post(shop.at("/checkout")).form(&filled).send().await;
        assert_eq!(sent.expect("an answer").status(), StatusCode::SEE_OTHER);
    }
    assert_eq!(edge.next().tags(), [tag_three]);

    // What takes no stock is not told: a repeat of an order, as above, and a refused one.
    let scarce = "UPDATE products SET stock = 0 WHERE slug = ?1";
    place.sqlite().execute(scarce, [one]).expect("updates");
    assert_eq!(
        order(&browser(), &shop, &[two, one]).await,
        StatusCode::CONFLICT
    );
    edge.is_quiet();

    // A shop that starts again finds everything as it was.
    drop(shop);
    let shop = telling(&place, &edge.endpoint());
    ordered(&shop, &[three]).await;
    assert_eq!(edge.next().tags(), [tag_three]);
}

#[tokio::test]
async fn nothing_is_told_before_the_order_is_committed() {
    let place = filled();
    let edge = Edge::unix(&place.folder.path().join("admin.sock"), |_| 200);
    let shop = telling(&place, &edge.endpoint());
    let [(slug, tag), (other, other_tag)] = &products(&place, 2)[..] else {
        unreachable!("two were asked for");
    };
    let sqlite = place.sqlite();
    sqlite.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let slugs = [slug.as_str()];
    let mut waiting = pin!(ordered(&shop, &slugs));
    let early = tokio::time::timeout(QUIET, &mut waiting).await;
    assert!(early.is_err(), "the order waits for the lock");
    edge.is_quiet();
    sqlite.execute_batch("ROLLBACK").expect("unlocks");
    waiting.await;
    assert_eq!(edge.next().tags(), [tag]);

    // A customer who has hung up has ordered all the same.
    sqlite.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let gone = tokio::time::timeout(QUIET, ordered(&shop, &[other])).await;
    assert!(gone.is_err(), "the order waits for the lock");
    sqlite.execute_batch("ROLLBACK").expect("unlocks");
    assert_eq!(edge.next().tags(), [other_tag]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_a_rush_share_a_purge() {
    let place = filled();
    let most = Arc::new(AtomicUsize::new(0));
    let (release, released) = channel::<()>();
    let released = std::sync::Mutex::new(released);
    let edge = Edge::unix(&place.folder.path().join("admin.sock"), {
        let (most, now) = (Arc::clone(&most), AtomicUsize::new(0));
        move |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let waited = released.lock().expect("no panic").recv_timeout(PATIENCE);
            now.fetch_sub(1, Ordering::SeqCst);
            waited.map_or(503, |()| 200)
        }
    });
    let shop = Arc::new(telling(&place, &edge.endpoint()));
    let products = products(&place, 16);
    // While this one is under way …
    ordered(&shop, &[&products[0].0]).await;
    eventually("the first purge", || most.load(Ordering::SeqCst) == 1);
    let mut buyers = tokio::task::JoinSet::new();
    for (slug, _) in products.clone() {
        let shop = Arc::clone(&shop);
        buyers.spawn(async move { ordered(&shop, &[&slug]).await });
    }
    buyers.join_all().await;
    // … orders do not wait for it, …
    release.send(()).expect("is awaited");
    assert_eq!(edge.next().tags(), [&products[0].1]);
    // … and share the next, with the product of the first, which has changed again.
    release.send(()).expect("is awaited");
    let mut expected: Vec<&str> = products.iter().map(|(_, tag)| tag.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(edge.next().tags(), expected);
    edge.is_quiet();
    assert_eq!(most.load(Ordering::SeqCst), 1, "one call at a time");
}

#[tokio::test]
async fn an_edge_that_was_away_is_told_when_it_is_back() {
    let place = filled();
    let socket = place.folder.path().join("admin.sock");
    let log = place.folder.path().join("log");
    let shop = Shop::start_with(&place.database, |command| {
        command
            .args(["--purge", &format!("unix:{}", socket.display())])
            .stderr(File::create(&log).expect("a file"));
    });
    let warnings = |text: &str| {
        let log = std::fs::read_to_string(&log).expect("reads");
        log.lines().filter(|line| line.contains(text)).count()
    };
    let [(one, tag_one), (two, tag_two), (three, tag_three)] = &products(&place, 3)[..] else {
        unreachable!("three were asked for");
    };
    ordered(&shop, &[one]).await;
    eventually("a warning", || warnings("cannot connect") == 1);
    ordered(&shop, &[two]).await;

    // It comes back, and is not well at first.
    let tries = AtomicUsize::new(0);
    let edge = Edge::unix(&socket, move |_| {
        if tries.fetch_add(1, Ordering::SeqCst) < 3 {
            503
        } else {
            200
        }
    });
    for _ in 0..4 {
        assert_eq!(edge.next().tags(), [tag_one, tag_two]);
    }
    eventually("the good news", || warnings("takes purges again") == 1);
    assert_eq!(warnings("the edge takes no purges"), 2, "one of each kind");
    assert_eq!(warnings("it answered 503"), 1);
    ordered(&shop, &[three]).await;
    assert_eq!(edge.next().tags(), [tag_three]);
    drop(edge);

    // The next outage is another one.
    ordered(&shop, &[one]).await;
    eventually("a warning", || warnings("cannot connect") == 2);
}

#[tokio::test]
async fn too_much_for_one_purge_is_told_as_the_whole_shop() {
    let place = filled();
    let socket = place.folder.path().join("admin.sock");
    let shop = telling(&place, &format!("unix:{}", socket.display()));
    let products = products(&place, 270);
    let slugs: Vec<&str> = products.iter().map(|(slug, _)| slug.as_str()).collect();
    for slugs in slugs.chunks(30) {
        ordered(&shop, slugs).await;
    }
    let edge = Edge::unix(&socket, |_| 200);
    assert_eq!(edge.next().tags(), ["shop"]);
    edge.is_quiet();
}

#[tokio::test]
async fn over_tcp_the_token_goes_along() {
    let place = filled();
    let file = place.folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("writes");
    let new = "another token of more than 16 bytes";
    let accepted = Arc::new(std::sync::Mutex::new(TOKEN));
    let edge = Edge::tcp({
        let accepted = Arc::clone(&accepted);
        move |call| {
            let expected = format!("Bearer {}", accepted.lock().expect("no panic"));
            if call.field("authorization") == Some(&expected) {
                200
            } else {
                401
            }
        }
    });
    let other = Edge::unix(&place.folder.path().join("admin.sock"), |_| 200);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let log = place.folder.path().join("log");
    let shop = Shop::start_with(&place.database, |command| {
        let endpoints = format!("http://{address}, {},{}", edge.endpoint(), other.endpoint());
        command
            .env("DHAKACART_PURGE", endpoints)
            .env("DHAKACART_PURGE_TOKEN_FILE", &file)
            .stderr(File::create(&log).expect("a file"));
    });
    let [(one, tag_one), (two, tag_two)] = &products(&place, 2)[..] else {
        unreachable!("two were asked for");
    };
    // All edges are told; one that is away holds up none of the others.
    ordered(&shop, &[one]).await;
    let call = edge.next();
    assert_eq!(call.tags(), [tag_one]);
    assert_eq!(
        call.field("host"),
        edge.endpoint().strip_prefix("http://"),
        "{}",
        call.head
    );
    let call = other.next();
    assert_eq!(call.tags(), [tag_one]);
    assert_eq!(call.field("authorization"), None);

    // The edge gets another token, and the shop the same file.
    *accepted.lock().expect("no panic") = new;
    ordered(&shop, &[two]).await;
    assert_eq!(edge.next().tags(), [tag_two]);
    std::fs::write(&file, new).expect("writes");
    // Sooner or later, because one more try may have read the old one.
    while edge.next().field("authorization") != Some(&format!("Bearer {new}")) {}
    edge.is_quiet();
    let log = std::fs::read_to_string(&log).expect("reads");
    assert!(log.contains("it answered 401"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains(new), "{log}");
}

#[tokio::test]
async fn a_stopping_shop_tells_what_it_has_not_told() {
    let place = filled();
    let edge = Edge::unix(&place.folder.path().join("admin.sock"), |_| 200);
    let (slug, tag) = &products(&place, 1)[0];
    let mut shop = telling(&place, &edge.endpoint());
    ordered(&shop, &[slug]).await;
    let stop = |shop: &mut Shop| {
        let started = Instant::now();
        let sent = Command::new("kill").args(["-TERM", &shop.pid()]).status();
        assert!(sent.expect("kill runs").success());
        assert!(shop.child.wait().expect("ends").success());
        started.elapsed()
    };
    stop(&mut shop);
    assert_eq!(edge.next().tags(), [tag]);
    drop(edge);

    // An edge that does not answer holds up neither an order nor the end.
    let edge = Edge::unix(&place.folder.path().join("admin.sock"), |_| {
        std::thread::sleep(Duration::from_secs(8));
        200
    });
    let mut shop = telling(&place, &edge.endpoint());
    for _ in 0..3 {
        ordered(&shop, &[slug]).await;
    }
    let took = stop(&mut shop);
    assert!(took < Duration::from_secs(4), "took {took:?}");
}

#[test]
fn settings_that_cannot_work_are_refused_with_a_way_out() {
    let place = Place::new();
    let run = |variables: &[(&str, &str)]| {
        let mut command = command();
        command
            .args(["--listen", "127.0.0.1:0", "--database"])
            .arg(&place.database)
            .envs(variables.iter().copied());
        let output = command.output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let short = place.folder.path().join("short");
    std::fs::write(&short, "short\n").expect("writes");
    let short = short.to_str().expect("text");
    const TCP: (&str, &str) = ("DHAKACART_PURGE", "http://127.0.0.1:9900");
    const FILE: &str = "DHAKACART_PURGE_TOKEN_FILE";
    for (variables, code, reason) in [
        (
            &[("DHAKACART_PURGE", "yes please")][..],
            2,
            "write unix:/run/dhal/admin.sock or http://127.0.0.1:9900",
        ),
        (&[TCP], 1, "DHAKACART_PURGE_TOKEN_FILE"),
        (
            &[TCP, (FILE, "/nonexistent/token")],
            1,
            "cannot read the purge token from /nonexistent/token",
        ),
        (&[TCP, (FILE, short)], 1, "fewer than 16"),
        (
            &[("DHAKACART_PURGE", "unix:/a"), (FILE, short)],
            1,
            "leave the token out",
        ),
    ] {
        let (status, said) = run(variables);
        assert_eq!(status, Some(code), "{variables:?}: {said}");
        assert!(said.contains(reason), "{variables:?}: {said}");
    }
    assert!(!place.database.exists(), "refused before anything is made");
    // Empty variables are unset ones.
    drop(Shop::start_with(&place.database, |command| {
        command.env("DHAKACART_PURGE", "").env(FILE, "");
    }));
}
