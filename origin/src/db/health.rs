//! Whether the database works, asked by `/healthz`.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use deadpool_sqlite::Pool;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::{run, unavailable};
use crate::error::Error;

/// A connection of its own, so that health does not queue behind the traffic it judges.
#[derive(Clone)]
pub struct Probe {
    pool: Pool,
    path: PathBuf,
    file: (u64, u64),
}

impl Probe {
    /// Remembers which file the path names now.
    pub fn new(path: &Path, pool: Pool) -> io::Result<Self> {
        Ok(Self {
            pool,
            path: path.to_owned(),
            file: identity(path)?,
        })
    }

    /// Fails when the database cannot be read or written.
    pub async fn check(&self) -> Result<(), Error> {
        // SQLite keeps a deleted or replaced file open, and every order would go into the void.
        match identity(&self.path) {
            Ok(file) if file == self.file => {}
            Ok(_) => return Err(Error::Busy("the database file was replaced".to_owned())),
            Err(error) => return Err(Error::Busy(format!("the database file is gone: {error}"))),
        }
        let connection = self.pool.get().await.map_err(unavailable)?;
        run(connection, |connection| {
            read(connection)?;
            write(connection)
        })
        .await
    }
}

fn read(connection: &Connection) -> Result<(), Error> {
    let products: i64 =
        connection.query_row("SELECT count(*) FROM products", [], |row| row.get(0))?;
    if products == 0 {
        Err(Error::Busy("the database holds no products".to_owned()))
    } else {
        Ok(())
    }
}

/// Takes the write lock and changes a row, then rolls back, so that nothing waits for the disk. A lock held by
/// somebody else is a sign of life.
fn write(connection: &mut Connection) -> Result<(), Error> {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Ok(()),
        other => other?,
    };
    transaction.execute(
        "INSERT INTO settings (name, value) VALUES ('probe', '')",
        [],
    )?;
    transaction.rollback()?;
    Ok(())
}

/// Device and number of the file a path names.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.metadata()
        .map(|metadata| (metadata.dev(), metadata.ino()))
}
