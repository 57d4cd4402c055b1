//! Orders. An order and the stock it takes are one transaction: either both are on the disk or neither is.

use rusqlite::{Connection, OptionalExtension, Transaction, named_params};
use serde::Serialize;

use crate::cart;
use crate::catalog;
use crate::customer::Customer;
use crate::error::{Conflict, Error};
use crate::session::SessionId;

/// What is to be ordered.
#[derive(Debug, Clone)]
pub enum Items {
    /// Everything in the cart, which is empty afterwards. With the total the customer agreed to, where it is known.
    Cart {
        /// In taka, with delivery.
        agreed_total: Option<i64>,
    },
    /// These slugs and quantities; the cart stays as it is.
    Explicit(Vec<(String, i64)>),
}

/// A wish to order.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose order it is.
    pub session: SessionId,
    /// Repeats of one wish carry the same key, and make one order.
    pub idempotency_key: String,
    /// What is to be ordered.
    pub items: Items,
    /// Where it goes.
    pub customer: Customer,
}

/// What became of a wish, with the name of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// A new order.
    New(String),
    /// The order this very wish made before.
    Repeat(String),
    /// An order that a different wish made under the same key.
    Other(String),
}

/// An order as stored.
#[derive(Debug, Serialize)]
pub struct Order {
    /// Name of the order.
    pub id: String,
    /// Where it goes.
    pub customer: Customer,
    /// What was bought.
    pub lines: Vec<OrderLine>,
    /// Price of all lines, in taka.
    pub subtotal: i64,
    /// Price of the delivery, in taka.
    pub delivery: i64,
    /// What the customer pays, in taka.
    pub total: i64,
    /// When it was placed, in Unix seconds.
    pub created_at: i64,
}

/// One product of an order.
#[derive(Debug, Serialize)]
pub struct OrderLine {
    /// The product's name in addresses.
    pub slug: String,
    /// The product's name on the day of the order.
    pub name: String,
    /// The price of one on the day of the order, in taka.
    pub unit_price: i64,
    /// How many.
    pub quantity: i64,
}

impl OrderLine {
    /// Price of all pieces.
    pub fn total(&self) -> i64 {
        self.unit_price * self.quantity
    }
}

impl Wish {
    /// What makes two wishes under one key the same. A cart is empty after the first, so its content cannot count.
    fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        for text in [
            &self.customer.name,
            &self.customer.phone,
            &self.customer.address,
        ] {
            part(text);
        }
        if let Items::Explicit(items) = &self.items {
            for (slug, quantity) in items {
                part(slug);
                part(&quantity.to_string());
            }
        }
        hasher.finalize().into()
    }
}

/// Refuses idempotency keys that nobody needs.
pub fn check_key(key: &str) -> Result<(), Error> {
    if (1..=64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::Invalid {
        code: "invalid_idempotency_key",
        message: "An idempotency key has 1 to 64 visible ASCII characters.".to_owned(),
    })
}

/// Places the order, or finds the one this wish has made before.
pub fn place(tx: &Transaction<'_>, wish: &Wish, now: i64) -> Result<Placed, Error> {
    let fingerprint = wish.fingerprint();
    if let Some((id, earlier)) = earlier(tx, wish)? {
        return Ok(if earlier == fingerprint {
            Placed::Repeat(id)
        } else {
            Placed::Other(id)
        });
    }
    let lines = lines(tx, wish)?;
    let subtotal: i64 = lines.iter().map(cart::Line::total).sum();
    let delivery = cart::delivery(subtotal);
    if let Items::Cart {
        agreed_total: Some(agreed),
    } = wish.items
        && agreed != subtotal + delivery
    {
        return Err(Error::conflict(
            Conflict::CartChanged,
            "Your cart has changed. Please check it again.",
        ));
    }
    for line in &lines {
        take_from_stock(tx, line, now)?;
    }
    let id = new_id()?;
    tx.prepare_cached(
        "INSERT INTO orders
         (id, session, idempotency_key, fingerprint, name, phone, address, subtotal, delivery, created_at)
         VALUES (:id, :session, :key, :fingerprint, :name, :phone, :address, :subtotal, :delivery, :now)",
    )?
    .execute(named_params! {
        ":id": id, ":session": wish.session.as_str(), ":key": wish.idempotency_key, ":fingerprint": fingerprint,
        ":name": wish.customer.name, ":phone": wish.customer.phone, ":address": wish.customer.address,
        ":subtotal": subtotal, ":delivery": delivery, ":now": now,
    })?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO order_lines (order_id, product_id, name, unit_price, quantity) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for line in &lines {
        insert.execute((
            &id,
            line.product.id,
            &line.product.name,
            line.product.price,
            line.quantity,
        ))?;
    }
    if matches!(wish.items, Items::Cart { .. }) {
        cart::clear(tx, &wish.session)?;
    }
    Ok(Placed::New(id))
}

/// The order of that name, if it belongs to this session. To others it does not exist.
pub fn find(connection: &Connection, session: &SessionId, id: &str) -> Result<Order, Error> {
    let mut order = connection
        .prepare_cached("SELECT * FROM orders WHERE id = ?1 AND session = ?2")?
        .query_row([id, session.as_str()], |row| {
            let (subtotal, delivery): (i64, i64) = (row.get("subtotal")?, row.get("delivery")?);
            Ok(Order {
                id: row.get("id")?,
                customer: Customer {
                    name: row.get("name")?,
                    phone: row.get("phone")?,
                    address: row.get("address")?,
                },
                lines: Vec::new(),
                subtotal,
                delivery,
                total: subtotal + delivery,
                created_at: row.get("created_at")?,
            })
        })
        .optional()?
        .ok_or(Error::NotFound("order"))?;
    let mut statement = connection.prepare_cached(
        "SELECT p.slug, l.name, l.unit_price, l.quantity FROM order_lines l JOIN products p ON p.id = l.product_id
         WHERE l.order_id = ?1 ORDER BY l.product_id",
    )?;
    let lines = statement.query_map([id], |row| {
        Ok(OrderLine {
            slug: row.get(0)?,
            name: row.get(1)?,
            unit_price: row.get(2)?,
            quantity: row.get(3)?,
        })
    })?;
    order.lines = lines.collect::<Result<_, _>>()?;
    Ok(order)
}

fn earlier(tx: &Transaction<'_>, wish: &Wish) -> Result<Option<(String, [u8; 32])>, Error> {
    Ok(tx
        .prepare_cached(
            "SELECT id, fingerprint FROM orders WHERE session = ?1 AND idempotency_key = ?2",
        )?
        .query_row([wish.session.as_str(), &wish.idempotency_key], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?)
}

fn lines(tx: &Transaction<'_>, wish: &Wish) -> Result<Vec<cart::Line>, Error> {
    let lines = match &wish.items {
        Items::Cart { .. } => cart::load(tx, &wish.session)?.lines,
        Items::Explicit(items) => {
            let mut lines: Vec<cart::Line> = Vec::with_capacity(items.len());
            for (slug, quantity) in items {
                cart::check_quantity(*quantity)?;
                let product = catalog::by_slug(tx, slug)?;
                if lines.iter().any(|line| line.product.id == product.id) {
                    return Err(Error::Invalid {
                        code: "duplicate_item",
                        message: format!(
                            "{slug} appears twice; please use one item with the whole quantity."
                        ),
                    });
                }
                lines.push(cart::Line {
                    product,
                    quantity: *quantity,
                });
            }
            lines
        }
    };
    if lines.is_empty() {
        return Err(Error::conflict(
            Conflict::CartEmpty,
            "There is nothing to order: the cart is empty.",
        ));
    }
    Ok(lines)
}

/// The condition is in the statement, so no stock becomes negative, whoever else is buying.
fn take_from_stock(tx: &Transaction<'_>, line: &cart::Line, now: i64) -> Result<(), Error> {
    let taken = tx
        .prepare_cached(
            "UPDATE products SET stock = stock - :quantity, updated_at = max(updated_at, :now)
             WHERE id = :id AND stock >= :quantity",
        )?
        .execute(named_params! {":quantity": line.quantity, ":now": now, ":id": line.product.id})?;
    if taken == 1 {
        Ok(())
    } else {
        Err(cart::insufficient(&line.product.name, line.product.stock))
    }
}

/// Short enough to read on the telephone, and beyond guessing: 60 random bits without look-alike letters.
fn new_id() -> Result<String, Error> {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes)?;
    let letters = bytes
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok("DK-".chars().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_long_and_different() {
        let (one, other) = (new_id().expect("randomness"), new_id().expect("randomness"));
        assert_eq!(one.len(), 15);
        assert_ne!(one, other);
    }

    #[test]
    fn a_fingerprint_tells_wishes_apart() {
        let wish = |items| Wish {
            session: SessionId::generate().expect("randomness"),
            idempotency_key: "k".into(),
            items,
            customer: Customer {
                name: "A".into(),
                phone: "01712345678".into(),
                address: "Road 1".into(),
            },
        };
        let one = wish(Items::Explicit(vec![("a".into(), 1)])).fingerprint();
        assert_eq!(
            one,
            wish(Items::Explicit(vec![("a".into(), 1)])).fingerprint()
        );
        assert_ne!(
            one,
            wish(Items::Explicit(vec![("a".into(), 2)])).fingerprint()
        );
        assert_ne!(one, wish(Items::Cart { agreed_total: None }).fingerprint());
    }
}
