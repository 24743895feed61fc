//! Connections for those who read and those who write.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use super::error::{Cause, Error, Result};
use super::sql::{Access, Connection, Postgres, Sqlite, Transaction};
use super::{blocking, lock};
use crate::config::Database;

/// Most connections that read, and that write to PostgreSQL: more would share the same processors.
const MOST: usize = 8;

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Place {
    /// The file of SQLite.
    File(PathBuf),
    Server(Arc<Database>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Server(_) => f.write_str("the database of database.url"),
        }
    }
}

impl Place {
    /// Opens a connection.
    pub fn open(&self, access: Access) -> Result<Connection> {
        Ok(match (self, access) {
            (Place::File(path), Access::Read) => Connection::Sqlite(Sqlite::open_reader(path)?),
            (Place::File(path), Access::Write) => Connection::Sqlite(Sqlite::open_writer(path)?),
            (Place::Server(database), _) => {
                Connection::Postgres(Box::new(Postgres::open(database)?))
            }
        })
    }
}

/// Connections that are opened when they are needed.
#[derive(Debug)]
pub struct Pool {
    place: Place,
    access: Access,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    /// Returns a pool without connections.
    pub fn new(place: Place, access: Access) -> Self {
        let most = match (&place, access) {
            (Place::File(_), Access::Write) => 1,
            _ => MOST,
        };
        Pool {
            place,
            access,
            idle: Mutex::default(),
            permits: Arc::new(Semaphore::new(most)),
        }
    }

    /// Runs `work` in a transaction, which is committed if it returns `Ok`.
    pub async fn run<T, E>(
        self: Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|error| Error::new(Cause::Other, error.to_string()))?;
        blocking(move || {
            let _permit = permit;
            let connection = self.begin()?;
            let outcome = committed(&connection, work);
            self.give_back(connection);
            outcome
        })
        .await
    }

    /// Returns a connection with a transaction. One that was closed meanwhile, as when the server was
    /// restarted, is replaced.
    fn begin(&self) -> Result<Connection> {
        loop {
            let idle = lock(&self.idle).pop();
            let (connection, is_new) = match idle {
                Some(connection) => (connection, false),
                None => (self.place.open(self.access)?, true),
            };
            match connection.begin(self.access) {
                Ok(()) => return Ok(connection),
                Err(_) if !is_new && !connection.is_usable() => {}
                Err(error) => {
                    self.give_back(connection);
                    return Err(error);
                }
            }
        }
    }

    fn give_back(&self, connection: Connection) {
        if connection.is_usable() {
            lock(&self.idle).push(connection);
        }
    }
}

fn committed<T, E: From<Error>>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let transaction = Transaction::of(connection);
    let outcome = work(connection)?;
    transaction.commit()?;
    Ok(outcome)
}
