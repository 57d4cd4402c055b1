//! Categories and products, and the queries the pages are made of.

use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::{Deserialize, Serialize};

use crate::cart::QUANTITY_MAX;
use crate::error::Error;

/// Products on one page of a list.
pub const PAGE_SIZE: i64 = 24;

/// The tag of everything that shows a product, whichever it is.
pub const SHOP_TAG: &str = "shop";

/// A search reads this many words and characters of what was typed.
const SEARCH_WORDS_MAX: usize = 6;
const SEARCH_CHARS_MAX: usize = 80;

/// A shelf of the shop. The set is fixed: drawings and data sheets are made for it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Category {
    /// Name in addresses.
    pub slug: &'static str,
    /// Name for people.
    pub name: &'static str,
    /// One line for the head of its page.
    pub blurb: &'static str,
}

/// All categories in the order of the navigation.
pub const CATEGORIES: [Category; 10] = [
    Category {
        slug: "phones",
        name: "Phones",
        blurb: "5G handsets from first phone to folding flagship.",
    },
    Category {
        slug: "laptops",
        name: "Laptops",
        blurb: "For class, for the office and for rendering overnight.",
    },
    Category {
        slug: "headphones",
        name: "Headphones",
        blurb: "Over-ear, in-ear and quiet on the Dhaka metro.",
    },
    Category {
        slug: "televisions",
        name: "Televisions",
        blurb: "From 32 inches to a wall of cricket.",
    },
    Category {
        slug: "cameras",
        name: "Cameras",
        blurb: "Mirrorless bodies, compacts and action cameras.",
    },
    Category {
        slug: "power-banks",
        name: "Power banks",
        blurb: "Keep going when the current does not.",
    },
    Category {
        slug: "routers",
        name: "Routers",
        blurb: "Wi-Fi that reaches the roof.",
    },
    Category {
        slug: "watches",
        name: "Watches",
        blurb: "Steps, sleep and messages on your wrist.",
    },
    Category {
        slug: "gaming",
        name: "Gaming",
        blurb: "Consoles and controllers for long evenings.",
    },
    Category {
        slug: "home-appliances",
        name: "Home appliances",
        blurb: "Cook, cool and clean with less effort.",
    },
];

/// The category of that name.
pub fn category(slug: &str) -> Option<&'static Category> {
    CATEGORIES.iter().find(|category| category.slug == slug)
}

/// One product as stored.
#[derive(Debug, Clone)]
pub struct Product {
    /// Number in the database.
    pub id: i64,
    /// Name in addresses.
    pub slug: String,
    /// Slug of its category.
    pub category: String,
    /// Maker.
    pub brand: String,
    /// Full name, starting with the maker.
    pub name: String,
    /// Price in taka.
    pub price: i64,
    /// Former price in taka, where the product is reduced.
    pub list_price: Option<i64>,
    /// Pieces left.
    pub stock: i64,
    /// One paragraph.
    pub description: String,
    /// The data sheet.
    pub specs: Vec<Spec>,
    /// When anything about it last changed, in Unix seconds.
    pub updated_at: i64,
}

/// The tag of everything that shows the product of that number.
pub fn tag(id: i64) -> String {
    format!("product-{id}")
}

/// One line of a data sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What is measured.
    pub name: String,
    /// How much of it there is.
    pub value: String,
}

impl Product {
    /// The address of its page.
    pub fn path(&self) -> String {
        format!("/products/{}", self.slug)
    }

    /// The address of its picture.
    pub fn image(&self) -> String {
        format!("/images/{}.png", self.slug)
    }

    /// The most that can be chosen of it.
    pub fn quantity_max(&self) -> i64 {
        self.stock.clamp(0, QUANTITY_MAX)
    }

    /// The name of its category for people.
    pub fn category_name(&self) -> &'static str {
        category(&self.category).map_or("", |category| category.name)
    }

    /// How much cheaper it is than it was, in taka.
    pub fn saving(&self) -> Option<i64> {
        self.list_price.map(|list_price| list_price - self.price)
    }

    /// The tag under which a cache may drop everything that shows it.
    pub fn tag(&self) -> String {
        tag(self.id)
    }

    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let specs: String = row.get("specs")?;
        Ok(Self {
            id: row.get("id")?,
            slug: row.get("slug")?,
            category: row.get("category")?,
            brand: row.get("brand")?,
            name: row.get("name")?,
            price: row.get("price")?,
            list_price: row.get("list_price")?,
            stock: row.get("stock")?,
            description: row.get("description")?,
            specs: serde_json::from_str(&specs).unwrap_or_default(),
            updated_at: row.get("updated_at")?,
        })
    }
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// As the shop arranges them.
    #[default]
    Featured,
    /// Cheapest first.
    PriceUp,
    /// Dearest first.
    PriceDown,
    /// By name.
    Name,
}

impl Sort {
    /// Every order with its name in addresses and for people.
    pub const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Featured, "featured", "Featured"),
        (Self::PriceUp, "price-asc", "Price: low to high"),
        (Self::PriceDown, "price-desc", "Price: high to low"),
        (Self::Name, "name", "Name"),
    ];

    /// The order of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, slug, _)| *slug == name)
            .map(|(sort, ..)| *sort)
    }

    /// The name in addresses.
    pub fn slug(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(sort, ..)| *sort == self)
            .map_or("", |(_, slug, _)| slug)
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Featured => "id",
            Self::PriceUp => "price, id",
            Self::PriceDown => "price DESC, id",
            Self::Name => "name, id",
        }
    }
}

/// Which products a list shows.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only this category.
    pub category: Option<&'static Category>,
    /// Only products that match these words; empty means all.
    pub words: Vec<String>,
    /// In this order.
    pub sort: Sort,
    /// Counted from 1.
    pub page: i64,
    /// Products per page.
    pub per_page: i64,
}

/// One page of a list.
#[derive(Debug)]
pub struct Listing {
    /// The products of this page.
    pub products: Vec<Product>,
    /// How many match in all.
    pub total: i64,
    /// How many pages they fill; at least one.
    pub pages: i64,
    /// When the catalogue last changed.
    pub updated_at: i64,
}

/// The words a search looks for.
pub fn words(typed: &str) -> Vec<String> {
    let typed: String = typed.chars().take(SEARCH_CHARS_MAX).collect();
    typed
        .to_lowercase()
        .split_whitespace()
        .take(SEARCH_WORDS_MAX)
        .map(str::to_owned)
        .collect()
}

/// One page of the products that match.
pub fn list(connection: &Connection, query: &Query) -> Result<Listing, Error> {
    // All words must occur; a name that starts with the first word comes before the rest.
    let mut condition = String::from("(:category IS NULL OR category = :category)");
    for index in 0..query.words.len() {
        condition.push_str(&format!(" AND instr(search, :word{index}) > 0"));
    }
    let names: Vec<String> = (0..query.words.len())
        .map(|index| format!(":word{index}"))
        .collect();
    let category = query.category.map(|category| category.slug);
    let mut filter: Vec<(&str, &dyn rusqlite::ToSql)> = vec![(":category", &category)];
    for (name, word) in names.iter().zip(&query.words) {
        filter.push((name, word));
    }
    let total: i64 = connection
        .prepare_cached(&format!("SELECT count(*) FROM products WHERE {condition}"))?
        .query_row(filter.as_slice(), |row| row.get(0))?;
    let updated_at = connection
        .prepare_cached("SELECT coalesce(max(updated_at), 0) FROM products")?
        .query_row([], |row| row.get(0))?;

    let offset = (query.page - 1) * query.per_page;
    filter.push((":limit", &query.per_page));
    filter.push((":offset", &offset));
    let sql = format!(
        "SELECT * FROM products WHERE {condition} ORDER BY {} LIMIT :limit OFFSET :offset",
        query.sort.sql()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let products = statement
        .query_map(filter.as_slice(), Product::from_row)?
        .collect::<Result<_, _>>()?;
    let pages = total.div_euclid(query.per_page) + i64::from(total % query.per_page > 0);
    Ok(Listing {
        products,
        total,
        pages: pages.max(1),
        updated_at,
    })
}

/// The product of that name.
pub fn by_slug(connection: &Connection, slug: &str) -> Result<Product, Error> {
    connection
        .prepare_cached("SELECT * FROM products WHERE slug = ?1")?
        .query_row([slug], Product::from_row)
        .optional()?
        .ok_or(Error::NotFound("product"))
}

/// Other products of the same category with the nearest prices.
pub fn related(
    connection: &Connection,
    product: &Product,
    count: i64,
) -> Result<Vec<Product>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM products WHERE category = :category AND id <> :id
         ORDER BY abs(price - :price), id LIMIT :count",
    )?;
    let rows = statement.query_map(
        named_params! {":category": product.category, ":id": product.id, ":price": product.price, ":count": count},
        Product::from_row,
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Reduced products, the largest share of the price first.
pub fn deals(connection: &Connection, count: i64) -> Result<Vec<Product>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT * FROM products WHERE list_price IS NOT NULL AND stock > 0
         ORDER BY 1.0 * price / list_price, id LIMIT ?1",
    )?;
    let rows = statement.query_map(params![count], Product::from_row)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
