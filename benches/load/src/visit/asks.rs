//! The requests of a visitor's steps, as his browser would send them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};

use super::Visit;
use crate::{browser::Ask, html, plan::Action};

const FORM: &str = "application/x-www-form-urlencoded";

impl Visit {
    /// The request of a step; none where an earlier one did not give what it takes, such as the form to send.
    pub(super) fn ask(&self, action: &Action) -> Option<Ask> {
        let catalog = &self.stage.catalog;
        let slug = |product: &usize| catalog.products[*product].slug.as_str();
        let business = self.business.borrow();
        let get = |target: String| (Method::GET, target, None);
        let post = |target: &str, kind, body| (Method::POST, target.to_owned(), Some((kind, body)));
        let paged = |path: &str, page: &usize| match page {
            1 => path.to_owned(),
            page => format!("{path}?page={page}"),
        };
        let (method, target, content) = match action {
            Action::Home => get("/".to_owned()),
            Action::Products(page) => get(paged("/products", page)),
            Action::Category(category) => {
                get(format!("/categories/{}", catalog.categories[*category]))
            }
            Action::Product(product) => get(format!("/products/{}", slug(product))),
            Action::Search(words) => {
                let mut target = "/search?q=".to_owned();
                html::encode(words, &mut target);
                get(target)
            }
            Action::Cart => get("/cart".to_owned()),
            Action::CheckoutForm => get("/checkout".to_owned()),
            Action::StyleSheet => get(catalog.style_sheet.clone()),
            Action::Image(product) => get(format!("/images/{}.png", slug(product))),
            Action::ApiProducts(page) => get(paged("/api/products", page)),
            Action::ApiProduct(product) => get(format!("/api/products/{}", slug(product))),
            Action::Get(path) => get(path.clone()),
            Action::Order => get(format!("/orders/{}", business.order.as_ref()?)),
            Action::Add(product) => {
                let form = html::form(&[("product", slug(product)), ("quantity", "1")]);
                post("/cart/add", FORM, form)
            }
            Action::Checkout => {
                let (key, total) = business.form.as_ref()?;
                let form = html::form(&[
                    ("csrf", business.csrf.as_ref()?),
                    ("key", key),
                    ("total", total),
                    ("name", &business.name),
                    ("phone", "01712345678"),
                    ("address", "House 7, Road 5, Dhanmondi, Dhaka"),
                ]);
                post("/checkout", FORM, form)
            }
            Action::ApiCart(product) => {
                let body = serde_json::json!({ "slug": slug(product) });
                post("/api/cart", "application/json", body.to_string())
            }
            Action::ApiOrder(product) => {
                let body = serde_json::json!({
                    "customer": {
                        "name": business.name,
                        "phone": "01712345678",
                        "address": "House 7, Road 5, Dhanmondi, Dhaka",
                    },
                    "items": [{ "slug": slug(product), "quantity": 1 }],
                });
                post("/api/orders", "application/json", body.to_string())
            }
        };
        let mut fields = self.fields(action);
        let body = content.map_or_else(Bytes::new, |(kind, body)| {
            fields.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            Bytes::from(body)
        });
        Some(Ask {
            method,
            target,
            fields,
            body,
        })
    }

    fn fields(&self, action: &Action) -> Vec<(HeaderName, HeaderValue)> {
        let accept = match action {
            Action::Image(_) => "image/avif,image/webp,image/png,*/*;q=0.8",
            Action::StyleSheet => "text/css,*/*;q=0.1",
            Action::ApiProducts(_)
            | Action::ApiProduct(_)
            | Action::ApiCart(_)
            | Action::ApiOrder(_) => "application/json",
            _ => "text/html,application/xhtml+xml,*/*;q=0.8",
        };
        let mut fields = vec![
            (
                header::USER_AGENT,
                HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64) dhal-load"),
            ),
            (header::ACCEPT, HeaderValue::from_static(accept)),
            (
                header::ACCEPT_LANGUAGE,
                HeaderValue::from_static("bn-BD,bn;q=0.9,en;q=0.8"),
            ),
            (
                HeaderName::from_static("sec-fetch-site"),
                HeaderValue::from_static("same-origin"),
            ),
        ];
        fields.extend(self.cookies.field().map(|value| (header::COOKIE, value)));
        fields
    }
}
