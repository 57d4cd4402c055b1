//! The cart of a session, kept in the database.

use rusqlite::{Connection, OptionalExtension, Transaction, named_params};

use crate::catalog::{self, Product};
use crate::error::{Conflict, Error};
use crate::session::{LIFETIME_SECONDS, SessionId};

/// Pieces of one product in one order.
pub const QUANTITY_MAX: i64 = 10;

/// Different products in one cart.
pub const LINES_MAX: i64 = 30;

/// Delivery anywhere in the country, in taka.
const DELIVERY: i64 = 120;

/// Orders of this many taka are delivered free.
pub const FREE_DELIVERY_FROM: i64 = 10_000;

/// A product and how many of it.
#[derive(Debug, Clone)]
pub struct Line {
    /// What.
    pub product: Product,
    /// How many.
    pub quantity: i64,
}

impl Line {
    /// Price of all pieces.
    pub fn total(&self) -> i64 {
        self.product.price * self.quantity
    }

    /// Whether the shop still has that many.
    pub fn available(&self) -> bool {
        self.quantity <= self.product.stock
    }
}

/// What a visitor wants to buy.
#[derive(Debug, Clone, Default)]
pub struct Cart {
    /// In the order of the catalogue.
    pub lines: Vec<Line>,
}

impl Cart {
    /// Pieces in all.
    pub fn count(&self) -> i64 {
        self.lines.iter().map(|line| line.quantity).sum()
    }

    /// Price of all lines.
    pub fn subtotal(&self) -> i64 {
        self.lines.iter().map(Line::total).sum()
    }

    /// Price of the delivery.
    pub fn delivery(&self) -> i64 {
        delivery(self.subtotal())
    }

    /// What the customer pays.
    pub fn total(&self) -> i64 {
        self.subtotal() + self.delivery()
    }

    /// How much is missing to free delivery.
    pub fn to_free_delivery(&self) -> Option<i64> {
        Some(FREE_DELIVERY_FROM - self.subtotal()).filter(|missing| *missing > 0)
    }

    /// Whether everything in it can be ordered.
    pub fn available(&self) -> bool {
        self.lines.iter().all(Line::available)
    }
}

/// What delivery costs for goods of this price.
pub fn delivery(subtotal: i64) -> i64 {
    if subtotal >= FREE_DELIVERY_FROM {
        0
    } else {
        DELIVERY
    }
}

/// What became of an addition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// All of it is in the cart.
    All,
    /// The cart holds as many as it may or as there are, which is fewer than wanted.
    Limited,
}

/// The cart of a session.
pub fn load(connection: &Connection, session: &SessionId) -> Result<Cart, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT p.*, c.quantity FROM cart_items c JOIN products p ON p.id = c.product_id
         WHERE c.session = ?1 ORDER BY p.id",
    )?;
    let lines = statement
        .query_map([session.as_str()], |row| {
            Ok(Line {
                product: Product::from_row(row)?,
                quantity: row.get("quantity")?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(Cart { lines })
}

/// Puts more of a product into the cart, at most as many as there are.
pub fn add(
    tx: &Transaction<'_>,
    session: &SessionId,
    slug: &str,
    quantity: i64,
    now: i64,
) -> Result<Added, Error> {
    check_quantity(quantity)?;
    let product = catalog::by_slug(tx, slug)?;
    if product.stock == 0 {
        return Err(Error::conflict(
            Conflict::Stock,
            format!("{} is sold out.", product.name),
        ));
    }
    let held = held(tx, session, product.id)?;
    if held.is_none() && count_lines(tx, session)? >= LINES_MAX {
        return Err(Error::conflict(
            Conflict::CartFull,
            format!("A cart holds at most {LINES_MAX} different products."),
        ));
    }
    let wanted = held.unwrap_or(0) + quantity;
    let possible = wanted.min(QUANTITY_MAX).min(product.stock);
    put(tx, session, product.id, possible, now)?;
    Ok(if possible == wanted {
        Added::All
    } else {
        Added::Limited
    })
}

/// Sets how many of a product the cart holds.
pub fn set(
    tx: &Transaction<'_>,
    session: &SessionId,
    slug: &str,
    quantity: i64,
    now: i64,
) -> Result<(), Error> {
    check_quantity(quantity)?;
    let product = catalog::by_slug(tx, slug)?;
    if held(tx, session, product.id)?.is_none() {
        return Err(Error::NotFound("product in the cart"));
    }
    if quantity > product.stock {
        return Err(insufficient(&product.name, product.stock));
    }
    put(tx, session, product.id, quantity, now)
}

/// Takes a product out of the cart. It is no error if it was not there.
pub fn remove(tx: &Transaction<'_>, session: &SessionId, slug: &str) -> Result<(), Error> {
    tx.prepare_cached(
        "DELETE FROM cart_items WHERE session = ?1 AND product_id = (SELECT id FROM products WHERE slug = ?2)",
    )?
    .execute([session.as_str(), slug])?;
    Ok(())
}

/// Takes everything out of the cart.
pub fn clear(tx: &Transaction<'_>, session: &SessionId) -> Result<(), Error> {
    tx.prepare_cached("DELETE FROM cart_items WHERE session = ?1")?
        .execute([session.as_str()])?;
    Ok(())
}

/// Forgets carts whose owners' cookies have expired; at most a thousand lines, so that nobody waits long.
pub fn forget_abandoned(tx: &Transaction<'_>, now: i64) -> Result<usize, Error> {
    let forgotten = tx.execute(
        "DELETE FROM cart_items WHERE (session, product_id) IN
         (SELECT session, product_id FROM cart_items WHERE touched_at < ?1 LIMIT 1000)",
        [now - LIFETIME_SECONDS],
    )?;
    Ok(forgotten)
}

/// The refusal to sell more than there is.
pub fn insufficient(name: &str, stock: i64) -> Error {
    let message = if stock == 0 {
        format!("{name} is sold out.")
    } else {
        format!("Only {stock} left of {name}.")
    };
    Error::conflict(Conflict::Stock, message)
}

/// Refuses quantities that no line may have.
pub fn check_quantity(quantity: i64) -> Result<(), Error> {
    if (1..=QUANTITY_MAX).contains(&quantity) {
        return Ok(());
    }
    Err(Error::Invalid {
        code: "invalid_quantity",
        message: format!("Please choose a quantity from 1 to {QUANTITY_MAX}."),
    })
}

fn held(tx: &Transaction<'_>, session: &SessionId, product: i64) -> Result<Option<i64>, Error> {
    Ok(tx
        .prepare_cached("SELECT quantity FROM cart_items WHERE session = ?1 AND product_id = ?2")?
        .query_row((session.as_str(), product), |row| row.get(0))
        .optional()?)
}

fn count_lines(tx: &Transaction<'_>, session: &SessionId) -> Result<i64, Error> {
    Ok(tx
        .prepare_cached("SELECT count(*) FROM cart_items WHERE session = ?1")?
        .query_row([session.as_str()], |row| row.get(0))?)
}

fn put(
    tx: &Transaction<'_>,
    session: &SessionId,
    product: i64,
    quantity: i64,
    now: i64,
) -> Result<(), Error> {
    tx.prepare_cached(
        "INSERT INTO cart_items (session, product_id, quantity, touched_at)
         VALUES (:session, :product, :quantity, :now)
         ON CONFLICT DO UPDATE SET quantity = :quantity, touched_at = :now",
    )?
    .execute(named_params! {
        ":session": session.as_str(), ":product": product, ":quantity": quantity, ":now": now,
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivery_is_free_from_a_threshold() {
        assert_eq!(delivery(FREE_DELIVERY_FROM - 1), DELIVERY);
        assert_eq!(delivery(FREE_DELIVERY_FROM), 0);
    }

    #[test]
    fn quantities_are_bounded() {
        for (quantity, fine) in [
            (i64::MIN, false),
            (0, false),
            (1, true),
            (10, true),
            (11, false),
        ] {
            assert_eq!(check_quantity(quantity).is_ok(), fine, "{quantity}");
        }
    }
}
