//! Pages that all visitors share: home, lists, search and products.
//!
//! Their handlers take no [`crate::session::Visitor`], and so cannot show or set anything of a session.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::caching::{PAGE, Public, SEARCH, tags};
use super::{HTML, Shell};
use crate::app::Shop;
use crate::cart::FREE_DELIVERY_FROM;
use crate::catalog::{self, CATEGORIES, Category, Listing, PAGE_SIZE, Product, Sort};
use crate::error::Error;
use crate::format::Whole;

/// Products in each row of the home page.
const HOME_ROW: i64 = 8;

/// Other products under a product.
const RELATED: i64 = 4;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    shell: Shell,
    covers: Vec<(&'static Category, Product)>,
    deals: Vec<Product>,
    picks: Vec<Product>,
}

/// `GET /`
pub async fn home(State(shop): State<Shop>, headers: HeaderMap) -> Result<Response, Error> {
    let (deals, picks, covers, updated_at) = shop
        .database()
        .read(|connection| {
            let query = catalog::Query {
                page: 1,
                per_page: HOME_ROW,
                ..Default::default()
            };
            let picks = catalog::list(connection, &query)?;
            let mut covers = Vec::with_capacity(CATEGORIES.len());
            for category in &CATEGORIES {
                let query = catalog::Query {
                    category: Some(category),
                    page: 1,
                    per_page: 1,
                    ..Default::default()
                };
                covers.extend(
                    catalog::list(connection, &query)?
                        .products
                        .pop()
                        .map(|product| (category, product)),
                );
            }
            Ok((
                catalog::deals(connection, HOME_ROW)?,
                picks.products,
                covers,
                picks.updated_at,
            ))
        })
        .await?;
    let tags = tags("home".to_owned(), deals.iter().chain(&picks));
    let template = Home {
        shell: Shell::default(),
        covers,
        deals,
        picks,
    };
    shared(&headers, &template, PAGE, updated_at, tags)
}

/// What may stand in the query of a list. Texts, so that nonsense gets our own answer.
#[derive(Debug, Default, Deserialize)]
pub struct ListParams {
    q: Option<String>,
    page: Option<String>,
    sort: Option<String>,
}

#[derive(Template)]
#[template(path = "list.html")]
struct List {
    shell: Shell,
    heading: String,
    blurb: String,
    listing: Listing,
    page: i64,
    sort: Sort,
    /// Where the list is, without page and order.
    path: String,
}

impl List {
    /// The address of a page of this list in an order.
    fn href(&self, page: impl Whole, sort: &Sort) -> String {
        let page = page.whole();
        let mut query = form_urlencoded::Serializer::new(String::new());
        if !self.shell.search.is_empty() {
            query.append_pair("q", &self.shell.search);
        }
        if *sort != Sort::Featured {
            query.append_pair("sort", sort.slug());
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{query}", self.path)
        }
    }

    /// Pages to link to: the first, the last and those around this one; a zero stands for a gap.
    fn page_links(&self) -> Vec<i64> {
        let mut links = Vec::new();
        for page in 1..=self.listing.pages {
            if page == 1 || page == self.listing.pages || (page - self.page).abs() <= 1 {
                links.push(page);
            } else if links.last() != Some(&0) {
                links.push(0);
            }
        }
        links
    }
}

/// `GET /products`
pub async fn all_products(
    State(shop): State<Shop>,
    headers: HeaderMap,
    params: Result<Query<ListParams>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(params) = params?;
    let shelf = Shelf {
        shell: Shell::titled("All products"),
        heading: "All products".to_owned(),
        blurb: "Everything in the shop, delivered across Bangladesh.".to_owned(),
        path: "/products".to_owned(),
        tag: "products".to_owned(),
        cache_control: PAGE,
        category: None,
        words: Vec::new(),
    };
    shelf.show(&shop, &headers, &params).await
}

/// `GET /categories/{slug}`
pub async fn category(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Path(slug): Path<String>,
    params: Result<Query<ListParams>, QueryRejection>,
) -> Result<Response, Error> {
    let category = catalog::category(&slug).ok_or(Error::NotFound("category"))?;
    let Query(params) = params?;
    let shelf = Shelf {
        shell: Shell {
            title: category.name.to_owned(),
            active: category.slug,
            ..Shell::default()
        },
        heading: category.name.to_owned(),
        blurb: category.blurb.to_owned(),
        path: format!("/categories/{}", category.slug),
        tag: format!("category-{}", category.slug),
        cache_control: PAGE,
        category: Some(category),
        words: Vec::new(),
    };
    shelf.show(&shop, &headers, &params).await
}

/// `GET /search?q=`
pub async fn search(
    State(shop): State<Shop>,
    headers: HeaderMap,
    params: Result<Query<ListParams>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(params) = params?;
    // As long as the search reads, so that the page cannot be made to carry more.
    let typed: String = params
        .q
        .as_deref()
        .unwrap_or_default()
        .trim()
        .chars()
        .take(80)
        .collect();
    let heading = if typed.is_empty() {
        "Search".to_owned()
    } else {
        format!("Results for “{typed}”")
    };
    let shelf = Shelf {
        words: catalog::words(&typed),
        shell: Shell {
            title: heading.clone(),
            search: typed,
            ..Shell::default()
        },
        heading,
        blurb: String::new(),
        path: "/search".to_owned(),
        tag: "search".to_owned(),
        cache_control: SEARCH,
        category: None,
    };
    shelf.show(&shop, &headers, &params).await
}

/// A list before it is asked for.
struct Shelf {
    shell: Shell,
    heading: String,
    blurb: String,
    path: String,
    tag: String,
    cache_control: &'static str,
    category: Option<&'static Category>,
    words: Vec<String>,
}

impl Shelf {
    async fn show(
        self,
        shop: &Shop,
        headers: &HeaderMap,
        params: &ListParams,
    ) -> Result<Response, Error> {
        let page = match params.page.as_deref() {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|page| (1..=10_000).contains(page))
                .ok_or(Error::NotFound("page"))?,
        };
        let sort = match params.sort.as_deref() {
            None => Sort::Featured,
            Some(name) => Sort::parse(name).ok_or(Error::NotFound("page"))?,
        };
        let query = catalog::Query {
            category: self.category,
            words: self.words,
            sort,
            page,
            per_page: PAGE_SIZE,
        };
        let listing = shop
            .database()
            .read(move |connection| catalog::list(connection, &query))
            .await?;
        if page > listing.pages {
            return Err(Error::NotFound("page"));
        }
        let tags = tags(self.tag, &listing.products);
        let updated_at = listing.updated_at;
        let Self {
            shell,
            heading,
            blurb,
            path,
            cache_control,
            ..
        } = self;
        let template = List {
            shell,
            heading,
            blurb,
            listing,
            page,
            sort,
            path,
        };
        shared(headers, &template, cache_control, updated_at, tags)
    }
}

#[derive(Template)]
#[template(path = "product.html")]
struct ProductPage {
    shell: Shell,
    product: Product,
    related: Vec<Product>,
}

/// `GET /products/{slug}`
pub async fn product(
    State(shop): State<Shop>,
    headers: HeaderMap,
    Path(slug): Path<String>,
) -> Result<Response, Error> {
    let (product, related) = shop
        .database()
        .read(move |connection| {
            let product = catalog::by_slug(connection, &slug)?;
            let related = catalog::related(connection, &product, RELATED)?;
            Ok((product, related))
        })
        .await?;
    let shown = || std::iter::once(&product).chain(&related);
    let updated_at = shown().map(|product| product.updated_at).max().unwrap_or(0);
    let tags = tags(format!("category-{}", product.category), shown());
    let active = catalog::category(&product.category).map_or("", |category| category.slug);
    let shell = Shell {
        title: product.name.clone(),
        active,
        ..Shell::default()
    };
    shared(
        &headers,
        &ProductPage {
            shell,
            product,
            related,
        },
        PAGE,
        updated_at,
        tags,
    )
}

fn shared(
    headers: &HeaderMap,
    template: &impl Template,
    cache_control: &'static str,
    updated_at: i64,
    tags: Vec<String>,
) -> Result<Response, Error> {
    let html = template.render()?;
    let public = Public {
        content_type: HTML,
        cache_control,
        updated_at: Some(updated_at),
        tags,
    };
    Ok(public.answer(headers, html))
}
