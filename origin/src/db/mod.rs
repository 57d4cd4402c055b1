//! The database: one SQLite file in WAL mode, shared by all instances of the shop.
//!
//! Reads come from a small pool and see one snapshot each. Writes go through a single connection per instance in
//! `BEGIN IMMEDIATE` transactions, so that a transaction never fails halfway for want of the lock, and reach the disk
//! before they are acknowledged (`synchronous=FULL`). Products that such a transaction has changed are told to the edges
//! once it is committed, also when whoever asked for it has gone meanwhile.

mod changes;
pub mod health;
pub mod open;
pub mod schema;

use std::time::Duration;

use deadpool_sqlite::{Object, Pool, PoolError};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::changes::Changes;
use crate::error::Error;
use crate::purge::Purges;

/// Connections for reading. SQLite reads are short and the host has two cores.
const READERS: usize = 4;

/// How long a request waits for a connection of its pool.
const WAIT: Duration = Duration::from_secs(5);

/// How long SQLite waits for the lock of another instance.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A handle to the database; cheap to clone.
#[derive(Clone)]
pub struct Database {
    readers: Pool,
    writer: Pool,
    probe: health::Probe,
    changes: Changes,
    purges: Purges,
}

impl Database {
    /// Runs a query on one consistent snapshot.
    pub async fn read<T, F>(&self, query: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        let connection = self.readers.get().await.map_err(unavailable)?;
        run(connection, move |connection| {
            query(&*connection.transaction()?)
        })
        .await
    }

    /// Runs a transaction that holds the write lock from its start, and commits it when `change` succeeds.
    pub async fn write<T, F>(&self, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    {
        let connection = self.writer.get().await.map_err(unavailable)?;
        let (changes, purges) = (self.changes.clone(), self.purges.clone());
        run(connection, move |connection| {
            // Of a transaction before, which was rolled back.
            drop(changes.take());
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            purges.tell(changes.take());
            Ok(value)
        })
        .await
    }

    /// Whether the database can be read and written right now.
    pub async fn check(&self) -> Result<(), Error> {
        self.probe.check().await
    }
}

async fn run<T, F>(connection: Object, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce(&mut Connection) -> Result<T, Error> + Send + 'static,
{
    match connection.interact(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal(format!("database task: {error}"))),
    }
}

fn unavailable(error: PoolError) -> Error {
    Error::Busy(format!("no connection: {error}"))
}
