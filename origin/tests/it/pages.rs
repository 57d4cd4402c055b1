//! Pages and the cart, as a browser without scripts uses them.

use reqwest::StatusCode;

use crate::shop::{Place, Shop, browser, field, get, hidden, plentiful, text};

#[tokio::test]
async fn every_product_has_a_page_a_picture_and_a_place_in_a_list() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let mut seen = std::collections::BTreeSet::new();
    for page in 1..=21 {
        let html = text(&client, &shop.at(&format!("/products?page={page}"))).await;
        let links = html
            .split("href=\"/products/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        seen.extend(links.map(str::to_owned));
    }
    assert_eq!(seen.len(), 500);
    for slug in seen.iter().step_by(25) {
        let answer = get(&client, &shop.at(&format!("/products/{slug}"))).await;
        assert_eq!(answer.status(), StatusCode::OK, "{slug}");
        let html = answer.text().await.expect("a body");
        assert!(
            html.contains("৳") && html.contains("Specifications"),
            "{slug}"
        );
        let answer = get(&client, &shop.at(&format!("/images/{slug}.png"))).await;
        assert_eq!(
            field(answer.headers(), "content-type"),
            "image/png",
            "{slug}"
        );
    }
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_searched() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    for (path, text_expected) in [
        ("/categories/phones", "50 products"),
        ("/search?q=5g+amoled", "products"),
        ("/search?q=", "500 products"),
        ("/search?q=nothing-is-called-this", "Nothing matches"),
        ("/search?q=%3Cscript%3E", "&#60;script&#62;"),
        ("/products?sort=price-asc", "Price: low to high"),
    ] {
        let answer = get(&client, &shop.at(path)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let html = answer.text().await.expect("a body");
        assert!(html.contains(text_expected), "{path}");
        assert!(!html.contains("<script"), "{path}");
    }
    for path in [
        "/products?page=0",
        "/products?page=22",
        "/products?page=x",
        "/products?sort=x",
        "/categories/x",
    ] {
        assert_eq!(
            get(&client, &shop.at(path)).await.status(),
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let answer = get(&client, &shop.at("/products?page=1&page=2")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let answer = get(&client, &shop.at("/products/%ff")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(
        field(answer.headers(), "content-type"),
        "text/html; charset=utf-8"
    );
}

#[tokio::test]
async fn a_cart_is_filled_changed_and_emptied() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let add = |quantity: &'static str| {
        client
            .post(shop.at("/cart/add"))
            .form(&[("product", slug.as_str()), ("quantity", quantity)])
            .send()
    };
    let answer = add("2").await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(field(answer.headers(), "location"), "/cart?notice=added");
    let cookie = field(answer.headers(), "set-cookie");
    assert!(
        cookie.starts_with("session=")
            && cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax")
    );
    assert!(!cookie.contains("Secure"), "{cookie}");

    let answer = add("9").await.expect("an answer");
    assert_eq!(field(answer.headers(), "location"), "/cart?notice=limited");
    let html = text(&client, &shop.at("/cart")).await;
    assert!(html.contains("<option selected>10</option>"));

    let csrf = hidden(&html, "csrf");
    let fields = [
        ("csrf", csrf.as_str()),
        ("product", slug.as_str()),
        ("quantity", "3"),
    ];
    let answer = client
        .post(shop.at("/cart/update"))
        .form(&fields)
        .send()
        .await
        .expect("an answer");
    assert_eq!(field(answer.headers(), "location"), "/cart?notice=updated");
    assert!(
        text(&client, &shop.at("/cart"))
            .await
            .contains("<option selected>3</option>")
    );

    for quantity in ["0", "11", "-1", "many"] {
        let status = add(quantity).await.expect("an answer").status();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{quantity}");
    }
    let answer = client
        .post(shop.at("/cart/remove"))
        .form(&fields)
        .send()
        .await
        .expect("an answer");
    assert_eq!(field(answer.headers(), "location"), "/cart?notice=removed");
    assert!(
        text(&client, &shop.at("/cart"))
            .await
            .contains("Nothing here yet")
    );
}

#[tokio::test]
async fn requests_of_other_sites_are_refused() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let own = shop.url.clone();
    let rows: [(&[(&str, &str)], StatusCode); 6] = [
        (&[("origin", own.as_str())], StatusCode::SEE_OTHER),
        (&[("sec-fetch-site", "same-origin")], StatusCode::SEE_OTHER),
        (
            &[
                ("origin", "https://shop.example"),
                ("x-forwarded-host", "shop.example"),
            ],
            StatusCode::SEE_OTHER,
        ),
        (&[("origin", "https://evil.example")], StatusCode::FORBIDDEN),
        (&[("origin", "null")], StatusCode::FORBIDDEN),
        (&[("sec-fetch-site", "cross-site")], StatusCode::FORBIDDEN),
    ];
    for (fields, status) in rows {
        let mut request = client
            .post(shop.at("/cart/add"))
            .form(&[("product", &slug)]);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        assert_eq!(
            request.send().await.expect("an answer").status(),
            status,
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn private_forms_need_the_token_of_their_session() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let (victim, attacker) = (browser(), browser());
    let slug = plentiful(&victim, &shop, 20).await;
    for client in [&victim, &attacker] {
        client
            .post(shop.at("/cart/add"))
            .form(&[("product", &slug)])
            .send()
            .await
            .expect("an answer");
    }
    let foreign = hidden(&text(&attacker, &shop.at("/cart")).await, "csrf");
    for (path, csrf) in [
        ("/cart/remove", foreign.as_str()),
        ("/cart/update", foreign.as_str()),
        ("/checkout", foreign.as_str()),
        ("/cart/remove", ""),
        ("/cart/remove", "zz"),
    ] {
        let fields = [
            ("csrf", csrf),
            ("product", slug.as_str()),
            ("quantity", "2"),
            ("key", "k"),
            ("total", "1"),
        ];
        let answer = victim
            .post(shop.at(path))
            .form(&fields)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {csrf}");
    }
    assert!(
        text(&victim, &shop.at("/cart"))
            .await
            .contains("<option selected>1</option>")
    );
}

#[tokio::test]
async fn a_forged_cookie_is_no_session() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let answer = client
        .post(shop.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    let cookie = field(answer.headers(), "set-cookie")
        .split(';')
        .next()
        .expect("a pair")
        .to_owned();
    let other = browser();
    let with = |cookie: String| {
        other
            .get(shop.at("/api/cart"))
            .header("cookie", cookie)
            .send()
    };
    let count = async |cookie: String| {
        with(cookie)
            .await
            .expect("an answer")
            .json::<serde_json::Value>()
            .await
            .expect("JSON")["count"]
            .as_i64()
    };
    assert_eq!(count(cookie.clone()).await, Some(1));
    // The last character before padding and the name inside are both signed.
    let mut forged = cookie.clone();
    let last = forged.pop().expect("not empty");
    forged.push(if last == '0' { '1' } else { '0' });
    assert_eq!(count(forged).await, Some(0));
    assert_eq!(
        count("session=0123456789abcdef0123456789abcdef".to_owned()).await,
        Some(0)
    );
}

#[tokio::test]
async fn answers_to_requests_over_tls_set_secure_cookies() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let request = client
        .post(shop.at("/cart/add"))
        .header("x-forwarded-proto", "https")
        .form(&[("product", &slug)]);
    let answer = request.send().await.expect("an answer");
    assert!(field(answer.headers(), "set-cookie").contains("Secure"));
}

#[tokio::test]
async fn failures_have_the_form_the_client_reads() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let page = get(&client, &shop.at("/nowhere")).await;
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert_eq!(field(page.headers(), "cache-control"), "private, no-store");
    assert!(
        page.text()
            .await
            .expect("a body")
            .contains("We could not find that")
    );
    for (method, path, status, code) in [
        ("GET", "/api/nowhere", 404, "not_found"),
        ("GET", "/api/products/nowhere", 404, "not_found"),
        ("PUT", "/api/products", 405, "method_not_allowed"),
        ("POST", "/api/cart", 415, "unsupported_media_type"),
        ("GET", "/api/products?page=x", 400, "malformed"),
        ("GET", "/api/products?category=x", 400, "malformed"),
    ] {
        let method = method.parse().expect("a method");
        let answer = client
            .request(method, shop.at(path))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let body: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], code, "{path}");
        assert!(body["error"]["message"].is_string(), "{path}");
    }
    let huge = "x".repeat(40_000);
    let answer = client
        .post(shop.at("/cart/add"))
        .form(&[("product", &huge)])
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
