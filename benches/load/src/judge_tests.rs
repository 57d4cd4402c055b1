use http::HeaderMap;

use super::*;
use crate::catalog;

fn answer(status: u16, fields: &[(&'static str, &str)], body: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.insert(*name, value.parse().expect("a value"));
    }
    Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        fields: map,
        body: body.as_bytes().to_vec(),
    }
}

fn judged(action: Action, answer: &Answer, business: &mut Business) -> Fate {
    judge(&action, answer, &catalog::small(), business)
}

#[test]
fn statuses() {
    for (status, fields, fate) in [
        (429, &[][..], Fate::Limited),
        (409, &[], Fate::Conflict),
        (404, &[], Fate::ClientError),
        (503, &[("retry-after", "10")], Fate::Busy),
        (503, &[], Fate::ServerError),
        (502, &[], Fate::ServerError),
        (302, &[], Fate::WrongContent),
    ] {
        let answer = answer(status, fields, "");
        assert_eq!(
            judged(Action::Home, &answer, &mut Business::default()),
            fate,
            "{status}"
        );
    }
}

#[test]
fn a_page_must_be_whole_and_the_product_asked_for() {
    for (body, fate) in [
        ("<h1>Phone &#38; One</h1></html>\n", Fate::Right),
        ("<h1>Phone &#38; One</h1>", Fate::WrongContent),
        ("<h1>Two</h1></html>", Fate::WrongPage),
        (
            "<h1>We are back in a moment</h1></html>",
            Fate::WrongContent,
        ),
        ("", Fate::WrongContent),
    ] {
        let answer = answer(200, &[], body);
        assert_eq!(
            judged(Action::Product(0), &answer, &mut Business::default()),
            fate,
            "{body}"
        );
    }
}

#[test]
fn a_cart_is_ones_own_and_loses_nothing() {
    let mut business = Business::default();
    let added = answer(303, &[("location", "/cart?notice=added")], "");
    assert_eq!(judged(Action::Add(1), &added, &mut business), Fate::Right);
    let cart = |csrf: &str, slug: &str| {
        let body = format!(
            "<h1>Your cart</h1><input name=\"csrf\" value=\"{csrf}\"><input name=\"product\" value=\"{slug}\"></html>"
        );
        answer(200, &[], &body)
    };
    assert_eq!(
        judged(Action::Cart, &cart("mine", "two"), &mut business),
        Fate::Right
    );
    assert_eq!(
        judged(Action::Cart, &cart("mine", "one"), &mut business),
        Fate::WrongContent
    );
    assert_eq!(
        judged(Action::Cart, &cart("yours", "two"), &mut business),
        Fate::WrongPage
    );
    let emptied = answer(303, &[("location", "/cart")], "");
    assert_eq!(
        judged(Action::CheckoutForm, &emptied, &mut business),
        Fate::WrongContent
    );
    business.in_cart.clear();
    assert_eq!(
        judged(Action::CheckoutForm, &emptied, &mut business),
        Fate::Conflict
    );
}

#[test]
fn an_order_is_the_visitors() {
    let mut business = Business {
        name: "Visitor 7".to_owned(),
        ..Business::default()
    };
    let placed = answer(303, &[("location", "/orders/DC-1")], "");
    assert_eq!(
        judged(Action::Checkout, &placed, &mut business),
        Fate::Right
    );
    for (body, fate) in [
        ("<h1>Thank you, Visitor 7</h1>DC-1</html>", Fate::Right),
        (
            "<h1>Thank you, Visitor 7</h1>DC-2</html>",
            Fate::WrongContent,
        ),
        ("<h1>Thank you, Visitor 8</h1>DC-1</html>", Fate::WrongPage),
    ] {
        assert_eq!(
            judged(Action::Order, &answer(200, &[], body), &mut business),
            fate,
            "{body}"
        );
    }
    let lost = answer(303, &[("location", "/")], "");
    assert_eq!(
        judged(Action::Checkout, &lost, &mut business),
        Fate::WrongContent
    );
}

#[test]
fn a_picture_stays_the_same() {
    let catalog = catalog::small();
    let picture = |sum: &str| format!("{sum}\0\0\0\0IEND\u{1}\u{2}\u{3}\u{4}");
    let of = |sum: &str| {
        let mut answer = answer(200, &[], "");
        answer.body = b"\x89PNG\r\n\x1a\n".to_vec();
        answer.body.extend_from_slice(picture(sum).as_bytes());
        answer
    };
    let mut business = Business::default();
    let mut look = |product, sum| judge(&Action::Image(product), &of(sum), &catalog, &mut business);
    assert_eq!(look(0, "aaaa"), Fate::Right);
    assert_eq!(look(0, "aaaa"), Fate::Right);
    assert_eq!(look(0, "bbbb"), Fate::WrongContent);
    assert_eq!(look(1, "bbbb"), Fate::Right);
}
