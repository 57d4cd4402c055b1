//! What the shop sells, learned from it before the start.

use std::cell::RefCell;

use anyhow::{Context, bail, ensure};
use http::{HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

use crate::{
    browser::{Answer, Ask, Browser},
    cookies::Cookies,
    html, room,
};

/// Products on a page of the shop's API, and pages read at most.
const PER_PAGE: u32 = 100;
const PAGES_MAX: u32 = 100;

/// The shop as it was before the start.
pub(crate) struct Catalog {
    /// In the order of the shop's lists, which is taken for the order of popularity.
    pub(crate) products: Vec<Product>,
    pub(crate) categories: Vec<String>,
    pub(crate) style_sheet: String,
    style_sheet_content: Vec<u8>,
    /// The end of each picture as it was first seen; the checksum of its pixels is in it.
    pictures: RefCell<Vec<Option<PictureEnd>>>,
}

/// A checksum, and the chunk that ends every PNG.
type PictureEnd = [u8; 16];

/// A product.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Product {
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) category: String,
    pub(crate) stock: i64,
}

#[derive(Deserialize)]
struct Page {
    products: Vec<Product>,
    pages: u32,
}

impl Catalog {
    /// Asks the shop.
    pub(crate) async fn learn(browser: &Browser) -> anyhow::Result<Self> {
        let (mut products, pass) = (Vec::new(), Cookies::default());
        for page in 1..=PAGES_MAX {
            let target = format!("/api/products?per_page={PER_PAGE}&page={page}");
            let answer = get(browser, &pass, &target, "application/json").await?;
            let page_read: Page =
                serde_json::from_slice(&answer.body).with_context(|| format!("in {target}"))?;
            products.extend(page_read.products);
            if page >= page_read.pages {
                break;
            }
        }
        if products.is_empty() {
            bail!("the shop has no products");
        }
        let home = get(browser, &pass, "/", "text/html").await?;
        let style_sheet = html::between(&home.body, b"rel=\"stylesheet\" href=\"", b"\"")
            .context("the home page names no style sheet")?;
        let style_sheet = String::from_utf8_lossy(style_sheet).into_owned();
        let style_sheet_content = get(browser, &pass, &style_sheet, "text/css").await?.body;
        Ok(Self::new(products, style_sheet, style_sheet_content))
    }

    fn new(products: Vec<Product>, style_sheet: String, style_sheet_content: Vec<u8>) -> Self {
        let mut categories: Vec<String> = products.iter().map(|p| p.category.clone()).collect();
        categories.sort_unstable();
        categories.dedup();
        Self {
            pictures: RefCell::new(vec![None; products.len()]),
            categories,
            style_sheet,
            style_sheet_content,
            products,
        }
    }

    /// The product whose name this is.
    pub(crate) fn is_name(&self, name: &str) -> bool {
        self.products.iter().any(|product| product.name == name)
    }

    /// The position of a product in the catalogue.
    pub(crate) fn position(&self, slug: &[u8]) -> Option<usize> {
        self.products
            .iter()
            .position(|product| product.slug.as_bytes() == slug)
    }

    /// Whether this is the style sheet.
    pub(crate) fn is_style_sheet(&self, content: &[u8]) -> bool {
        content == self.style_sheet_content
    }

    /// Whether this is a whole picture, the same as ever of this product.
    pub(crate) fn is_picture(&self, product: usize, content: &[u8]) -> bool {
        let Some(end) = content.last_chunk::<16>() else {
            return false;
        };
        if !content.starts_with(b"\x89PNG\r\n\x1a\n") || &end[8..12] != b"IEND" {
            return false;
        }
        match self.pictures.borrow_mut().get_mut(product) {
            Some(Some(known)) => known == end,
            Some(new) => {
                *new = Some(*end);
                true
            }
            None => false,
        }
    }
}

async fn get(
    browser: &Browser,
    pass: &Cookies,
    target: &str,
    accept: &'static str,
) -> anyhow::Result<Answer> {
    let ask = Ask {
        method: Method::GET,
        target: target.to_owned(),
        fields: vec![(header::ACCEPT, HeaderValue::from_static(accept))],
        body: bytes::Bytes::new(),
    };
    let answer = room::ask(browser, &ask, pass)
        .await
        .map_err(|fate| anyhow::anyhow!("{target}: {}", fate.name()))?;
    ensure!(
        answer.status == StatusCode::OK,
        "{target}: {}",
        answer.status
    );
    Ok(answer)
}

/// A shop with two products, for tests.
#[cfg(test)]
pub(crate) fn small() -> Catalog {
    let product = |slug: &str, name: &str| Product {
        slug: slug.to_owned(),
        name: name.to_owned(),
        category: "phones".to_owned(),
        stock: 100,
    };
    Catalog::new(
        vec![product("one", "Phone & One"), product("two", "Two")],
        "/static/shop.css".to_owned(),
        b"css".to_vec(),
    )
}
