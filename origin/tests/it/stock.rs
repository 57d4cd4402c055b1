//! No more is sold than there is.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::json;

use crate::shop::{Place, Shop, browser, customer, plentiful, stock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_buyers_at_two_instances_get_no_more_than_there_is() {
    const BUYERS: usize = 120;
    let place = Place::new();
    let shops = Arc::new([Shop::start(&place.database), Shop::start(&place.database)]);
    let client = browser();
    let slug = plentiful(&client, &shops[0], 40).await;
    let pieces = stock(&client, &shops[0], &slug).await;
    // Leave fewer pieces than the buyers want: each wants one, two or three.
    let left = pieces.min(70);
    place
        .sqlite()
        .execute(
            "UPDATE products SET stock = ?1 WHERE slug = ?2",
            (left, &slug),
        )
        .expect("updates");

    let mut buyers = tokio::task::JoinSet::new();
    for buyer in 0..BUYERS {
        let (shops, slug) = (Arc::clone(&shops), slug.clone());
        buyers.spawn(async move {
            let quantity = i64::try_from(buyer % 3).expect("small") + 1;
            let order = json!({ "customer": customer(), "items": [{ "slug": slug, "quantity": quantity }] });
            let url = shops[buyer % 2].at("/api/orders");
            let answer = browser().post(url).json(&order).send().await.expect("an answer");
            match answer.status() {
                StatusCode::CREATED => quantity,
                StatusCode::CONFLICT => 0,
                status => panic!("buyer {buyer} got {status}"),
            }
        });
    }
    let sold: i64 = buyers.join_all().await.into_iter().sum();
    let remaining = stock(&client, &shops[1], &slug).await;
    assert_eq!(sold + remaining, left);
    // Whoever wanted one piece is refused only when none is left.
    assert_eq!(remaining, 0);
    let recorded: i64 = place
        .sqlite()
        .query_row("SELECT sum(quantity) FROM order_lines", [], |row| {
            row.get(0)
        })
        .expect("a sum");
    assert_eq!(recorded, sold);
}

#[tokio::test]
async fn an_order_that_cannot_be_filled_takes_nothing() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let scarce: String = place
        .sqlite()
        .query_row(
            "SELECT slug FROM products WHERE slug <> ?1 ORDER BY id DESC LIMIT 1",
            [&slug],
            |row| row.get(0),
        )
        .expect("a product");
    place
        .sqlite()
        .execute("UPDATE products SET stock = 1 WHERE slug = ?1", [&scarce])
        .expect("updates");
    let before = stock(&client, &shop, &slug).await;
    let items = json!([{ "slug": slug, "quantity": 3 }, { "slug": scarce, "quantity": 2 }]);
    let order = json!({ "customer": customer(), "items": items });
    let answer = client
        .post(shop.at("/api/orders"))
        .json(&order)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(stock(&client, &shop, &slug).await, before);
    assert_eq!(stock(&client, &shop, &scarce).await, 1);
}

#[test]
fn instances_that_start_together_fill_the_shop_once() {
    let place = Place::new();
    let shops: Vec<Shop> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Shop::start(&place.database)))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().expect("starts"))
            .collect()
    });
    assert_eq!(shops.len(), 4);
    let counted: (i64, i64) = place
        .sqlite()
        .query_row(
            "SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM settings)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("counts");
    assert_eq!(counted, (500, 1));
}
