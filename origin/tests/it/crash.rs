//! What was acknowledged survives a kill.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::shop::{Place, Shop, browser, customer, eventually, json as fetch};

fn stocks(place: &Place) -> HashMap<i64, i64> {
    let connection = place.sqlite();
    let mut statement = connection
        .prepare("SELECT id, stock FROM products")
        .expect("prepares");
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("queries");
    rows.collect::<Result<_, _>>().expect("reads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_orders_survive_sigkill() {
    let place = Place::new();
    let mut shop = Shop::start(&place.database);
    let client = browser();
    let products = fetch(&client, &shop.at("/api/products?per_page=100")).await;
    let slugs: Vec<String> = products["products"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|product| product["stock"].as_i64() >= Some(20))
        .map(|product| product["slug"].as_str().expect("a slug").to_owned())
        .collect();
    let before = stocks(&place);

    let mut acknowledged = HashSet::new();
    // Several times, because each kill hits a different moment.
    for round in 0..3 {
        let count = Arc::new(AtomicUsize::new(0));
        let mut buyers = tokio::task::JoinSet::new();
        for buyer in 0..8 {
            let (slugs, count, url) = (slugs.clone(), Arc::clone(&count), shop.at("/api/orders"));
            buyers.spawn(async move {
                let client = browser();
                let mut orders = Vec::new();
                for turn in 0.. {
                    let slug = &slugs[(buyer * 7 + turn + round) % slugs.len()];
                    let items = json!([{ "slug": slug, "quantity": 1 + turn % 2 }]);
                    let order = json!({ "customer": customer(), "items": items });
                    let Ok(answer) = client.post(&url).json(&order).send().await else {
                        break;
                    };
                    match answer.status() {
                        StatusCode::CREATED => {}
                        StatusCode::CONFLICT => continue,
                        status => panic!("unexpected {status}"),
                    }
                    let Ok(body) = answer.json::<Value>().await else {
                        break;
                    };
                    orders.push(body["id"].as_str().expect("a name").to_owned());
                    count.fetch_add(1, Ordering::Relaxed);
                }
                orders
            });
        }
        tokio::task::block_in_place(|| {
            eventually("forty orders", || count.load(Ordering::Relaxed) >= 40);
            shop.kill();
        });
        for orders in buyers.join_all().await {
            acknowledged.extend(orders);
        }
        shop = Shop::start(&place.database);
    }

    let connection = place.sqlite();
    let check: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checks");
    assert_eq!(check, "ok");
    for id in &acknowledged {
        let lines: i64 = connection
            .query_row(
                "SELECT count(*) FROM orders JOIN order_lines ON order_id = id WHERE id = ?1",
                [id],
                |row| row.get(0),
            )
            .expect("counts");
        assert_eq!(lines, 1, "order {id} was acknowledged and is lost");
    }
    let mut sold: HashMap<i64, i64> = HashMap::new();
    let mut statement = connection
        .prepare("SELECT product_id, sum(quantity) FROM order_lines GROUP BY 1")
        .expect("prepares");
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("queries");
    for row in rows {
        let (product, quantity) = row.expect("reads");
        sold.insert(product, quantity);
    }
    for (product, initial) in &before {
        let remaining = stocks_of(&connection, *product);
        assert_eq!(
            remaining + sold.get(product).copied().unwrap_or(0),
            *initial,
            "product {product}"
        );
    }
    assert!(acknowledged.len() >= 120);
    assert_eq!(fetch(&client, &shop.at("/healthz")).await["status"], "ok");
}

fn stocks_of(connection: &rusqlite::Connection, product: i64) -> i64 {
    connection
        .query_row(
            "SELECT stock FROM products WHERE id = ?1",
            [product],
            |row| row.get(0),
        )
        .expect("a product")
}
