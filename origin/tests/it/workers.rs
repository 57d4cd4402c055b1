//! A shop that does so much at once and no more.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::shop::{PATIENCE, Place, Shop, browser, field, get, text};

const DELAY: Duration = Duration::from_millis(100);

fn slow(place: &Place, workers: &str) -> Shop {
    let delay = DELAY.as_millis().to_string();
    Shop::start_with(&place.database, |command| {
        command.args(["--workers", workers, "--delay", &delay]);
    })
}

#[tokio::test]
async fn so_many_are_at_work_at_once_and_the_others_wait() {
    let place = Place::new();
    let shop = slow(&place, "2");
    let client = browser();
    let began = Instant::now();
    let asked = (0..10).map(|_| {
        let (client, url) = (client.clone(), shop.at("/cart"));
        tokio::spawn(async move { get(&client, &url).await.status() })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("ends"), StatusCode::OK);
    }
    // Ten by two workers are five turns; one after the other they would be ten.
    assert!(began.elapsed() >= DELAY * 5, "{:?}", began.elapsed());
}

#[tokio::test]
async fn files_and_health_checks_pass_those_who_wait() {
    let place = Place::new();
    let shop = Shop::start_with(&place.database, |command| {
        command.args(["--workers", "1", "--delay", "10000"]);
    });
    let client = browser();
    let waiting = {
        let (client, url) = (client.clone(), shop.at("/"));
        tokio::spawn(async move { get(&client, &url).await.status() })
    };
    let began = Instant::now();
    for path in ["/healthz", "/api/health", "/favicon.svg", "/robots.txt"] {
        assert_eq!(get(&client, &shop.at(path)).await.status(), StatusCode::OK);
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn what_was_asked_by_somebody_who_left_is_worked_all_the_same() {
    let place = Place::new();
    let shop = slow(&place, "1");
    let page = text(&browser(), &shop.at("/products")).await;
    let slug = page.split("href=\"/products/").nth(1).expect("a product");
    let slug = slug.split('"').next().expect("its name").to_owned();
    let hasty = reqwest::Client::builder()
        .timeout(DELAY / 2)
        .build()
        .expect("a client");
    let form = format!("product={slug}&quantity=1");
    let left = hasty
        .post(shop.at("/cart/add"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await;
    assert!(left.is_err_and(|error| error.is_timeout()));
    let deadline = Instant::now() + PATIENCE;
    let carts = || {
        let count = place
            .sqlite()
            .query_row("SELECT count(*) FROM cart_items", [], |row| row.get(0));
        count.unwrap_or(0_i64)
    };
    while carts() == 0 {
        assert!(Instant::now() < deadline, "the form was forgotten");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn beyond_the_queue_everybody_is_refused() {
    let place = Place::new();
    let shop = Shop::start_with(&place.database, |command| {
        command.args(["--workers", "1", "--delay", "10000"]);
    });
    let client = browser();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..520 {
        let (client, url) = (client.clone(), shop.at("/cart"));
        asked.spawn(async move { get(&client, &url).await });
    }
    // One is at work and 511 wait; the other eight hear so.
    for _ in 0..8 {
        let refused = asked.join_next().await.expect("one").expect("ends");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            field(refused.headers(), "cache-control"),
            "private, no-store"
        );
    }
}
