//! What a cache in front relies on.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::shop::{Place, Shop, browser, customer, field, get, hidden, plentiful, text};

#[tokio::test]
async fn public_answers_can_be_shared_and_validated() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    // With a session, nothing may change.
    client
        .post(shop.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    let stranger = browser();
    let paths = [
        "/".to_owned(),
        "/products".to_owned(),
        "/categories/routers".to_owned(),
        "/search?q=wireless".to_owned(),
        format!("/products/{slug}"),
        format!("/images/{slug}.png"),
        "/api/products".to_owned(),
        format!("/api/products/{slug}"),
        "/favicon.svg".to_owned(),
    ];
    for path in &paths {
        let url = shop.at(path);
        let answer = get(&client, &url).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let headers = answer.headers().clone();
        assert!(
            field(&headers, "cache-control").starts_with("public, max-age="),
            "{path}"
        );
        assert!(
            headers.get("set-cookie").is_none() && headers.get("vary").is_none(),
            "{path}"
        );
        assert!(!field(&headers, "surrogate-key").is_empty(), "{path}");
        let etag = field(&headers, "etag");
        assert!(etag.starts_with('"'), "{path}");
        let body = answer.bytes().await.expect("a body");
        assert_eq!(
            body,
            get(&stranger, &url).await.bytes().await.expect("a body"),
            "{path}"
        );

        let head = client
            .request(Method::HEAD, &url)
            .send()
            .await
            .expect("an answer");
        assert_eq!(field(head.headers(), "etag"), etag, "{path}");
        assert_eq!(
            field(head.headers(), "content-length"),
            body.len().to_string(),
            "{path}"
        );

        let again = client
            .get(&url)
            .header("if-none-match", etag)
            .send()
            .await
            .expect("an answer");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(field(again.headers(), "etag"), etag, "{path}");
        assert_eq!(
            field(again.headers(), "cache-control"),
            field(&headers, "cache-control"),
            "{path}"
        );
        let other = client
            .get(&url)
            .header("if-none-match", "\"other\"")
            .send()
            .await
            .expect("an answer");
        assert_eq!(other.status(), StatusCode::OK, "{path}");
        if let Some(date) = headers.get("last-modified") {
            let since = client
                .get(&url)
                .header("if-modified-since", date)
                .send()
                .await
                .expect("an answer");
            assert_eq!(since.status(), StatusCode::NOT_MODIFIED, "{path}");
        }
    }
}

#[tokio::test]
async fn whatever_shows_a_price_carries_the_tag_of_the_product() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let sqlite = place.sqlite();
    let tag = |slug: &str| {
        let id: i64 = sqlite
            .query_row("SELECT id FROM products WHERE slug = ?1", [slug], |row| {
                row.get(0)
            })
            .expect("a product");
        format!("product-{id}")
    };
    for (path, own, products) in [
        ("/", "home", 12..=16),
        ("/products", "products", 24..=24),
        ("/products?page=3&sort=price-asc", "products", 24..=24),
        ("/categories/routers", "category-routers", 24..=24),
        ("/search?q=wireless", "search", 24..=24),
        (&format!("/products/{slug}"), "category-", 5..=5),
        ("/api/products?per_page=100", "products", 100..=100),
        ("/api/products?category=phones", "category-phones", 24..=24),
        (&format!("/api/products/{slug}"), "category-", 1..=1),
    ] {
        let answer = get(&client, &shop.at(path)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let headers = answer.headers().clone();
        let tags: HashSet<&str> = field(&headers, "surrogate-key").split(' ').collect();
        assert!(tags.len() <= 256, "{path}: {tags:?}");
        assert!(tags.contains("shop"), "{path}: {tags:?}");
        assert!(
            tags.iter().any(|tag| tag.starts_with(own)),
            "{path}: {tags:?}"
        );
        let body = answer.text().await.expect("a body");
        let shown: HashSet<String> = if path.starts_with("/api/") {
            body.split("\"slug\":\"")
                .skip(1)
                .map(|rest| tag(rest.split('"').next().expect("a slug")))
                .collect()
        } else {
            let cards = body
                .split("<li class=\"card\">")
                .skip(1)
                .map(|rest| rest.split('"').nth(1).expect("an address"));
            cards
                .chain(path.starts_with("/products/").then_some(path))
                .map(|path| tag(path.strip_prefix("/products/").expect("a product")))
                .collect()
        };
        assert!(products.contains(&shown.len()), "{path}: {}", shown.len());
        let tagged: HashSet<String> = tags
            .iter()
            .filter(|tag| tag.starts_with("product-"))
            .map(|tag| (*tag).to_owned())
            .collect();
        assert_eq!(tagged, shown, "{path}");
    }
}

#[tokio::test]
async fn the_style_sheet_never_expires() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let home = text(&client, &shop.url).await;
    let path = home
        .split("href=\"/static/")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a link");
    let answer = get(&client, &shop.at(&format!("/static/{path}"))).await;
    assert_eq!(
        field(answer.headers(), "cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(
        field(answer.headers(), "content-type"),
        "text/css; charset=utf-8"
    );
    assert_eq!(
        get(&client, &shop.at("/static/shop-0.css")).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn private_answers_are_never_kept() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    client
        .post(shop.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    for path in [
        "/cart",
        "/checkout",
        "/orders/DK-0",
        "/api/cart",
        "/api/orders/DK-0",
        "/healthz",
        "/nowhere",
    ] {
        let answer = get(&client, &shop.at(path)).await;
        assert_eq!(
            field(answer.headers(), "cache-control"),
            "private, no-store",
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_sale_changes_the_validators_of_the_product() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let url = shop.at(&format!("/products/{slug}"));
    let before = get(&client, &url).await.headers().clone();
    let order = json!({ "customer": customer(), "items": [{ "slug": slug, "quantity": 2 }] });
    let answer = client
        .post(shop.at("/api/orders"))
        .json(&order)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::CREATED);
    let request = client
        .get(&url)
        .header("if-none-match", field(&before, "etag"));
    let after = request.send().await.expect("an answer");
    assert_eq!(after.status(), StatusCode::OK);
    assert_ne!(field(after.headers(), "etag"), field(&before, "etag"));
    assert_ne!(
        field(after.headers(), "last-modified"),
        field(&before, "last-modified")
    );
}

#[tokio::test]
async fn two_instances_give_the_same_validators() {
    let (one, two) = (Place::new(), Place::new());
    let (one, two) = (Shop::start(&one.database), Shop::start(&two.database));
    let client = browser();
    let slug = plentiful(&client, &one, 20).await;
    for path in [
        "/".to_owned(),
        format!("/products/{slug}"),
        format!("/images/{slug}.png"),
    ] {
        let (a, b) = (
            get(&client, &one.at(&path)).await,
            get(&client, &two.at(&path)).await,
        );
        assert_eq!(
            field(a.headers(), "etag"),
            field(b.headers(), "etag"),
            "{path}"
        );
        assert_ne!(
            field(a.headers(), "x-served-by"),
            field(b.headers(), "x-served-by"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn tokens_are_on_private_pages_only() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    client
        .post(shop.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    let token = hidden(&text(&client, &shop.at("/cart")).await, "csrf");
    for path in ["/", "/products", &format!("/products/{slug}")] {
        let html = text(&client, &shop.at(path)).await;
        assert!(!html.contains(&token) && !html.contains("csrf"), "{path}");
    }
}
