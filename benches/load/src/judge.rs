//! Whether an answer is the one that was asked for.

use http::{StatusCode, header};
use memchr::memmem;

use crate::{browser::Answer, catalog::Catalog, fate::Fate, html, plan::Action};

/// What a visitor knows of his own business with the shop.
#[derive(Debug, Default)]
pub(crate) struct Business {
    /// His name, which nobody else has.
    pub(crate) name: String,
    /// Products the shop said are in his cart.
    pub(crate) in_cart: Vec<usize>,
    /// The token of his session's forms.
    pub(crate) csrf: Option<String>,
    /// Key and total of the order form.
    pub(crate) form: Option<(String, String)>,
    /// His last order's number.
    pub(crate) order: Option<String>,
}

/// Judges an answer, and takes from it what the visitor's next steps need.
pub(crate) fn judge(
    action: &Action,
    answer: &Answer,
    catalog: &Catalog,
    business: &mut Business,
) -> Fate {
    let status = answer.status;
    let refused = match status {
        StatusCode::TOO_MANY_REQUESTS => Some(Fate::Limited),
        StatusCode::CONFLICT => Some(Fate::Conflict),
        StatusCode::SERVICE_UNAVAILABLE if answer.fields.contains_key(header::RETRY_AFTER) => {
            Some(Fate::Busy)
        }
        _ if status.is_client_error() => Some(Fate::ClientError),
        _ if status.is_server_error() => Some(Fate::ServerError),
        _ => None,
    };
    if let Some(fate) = refused {
        return fate;
    }
    let judged = match action {
        Action::Add(product) => added(answer, *product, business),
        Action::CheckoutForm => checkout_form(answer, business),
        Action::Checkout => ordered(answer, business),
        Action::ApiOrder(product) => api_order(answer, catalog, *product, business),
        _ if status != StatusCode::OK => Some(Fate::WrongContent),
        Action::Product(product) => product_page(answer, catalog, *product),
        Action::Home => page(
            answer,
            memmem::find(&answer.body, b"<title>DhakaCart</title>").is_some(),
        ),
        Action::Products(_) => titled(answer, "All products"),
        Action::Category(category) => {
            let mark = format!(
                "/categories/{}\" aria-current",
                catalog.categories[*category]
            );
            page(
                answer,
                memmem::find(&answer.body, mark.as_bytes()).is_some(),
            )
        }
        Action::Search(words) => titled(answer, &format!("Results for “{words}”")),
        Action::Cart => cart(answer, catalog, business),
        Action::Order => order(answer, business),
        Action::StyleSheet => only(catalog.is_style_sheet(&answer.body)),
        Action::Image(product) => only(catalog.is_picture(*product, &answer.body)),
        Action::ApiProducts(page) => json(answer, &format!("\"page\":{page},")),
        Action::ApiProduct(product) => json(
            answer,
            &format!("\"slug\":\"{}\"", catalog.products[*product].slug),
        ),
        Action::ApiCart(product) => {
            let wanted = format!("\"slug\":\"{}\"", catalog.products[*product].slug);
            json(answer, &wanted)
        }
        Action::Get(_) => None,
    };
    judged.unwrap_or(Fate::Right)
}

/// Nothing wrong, or the wrong content.
fn only(right: bool) -> Option<Fate> {
    (!right).then_some(Fate::WrongContent)
}

/// A page must be whole, too.
fn page(answer: &Answer, right: bool) -> Option<Fate> {
    only(right && answer.body.trim_ascii_end().ends_with(b"</html>"))
}

fn titled(answer: &Answer, heading: &str) -> Option<Fate> {
    page(
        answer,
        html::heading(&answer.body).as_deref() == Some(heading),
    )
}

fn json(answer: &Answer, part: &str) -> Option<Fate> {
    let whole = answer.body.trim_ascii_end().ends_with(b"}");
    only(whole && memmem::find(&answer.body, part.as_bytes()).is_some())
}

fn product_page(answer: &Answer, catalog: &Catalog, product: usize) -> Option<Fate> {
    match html::heading(&answer.body) {
        Some(name) if name == catalog.products[product].name => page(answer, true),
        Some(name) if catalog.is_name(&name) => Some(Fate::WrongPage),
        _ => Some(Fate::WrongContent),
    }
}

fn location(answer: &Answer) -> &str {
    let is_other = answer.status == StatusCode::SEE_OTHER;
    let location = answer.fields.get(header::LOCATION).filter(|_| is_other);
    location
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn added(answer: &Answer, product: usize, business: &mut Business) -> Option<Fate> {
    match location(answer) {
        "/cart?notice=added" => {
            business.in_cart.push(product);
            None
        }
        "/cart?notice=limited" => {
            business.in_cart.push(product);
            Some(Fate::Conflict)
        }
        _ => Some(Fate::WrongContent),
    }
}

/// His cart, which holds all that the shop said it does.
fn cart(answer: &Answer, catalog: &Catalog, business: &mut Business) -> Option<Fate> {
    if let (Some(token), Some(known)) = (html::hidden(&answer.body, "csrf"), &business.csrf)
        && token != *known
    {
        return Some(Fate::WrongPage);
    }
    business.csrf = html::hidden(&answer.body, "csrf").or_else(|| business.csrf.take());
    let holds = |product: &usize| {
        let line = format!(
            "name=\"product\" value=\"{}\"",
            catalog.products[*product].slug
        );
        memmem::find(&answer.body, line.as_bytes()).is_some()
    };
    titled(answer, "Your cart").or_else(|| only(business.in_cart.iter().all(holds)))
}

fn checkout_form(answer: &Answer, business: &mut Business) -> Option<Fate> {
    match location(answer) {
        "/cart?notice=stock" => return Some(Fate::Conflict),
        // An empty cart is the visitor's own doing only if nothing was put in.
        "/cart" if business.in_cart.is_empty() => return Some(Fate::Conflict),
        _ => {}
    }
    let field = |name| html::hidden(&answer.body, name);
    let (Some(csrf), Some(key), Some(total)) = (field("csrf"), field("key"), field("total")) else {
        return Some(Fate::WrongContent);
    };
    if business.csrf.as_ref().is_some_and(|known| *known != csrf) {
        return Some(Fate::WrongPage);
    }
    business.csrf = Some(csrf);
    business.form = Some((key, total));
    titled(answer, "Checkout")
}

fn ordered(answer: &Answer, business: &mut Business) -> Option<Fate> {
    business.form = None;
    match location(answer) {
        "/cart?notice=stock" | "/cart?notice=changed" => Some(Fate::Conflict),
        target => match target.strip_prefix("/orders/") {
            Some(number) if !number.is_empty() => {
                business.in_cart.clear();
                business.order = Some(number.to_owned());
                None
            }
            _ => Some(Fate::WrongContent),
        },
    }
}

fn order(answer: &Answer, business: &Business) -> Option<Fate> {
    let thanks = html::heading(&answer.body).unwrap_or_default();
    let Some(name) = thanks.strip_prefix("Thank you, ") else {
        return Some(Fate::WrongContent);
    };
    if name != business.name {
        return Some(Fate::WrongPage);
    }
    let number = business.order.as_deref().unwrap_or_default();
    page(
        answer,
        memmem::find(&answer.body, number.as_bytes()).is_some(),
    )
}

fn api_order(
    answer: &Answer,
    catalog: &Catalog,
    product: usize,
    business: &mut Business,
) -> Option<Fate> {
    let text = answer.body.as_slice();
    let Some(number) = html::between(text, b"\"id\":\"", b"\"") else {
        return Some(Fate::WrongContent);
    };
    business.order = Some(String::from_utf8_lossy(number).into_owned());
    if memmem::find(text, business.name.as_bytes()).is_none() {
        return Some(Fate::WrongPage);
    }
    let made = matches!(answer.status, StatusCode::CREATED | StatusCode::OK);
    let wanted = format!("\"slug\":\"{}\"", catalog.products[product].slug);
    only(made).or_else(|| json(answer, &wanted))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
