//! From the cart to the order, in a browser.

use reqwest::{Client, StatusCode};

use crate::shop::{Place, Shop, browser, field, get, hidden, plentiful, stock, text};

/// A filled cart, and the checkout form as shown.
async fn at_checkout(client: &Client, shop: &Shop, slug: &str) -> String {
    let form = [("product", slug), ("quantity", "2")];
    client
        .post(shop.at("/cart/add"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    text(client, &shop.at("/checkout")).await
}

/// The fields of the form with a customer in them.
fn filled(html: &str) -> Vec<(&'static str, String)> {
    vec![
        ("csrf", hidden(html, "csrf")),
        ("key", hidden(html, "key")),
        ("total", hidden(html, "total")),
        ("name", "Rahima Khatun".to_owned()),
        ("phone", "+880 1712-345678".to_owned()),
        ("address", "House 12, Road 5, Dhanmondi, Dhaka".to_owned()),
    ]
}

#[tokio::test]
async fn an_order_is_placed_and_shown_to_its_owner_alone() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let (client, stranger) = (browser(), browser());
    let slug = plentiful(&client, &shop, 20).await;
    let before = stock(&client, &shop, &slug).await;
    let form = filled(&at_checkout(&client, &shop, &slug).await);
    let answer = client
        .post(shop.at("/checkout"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let order = field(answer.headers(), "location").to_owned();
    let page = get(&client, &shop.at(&order)).await;
    assert_eq!(page.status(), StatusCode::OK);
    let html = page.text().await.expect("a body");
    assert!(html.contains("Rahima Khatun") && html.contains("01712345678"));
    assert_eq!(stock(&client, &shop, &slug).await, before - 2);
    assert!(
        text(&client, &shop.at("/cart"))
            .await
            .contains("Nothing here yet")
    );

    assert_eq!(
        get(&stranger, &shop.at(&order)).await.status(),
        StatusCode::NOT_FOUND
    );
    stranger
        .post(shop.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        get(&stranger, &shop.at(&order)).await.status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_form_sent_many_times_at_once_makes_one_order() {
    let place = Place::new();
    let (one, two) = (Shop::start(&place.database), Shop::start(&place.database));
    let client = browser();
    let slug = plentiful(&client, &one, 20).await;
    let before = stock(&client, &one, &slug).await;
    let form = filled(&at_checkout(&client, &one, &slug).await);
    // Cookies belong to a host, whatever its port, so both instances know the session.
    let mut tasks = tokio::task::JoinSet::new();
    for attempt in 0..8 {
        let shop = if attempt % 2 == 0 { &one } else { &two };
        let request = client.post(shop.at("/checkout")).form(&form);
        tasks.spawn(async move {
            field(
                request.send().await.expect("an answer").headers(),
                "location",
            )
            .to_owned()
        });
    }
    let orders: std::collections::HashSet<String> = tasks.join_all().await.into_iter().collect();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert!(
        orders.iter().all(|order| order.starts_with("/orders/DK-")),
        "{orders:?}"
    );
    assert_eq!(stock(&client, &one, &slug).await, before - 2);
}

#[tokio::test]
async fn ordering_again_from_the_same_form_shows_the_first_order() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let mut form = filled(&at_checkout(&client, &shop, &slug).await);
    let first = client
        .post(shop.at("/checkout"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    form[3].1 = "Rahima Begum".to_owned();
    let second = client
        .post(shop.at("/checkout"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        field(second.headers(), "location"),
        field(first.headers(), "location")
    );
}

#[tokio::test]
async fn mistakes_are_shown_beside_the_fields_and_the_input_stays() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let mut form = filled(&at_checkout(&client, &shop, &slug).await);
    form[3].1 = "\"><b>Rahima".to_owned();
    form[4].1 = "12345".to_owned();
    form[5].1 = String::new();
    let answer = client
        .post(shop.at("/checkout"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let html = answer.text().await.expect("a body");
    assert!(
        html.contains("Bangladeshi mobile number")
            && html.contains("Please enter the delivery address.")
    );
    assert!(html.contains("value=\"12345\"") && html.contains("&#34;&#62;&#60;b&#62;Rahima"));
    // The key stays too, so that the corrected form is still the same wish.
    assert_eq!(hidden(&html, "key"), form[1].1);
}

#[tokio::test]
async fn a_cart_that_changed_meanwhile_is_not_ordered() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let client = browser();
    let slug = plentiful(&client, &shop, 20).await;
    let form = filled(&at_checkout(&client, &shop, &slug).await);
    client
        .post(shop.at("/cart/add"))
        .form(&[("product", &slug)])
        .send()
        .await
        .expect("an answer");
    let answer = client
        .post(shop.at("/checkout"))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    assert_eq!(field(answer.headers(), "location"), "/cart?notice=changed");
}

#[tokio::test]
async fn without_a_cart_there_is_no_checkout() {
    let place = Place::new();
    let shop = Shop::start(&place.database);
    let answer = get(&browser(), &shop.at("/checkout")).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(field(answer.headers(), "location"), "/cart");
}
