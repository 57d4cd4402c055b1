//! Starting, stopping, and what operators see.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::shop::{
    PATIENCE, Place, Shop, browser, command, customer, eventually, field, get, json, plentiful,
};

fn signal(shop: &Shop, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &shop.pid()])
            .status()
            .expect("kill runs")
            .success()
    );
}

fn refused(output: &Output, reason: &str) {
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("dhakacart-origin: ") && said.contains(reason),
        "{said}"
    );
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn refusals_to_start_say_why_in_a_line() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("an address").to_string();
    let run = |arguments: &[&str], secret: &str| {
        let mut command = command();
        command
            .args(arguments)
            .env("DHAKACART_DATABASE", &place.database);
        if !secret.is_empty() {
            command.env("DHAKACART_SECRET", secret);
        }
        command.output().expect("runs")
    };
    refused(&run(&["--listen", &address], ""), "Address already in use");
    let free = ["--listen", "127.0.0.1:0"];
    refused(
        &run(
            &[&free[..], &["--database", "/nonexistent/shop.sqlite3"]].concat(),
            "",
        ),
        "/nonexistent/shop.sqlite3",
    );
    refused(&run(&free, "short"), "at least 32");
    std::fs::write(
        &place.database,
        "this is no database, and long enough to be seen as such".repeat(20),
    )
    .expect("writes");
    refused(&run(&free, ""), "not a database");
    assert_eq!(run(&["--listen", "nowhere"], "").status.code(), Some(2));
}

#[test]
fn the_database_is_for_its_owner_only() {
    let place = Place::new();
    let _shop = Shop::start(&place.database);
    let mode = place
        .database
        .metadata()
        .expect("exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn health_follows_the_database() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let check = || {
        let mut command = command();
        command
            .args(["healthcheck", "--url", &shop.at("/healthz")])
            .status()
            .expect("runs")
            .code()
    };
    assert_eq!(
        get(&client, &shop.at("/healthz")).await.status(),
        StatusCode::OK
    );
    assert_eq!(check(), Some(0));
    // A writer elsewhere is no failure.
    let other = place.sqlite();
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    assert_eq!(
        get(&client, &shop.at("/healthz")).await.status(),
        StatusCode::OK
    );
    other.execute_batch("ROLLBACK").expect("unlocks");

    other
        .execute_batch("ALTER TABLE products RENAME TO hidden")
        .expect("renames");
    let answer = get(&client, &shop.at("/healthz")).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(field(answer.headers(), "retry-after"), "1");
    assert_eq!(check(), Some(1));
    assert_eq!(
        get(&client, &shop.at("/products")).await.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    other
        .execute_batch("ALTER TABLE hidden RENAME TO products")
        .expect("renames");
    assert_eq!(
        get(&client, &shop.at("/healthz")).await.status(),
        StatusCode::OK
    );

    std::fs::rename(&place.database, place.folder.path().join("moved")).expect("moves");
    assert_eq!(
        get(&client, &shop.at("/api/health")).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[test]
fn a_stopping_shop_finishes_what_it_serves() {
    let place = Place::new();
    let mut shop = Shop::start_with(&place.database, |command| {
        command.args(["--name", "shop-a"]);
    });
    let mut request = TcpStream::connect(shop.authority()).expect("connects");
    request.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let body = "product=no-such-product";
    let length = body.len();
    write!(
        request,
        "POST /cart/add HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    )
    .expect("sends");
    // The shop asks for the body, so the request is in progress.
    let mut interim = [0; 25];
    request.read_exact(&mut interim).expect("reads");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    signal(&shop, "-TERM");
    eventually("refusing connections", || {
        TcpStream::connect(shop.authority()).is_err()
    });
    request.write_all(body.as_bytes()).expect("sends");
    let mut answer = String::new();
    request
        .read_to_string(&mut answer)
        .expect("reads until the connection is closed");
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(
        answer.contains("x-served-by: shop-a\r\n") && answer.trim_end().ends_with("</html>"),
        "{answer}"
    );
    eventually("the end", || {
        shop.child.try_wait().expect("waits").is_some()
    });
    assert_eq!(shop.child.wait().expect("has ended").code(), Some(0));
}

#[test]
fn a_stopping_shop_does_not_wait_for_idle_connections() {
    let place = Place::new();
    let mut shop = Shop::start(&place.database);
    let mut idle = TcpStream::connect(shop.authority()).expect("connects");
    write!(idle, "GET /healthz HTTP/1.1\r\nHost: shop.example\r\n\r\n").expect("sends");
    idle.read_exact(&mut [0; 12]).expect("is answered");
    let started = Instant::now();
    signal(&shop, "-INT");
    eventually("the end", || {
        shop.child.try_wait().expect("waits").is_some()
    });
    assert_eq!(shop.child.wait().expect("has ended").code(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "took {:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn sessions_survive_a_restart_and_are_shared_by_instances() {
    let place = Place::new();
    let first = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &first, 20).await;
    client
        .post(first.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    drop(first);
    let second = Shop::start(&place.database);
    assert_eq!(json(&client, &second.at("/api/cart")).await["count"], 1);
    // Another secret makes other sessions.
    let third = Shop::start_with(&place.database, |command| {
        command.env(
            "DHAKACART_SECRET",
            "another secret of more than thirty-two bytes",
        );
    });
    assert_eq!(json(&client, &third.at("/api/cart")).await["count"], 0);
}

#[tokio::test]
async fn an_access_log_is_written_when_asked_for() {
    let place = Place::new();
    let mut shop = Shop::start_with(&place.database, |command| {
        command
            .env("RUST_LOG", "info")
            .stderr(std::process::Stdio::piped());
    });
    let order = serde_json::json!({ "customer": customer(), "items": [] });
    browser()
        .post(shop.at("/api/orders"))
        .json(&order)
        .send()
        .await
        .expect("an answer");
    shop.kill();
    let mut log = String::new();
    shop.child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut log)
        .expect("reads");
    assert!(log.contains("/api/orders") && log.contains("409"), "{log}");
    assert!(
        !log.contains("Rahima"),
        "customers do not belong into the log"
    );
}
