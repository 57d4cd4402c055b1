//! Opening the database: create it, bring the schema up to date, fill it, and hand out the pools.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use deadpool_sqlite::{Config, Hook, HookError, Pool, Runtime};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::changes::Changes;
use super::health::Probe;
use super::{Database, LOCK_WAIT, READERS, WAIT, schema};
use crate::catalog::SHOP_TAG;
use crate::purge::Purges;
use crate::{secret, seed};

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder does not let us.
    #[error("cannot open the database {}: {cause}", path.display())]
    File {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// SQLite refused.
    #[error("cannot use the database {}: {cause}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// The schema is newer than this program, or a migration failed.
    #[error("cannot bring the database {} up to date: {cause}", path.display())]
    Migration {
        /// The database file.
        path: PathBuf,
        /// What the migration said.
        cause: rusqlite_migration::Error,
    },
    /// The system has no randomness to give.
    #[error("cannot generate a secret: {0}")]
    Randomness(#[from] getrandom::Error),
    /// A pool could not be made.
    #[error("cannot set up database connections: {0}")]
    Pool(String),
}

/// Opens the database and returns it with the secret kept in it. Blocks for as long as another instance fills it.
/// Changes of products, from here on, are told to `purges`.
pub fn open(path: &Path, purges: Purges) -> Result<(Database, Vec<u8>), OpenError> {
    let file = |cause| OpenError::File {
        path: path.to_owned(),
        cause,
    };
    // The file holds addresses of customers and the secret: for its owner only.
    drop(create(path).map_err(file)?);
    // From an absolute path, connections made later do not depend on the working directory.
    let path = &path.canonicalize().map_err(file)?;
    let Filled { secret, anew } = prepare(path)?;
    if anew {
        // An edge may still keep the pages of a shop that was here before.
        purges.tell([SHOP_TAG.to_owned()]);
    }
    let changes = Changes::default();
    let watched = changes.clone();
    let readers = pool(path, READERS, |connection| {
        connection.execute_batch("PRAGMA query_only = ON;")
    })?;
    let writer = pool(path, 1, move |connection| watched.watch(connection))?;
    let prober = pool(path, 1, |connection| {
        connection.execute_batch("PRAGMA busy_timeout = 0;")
    })?;
    let database = Database {
        readers,
        writer,
        probe: Probe::new(path, prober).map_err(file)?,
        changes,
        purges,
    };
    Ok((database, secret))
}

/// Switches to WAL, migrates and seeds. Instances that start together take turns: the lock file makes the others wait
/// until the first is done, and the kernel releases it should that one be killed.
fn prepare(path: &Path) -> Result<Filled, OpenError> {
    let lock_path = path.with_added_extension("lock");
    let lock = create(&lock_path)
        .and_then(|lock| lock.lock().map(|()| lock))
        .map_err(|cause| OpenError::File {
            path: lock_path,
            cause,
        })?;
    let sqlite = |cause| OpenError::Sqlite {
        path: path.to_owned(),
        cause,
    };
    let mut connection = Connection::open(path).map_err(sqlite)?;
    configure(&connection).map_err(sqlite)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(sqlite)?;
    schema::migrations()
        .to_latest(&mut connection)
        .map_err(|cause| OpenError::Migration {
            path: path.to_owned(),
            cause,
        })?;
    let generated = secret::random_hex::<32>()?;
    let filled = fill(&mut connection, &generated).map_err(sqlite)?;
    drop(lock);
    Ok(filled)
}

/// A database that has everything.
struct Filled {
    secret: Vec<u8>,
    /// Whether the products are new.
    anew: bool,
}

/// Adds the products and the secret unless they are there; all or nothing.
fn fill(connection: &mut Connection, generated: &str) -> rusqlite::Result<Filled> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let products: i64 =
        transaction.query_row("SELECT count(*) FROM products", [], |row| row.get(0))?;
    let anew = products == 0;
    if anew {
        seed::insert_products(&transaction)?;
    }
    let kept = transaction
        .query_row(
            "SELECT value FROM settings WHERE name = 'secret'",
            [],
            |row| row.get::<_, String>(0),
        )
        .optional()?;
    let secret = match kept {
        Some(secret) => secret,
        None => {
            transaction.execute(
                "INSERT INTO settings (name, value) VALUES ('secret', ?1)",
                params![generated],
            )?;
            generated.to_owned()
        }
    };
    transaction.commit()?;
    Ok(Filled {
        secret: secret.into_bytes(),
        anew,
    })
}

/// What every connection needs.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
}

fn pool(
    path: &Path,
    size: usize,
    prepare: impl Fn(&Connection) -> rusqlite::Result<()> + Clone + Send + Sync + 'static,
) -> Result<Pool, OpenError> {
    let config = Config::new(path);
    let Ok(builder) = config.builder(Runtime::Tokio1);
    builder
        .max_size(size)
        .wait_timeout(Some(WAIT))
        .post_create(Hook::async_fn(move |connection, _| {
            let prepare = prepare.clone();
            Box::pin(async move {
                connection
                    .interact(move |connection| {
                        configure(connection)?;
                        prepare(connection)
                    })
                    .await
                    .map_err(|error| HookError::message(error.to_string()))?
                    .map_err(HookError::Backend)
            })
        }))
        .build()
        .map_err(|error| OpenError::Pool(error.to_string()))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
