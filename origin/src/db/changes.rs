//! Which products a transaction changes, noted by SQLite itself, so that no statement can be forgotten.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::Action;

use crate::catalog::{SHOP_TAG, tag};

/// The tags that the transaction in progress touches. One connection writes, so there is only one.
#[derive(Clone, Default)]
pub(super) struct Changes(Arc<Mutex<BTreeSet<String>>>);

impl Changes {
    /// Notes what this connection changes from now on.
    pub(super) fn watch(&self, connection: &Connection) -> rusqlite::Result<()> {
        let changes = self.clone();
        connection.update_hook(Some(move |action, _: &str, table: &str, row: i64| {
            if table == "products" {
                changes.lock().insert(match action {
                    Action::SQLITE_UPDATE => tag(row),
                    // One that comes or goes changes lists that it is not on.
                    _ => SHOP_TAG.to_owned(),
                });
            }
        }))
    }

    /// What was noted since this was last asked.
    pub(super) fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // The set is whole at all times, whatever happened to a holder of the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_that_change_are_noted() {
        let connection = Connection::open_in_memory().expect("opens");
        connection
            .execute_batch(
                "CREATE TABLE products (id INTEGER PRIMARY KEY, stock INTEGER);
                 CREATE TABLE carts (id INTEGER PRIMARY KEY, stock INTEGER);
                 INSERT INTO products VALUES (7, 1), (8, 1), (9, 1);
                 INSERT INTO carts VALUES (5, 1);",
            )
            .expect("fills");
        let changes = Changes::default();
        changes.watch(&connection).expect("watches");
        for (statement, noted) in [
            ("SELECT stock FROM products", &[][..]),
            ("UPDATE carts SET stock = 2", &[]),
            (
                "UPDATE products SET stock = 2 WHERE id > 7",
                &["product-8", "product-9"],
            ),
            ("UPDATE products SET stock = 2 WHERE id = 6", &[]),
            ("INSERT INTO products VALUES (10, 1)", &["shop"]),
            ("DELETE FROM products WHERE id = 10", &["shop"]),
        ] {
            connection.execute_batch(statement).expect(statement);
            let tags: Vec<String> = changes.take().into_iter().collect();
            assert_eq!(tags, noted, "{statement}");
        }
    }
}
