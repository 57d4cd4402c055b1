//! The JSON interface.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::shop::{Place, Shop, browser, customer, field, json as fetch, plentiful};

#[tokio::test]
async fn products_are_listed_with_filters_and_pages() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let all = fetch(
        &client,
        &shop.at("/api/products?per_page=100&page=5&sort=price-desc"),
    )
    .await;
    assert_eq!(
        (all["total"].as_i64(), all["pages"].as_i64()),
        (Some(500), Some(5))
    );
    let prices: Vec<i64> = all["products"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|p| p["price"].as_i64())
        .collect();
    assert_eq!(prices.len(), 100);
    assert!(prices.is_sorted_by(|a, b| a >= b));
    let some = fetch(
        &client,
        &shop.at("/api/products?category=watches&q=ultra+nothing"),
    )
    .await;
    assert_eq!(some["total"], 0);
    let some = fetch(
        &client,
        &shop.at("/api/products?category=watches&q=sapphire"),
    )
    .await;
    assert_eq!(some["total"], 5);
    let slug = some["products"][0]["slug"].as_str().expect("a slug");
    let one = fetch(&client, &shop.at(&format!("/api/products/{slug}"))).await;
    assert!(
        one["specs"]
            .as_array()
            .is_some_and(|specs| specs.len() >= 4)
    );
    assert_eq!(one["currency"], "BDT");
}

#[tokio::test]
async fn a_cart_can_be_kept() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let cart = shop.at("/api/cart");
    let line = format!("{cart}/{slug}");
    let added = client
        .post(&cart)
        .json(&json!({ "slug": slug, "quantity": 2 }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(added.status(), StatusCode::OK);
    let body: Value = added.json().await.expect("JSON");
    assert_eq!(body["count"], 2);
    for (method, quantity, status) in [
        ("PUT", 5, 200),
        ("PATCH", 4, 200),
        ("PUT", 0, 422),
        ("PUT", 11, 422),
    ] {
        let request = client
            .request(method.parse().expect("a method"), &line)
            .json(&json!({ "quantity": quantity }));
        assert_eq!(
            request.send().await.expect("an answer").status().as_u16(),
            status,
            "{method} {quantity}"
        );
    }
    assert_eq!(fetch(&client, &cart).await["count"], 4);
    let beyond = client
        .post(&cart)
        .json(&json!({ "slug": slug, "quantity": 7 }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(beyond.status(), StatusCode::CONFLICT);
    assert_eq!(
        beyond.json::<Value>().await.expect("JSON")["error"]["code"],
        "insufficient_stock"
    );
    assert_eq!(fetch(&client, &cart).await["count"], 4);
    client.delete(&line).send().await.expect("an answer");
    assert_eq!(fetch(&client, &cart).await["total"], 0);
    let gone = client
        .put(&line)
        .json(&json!({ "quantity": 1 }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    client
        .post(&cart)
        .json(&json!({ "slug": slug }))
        .send()
        .await
        .expect("an answer");
    client.delete(&cart).send().await.expect("an answer");
    assert_eq!(fetch(&client, &cart).await["count"], 0);
}

#[tokio::test]
async fn orders_are_placed_once_per_key() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let orders = shop.at("/api/orders");
    let order = |quantity: i64| json!({ "customer": customer(), "items": [{ "slug": slug, "quantity": quantity }] });
    let send = async |body: &Value| {
        client
            .post(&orders)
            .header("idempotency-key", "one")
            .json(body)
            .send()
            .await
            .expect("an answer")
    };
    let first = send(&order(1)).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let location = field(first.headers(), "location").to_owned();
    let first: Value = first.json().await.expect("JSON");
    let repeat = send(&order(1)).await;
    assert_eq!(repeat.status(), StatusCode::OK);
    assert_eq!(repeat.json::<Value>().await.expect("JSON"), first);
    let other = send(&order(2)).await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    assert_eq!(
        other.json::<Value>().await.expect("JSON")["error"]["code"],
        "idempotency_key_reused"
    );
    assert_eq!(fetch(&client, &shop.at(&location)).await, first);
    let stranger = browser()
        .get(shop.at(&location))
        .send()
        .await
        .expect("an answer");
    assert_eq!(stranger.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn impossible_orders_are_refused_with_a_reason() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let nobody = json!({ "name": "", "phone": "1", "address": "" });
    let item = |quantity: i64| json!({ "slug": slug, "quantity": quantity });
    let many = Value::Array((0..31).map(|_| item(1)).collect());
    for (body, status, code) in [
        (
            json!({ "customer": nobody, "items": [item(1)] }),
            422,
            "invalid_customer",
        ),
        (
            json!({ "customer": customer(), "items": [item(0)] }),
            422,
            "invalid_quantity",
        ),
        (
            json!({ "customer": customer(), "items": [item(1), item(1)] }),
            422,
            "duplicate_item",
        ),
        (
            json!({ "customer": customer(), "items": many }),
            422,
            "too_many_items",
        ),
        (
            json!({ "customer": customer(), "items": [] }),
            409,
            "cart_empty",
        ),
        (json!({ "customer": customer() }), 409, "cart_empty"),
        (
            json!({ "customer": customer(), "items": [{ "slug": "x", "quantity": 1 }] }),
            404,
            "not_found",
        ),
        (
            json!({ "customer": customer(), "idempotency_key": "" }),
            422,
            "invalid_idempotency_key",
        ),
        (
            json!({ "customer": customer(), "extra": 1 }),
            422,
            "invalid",
        ),
        (json!({}), 422, "invalid"),
    ] {
        let answer = client
            .post(shop.at("/api/orders"))
            .json(&body)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{body}");
        let error: Value = answer.json().await.expect("JSON");
        assert_eq!(error["error"]["code"], code, "{body}");
        assert_eq!(
            error["error"]["fields"].is_object(),
            code == "invalid_customer",
            "{body}"
        );
    }
    let request = client
        .post(shop.at("/api/orders"))
        .header("content-type", "application/json")
        .body("{");
    assert_eq!(
        request.send().await.expect("an answer").status(),
        StatusCode::BAD_REQUEST
    );
}
