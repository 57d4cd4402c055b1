//! The five hundred products of a new shop, the same ones every time.

pub mod art;
pub mod data_sheet;
pub mod shapes;

use rusqlite::{Transaction, params};

use crate::catalog::{CATEGORIES, Category, Spec};

/// Products per category.
pub const PER_CATEGORY: usize = 50;

/// The first moment of the catalogue, so that two shops seeded apart give the same validators: 1 January 2026 in
/// Dhaka.
pub const SEEDED_AT: i64 = 1_767_204_000;

/// A product before it has a row.
pub struct Draft {
    /// Name in addresses.
    pub slug: String,
    /// Category.
    pub category: &'static Category,
    /// Maker.
    pub brand: &'static str,
    /// Full name.
    pub name: String,
    /// Price in taka.
    pub price: i64,
    /// Former price in taka.
    pub list_price: Option<i64>,
    /// Pieces.
    pub stock: i64,
    /// One paragraph.
    pub description: String,
    /// The data sheet.
    pub specs: Vec<Spec>,
}

/// Numbers that look random and never change: splitmix64 from a given start.
pub struct Dice(u64);

impl Dice {
    /// Dice for one name.
    pub fn of(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes());
        let mut start = [0; 8];
        start.copy_from_slice(&hash.as_bytes()[..8]);
        Self(u64::from_le_bytes(start))
    }

    /// A number from 0 up to and without `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[usize::try_from(self.roll(choices.len() as u64)).unwrap_or(0)]
    }
}

/// All products. Categories take turns, so that a mixed list is mixed.
pub fn drafts() -> Vec<Draft> {
    (0..PER_CATEGORY)
        .flat_map(|round| CATEGORIES.iter().map(move |category| (category, round)))
        // A stride without common factor with 50 visits every combination once, cheap and dear in turn.
        .map(|(category, round)| draft(category, (round * 17 + 3) % PER_CATEGORY))
        .collect()
}

fn draft(category: &'static Category, index: usize) -> Draft {
    let sheet = data_sheet::fill(category.slug, index);
    let mut dice = Dice::of(&sheet.name);
    // A little above or below the price of its class, and always a price that a shop would write.
    let price = sheet.price * (94 + i64::try_from(dice.roll(13)).unwrap_or(0)) / 100;
    let step = if price > 20_000 { 500 } else { 50 };
    let price = (price / step).max(1) * step - 10;
    let list_price = (dice.roll(5) == 0).then(|| {
        let raised = price * (108 + i64::try_from(dice.roll(22)).unwrap_or(0)) / 100;
        (raised / step + 1) * step - 10
    });
    let stock = match dice.roll(30) {
        0 => 0,
        1 | 2 => 1 + dice.roll(4),
        _ => 12 + dice.roll(190),
    };
    Draft {
        slug: slug(&sheet.name),
        category,
        brand: sheet.brand,
        price,
        list_price,
        stock: i64::try_from(stock).unwrap_or(0),
        description: sheet.description,
        specs: sheet.specs,
        name: sheet.name,
    }
}

/// A name as part of an address.
fn slug(name: &str) -> String {
    let spaced: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                ' '
            }
        })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join("-")
}

/// Writes all products into an empty table.
pub fn insert_products(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut insert = tx.prepare(
        "INSERT INTO products
         (slug, category, brand, name, price, list_price, stock, description, specs, search, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for draft in drafts() {
        let specs = serde_json::to_string(&draft.specs).unwrap_or_default();
        let values: Vec<&str> = draft.specs.iter().map(|spec| spec.value.as_str()).collect();
        let search = format!(
            "{} {} {}",
            draft.name,
            draft.category.name,
            values.join(" ")
        )
        .to_lowercase();
        insert.execute(params![
            draft.slug,
            draft.category.slug,
            draft.brand,
            draft.name,
            draft.price,
            draft.list_price,
            draft.stock,
            draft.description,
            specs,
            search,
            SEEDED_AT,
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_five_hundred_different_products() {
        let drafts = drafts();
        assert_eq!(drafts.len(), 500);
        let slugs: HashSet<_> = drafts.iter().map(|draft| &draft.slug).collect();
        assert_eq!(slugs.len(), 500);
        for draft in &drafts {
            assert!(
                draft.price >= 300 && draft.price < 1_000_000,
                "{}: {}",
                draft.name,
                draft.price
            );
            assert!(
                draft
                    .list_price
                    .is_none_or(|list_price| list_price > draft.price),
                "{}",
                draft.name
            );
            assert!(
                draft.specs.len() >= 4 && draft.description.len() > 60,
                "{}",
                draft.name
            );
        }
        for category in &CATEGORIES {
            assert_eq!(
                drafts
                    .iter()
                    .filter(|draft| draft.category == category)
                    .count(),
                PER_CATEGORY
            );
        }
    }

    #[test]
    fn seeding_is_deterministic() {
        let prices = |drafts: Vec<Draft>| {
            drafts
                .into_iter()
                .map(|d| (d.slug, d.price, d.stock))
                .collect::<Vec<_>>()
        };
        assert_eq!(prices(drafts()), prices(drafts()));
    }
}
