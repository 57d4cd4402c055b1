//! The schema, step by step. A released step is never edited; a change is a new step.

use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'_>] = &[M::up(
    "
    CREATE TABLE settings (
        name  TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Money is in whole taka, time in Unix seconds.
    CREATE TABLE products (
        id          INTEGER PRIMARY KEY,
        slug        TEXT NOT NULL UNIQUE,
        category    TEXT NOT NULL,
        brand       TEXT NOT NULL,
        name        TEXT NOT NULL,
        price       INTEGER NOT NULL CHECK (price > 0),
        list_price  INTEGER CHECK (list_price > price),
        stock       INTEGER NOT NULL CHECK (stock >= 0),
        description TEXT NOT NULL,
        specs       TEXT NOT NULL,
        search      TEXT NOT NULL,
        updated_at  INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX products_category ON products (category, id);
    CREATE INDEX products_updated_at ON products (updated_at);

    CREATE TABLE cart_items (
        session    TEXT NOT NULL,
        product_id INTEGER NOT NULL REFERENCES products (id),
        quantity   INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 10),
        touched_at INTEGER NOT NULL,
        PRIMARY KEY (session, product_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX cart_items_touched_at ON cart_items (touched_at);

    CREATE TABLE orders (
        id              TEXT PRIMARY KEY,
        session         TEXT NOT NULL,
        idempotency_key TEXT NOT NULL,
        fingerprint     BLOB NOT NULL,
        name            TEXT NOT NULL,
        phone           TEXT NOT NULL,
        address         TEXT NOT NULL,
        subtotal        INTEGER NOT NULL CHECK (subtotal > 0),
        delivery        INTEGER NOT NULL CHECK (delivery >= 0),
        created_at      INTEGER NOT NULL,
        UNIQUE (session, idempotency_key)
    ) STRICT, WITHOUT ROWID;

    -- Name and price are those of the moment of the order.
    CREATE TABLE order_lines (
        order_id   TEXT NOT NULL REFERENCES orders (id),
        product_id INTEGER NOT NULL REFERENCES products (id),
        name       TEXT NOT NULL,
        unit_price INTEGER NOT NULL CHECK (unit_price > 0),
        quantity   INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 10),
        PRIMARY KEY (order_id, product_id)
    ) STRICT, WITHOUT ROWID;
    ",
)];

/// All steps in order.
pub fn migrations() -> Migrations<'static> {
    Migrations::from_slice(STEPS)
}

#[cfg(test)]
mod tests {
    #[test]
    fn steps_are_sound() {
        super::migrations().validate().expect("every step runs");
    }
}
