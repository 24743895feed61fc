//! Connections to PostgreSQL.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::task::Poll;

use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use tokio::runtime::Runtime;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{to_sql_checked, FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::{Access, FromValue, Owned, Row, ToValue, Value};
use crate::config::Database;
use crate::store::error::{Cause, Error, Result};

/// What holds for each connection: nothing waits for ever, no lock outlives a station that hangs, and
/// a commit is on disk, whatever the server's configuration says.
const SETTINGS: &str = "SET lock_timeout = '10s'; SET statement_timeout = '60s'; \
    SET idle_in_transaction_session_timeout = '60s'; SET synchronous_commit = on";
/// Longest wait for a connection, and time until a silent one is probed.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// Longest time that sent bytes are not acknowledged.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(40);

/// Statements that a connection keeps prepared; a filter makes one of its own.
const STATEMENTS: usize = 512;
/// Most statements that wait for the next one.
const MOST_WAITING: usize = 256;

type Answer<T> = std::result::Result<T, tokio_postgres::Error>;

/// A connection to PostgreSQL, driven by the thread that uses it.
#[derive(Debug)]
pub struct Postgres {
    /// Runs this connection alone. `None`: it is being dropped.
    runtime: Option<Runtime>,
    client: Client,
    /// By their SQL.
    statements: RefCell<HashMap<String, Statement>>,
    /// Statements whose answers nobody waits for: they go out with the next one.
    waiting: RefCell<Vec<(Statement, Vec<Owned>)>>,
    /// Whether a statement of the transaction has failed: PostgreSQL would take a COMMIT, and roll
    /// back.
    failed: Cell<bool>,
}

impl Postgres {
    /// Connects.
    pub fn open(database: &Database) -> Result<Self> {
        let away = |why: &dyn std::fmt::Display| {
            Error::new(Cause::Away, format!("no connection to the database: {why}"))
        };
        let mut config = database.server().map_err(|reason| away(&reason))?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        // A server that vanished cannot keep its promises below.
        config
            .keepalives(true)
            .keepalives_idle(PATIENCE)
            .keepalives_interval(PATIENCE)
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE);
        let mut tls =
            SslConnector::builder(SslMethod::tls_client()).map_err(|error| away(&error))?;
        if let Some(ca) = &database.ca {
            tls.set_ca_file(ca)
                .map_err(|error| away(&format!("database.ca: {}: {error}", ca.display())))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| away(&error))?;
        let (client, connection) =
            runtime.block_on(config.connect(MakeTlsConnector::new(tls.build())))?;
        runtime.spawn(async move {
            if let Err(error) = connection.await {
                log::warn!("the connection to the database ended: {error}");
            }
        });
        runtime.block_on(client.batch_execute(SETTINGS))?;
        Ok(Postgres {
            runtime: Some(runtime),
            client,
            statements: RefCell::default(),
            waiting: RefCell::default(),
            failed: Cell::new(false),
        })
    }

    /// Sends the statements that wait, and then another one, in one go; waits for what the server
    /// answers to all.
    fn wait<T>(&self, answer: impl Future<Output = Answer<T>>) -> Result<T> {
        let Some(runtime) = &self.runtime else {
            return Err(Error::new(Cause::Away, "the connection is closed"));
        };
        let waiting = self.waiting.take();
        let answered = runtime.block_on(async {
            let mut sent: Vec<_> = waiting
                .iter()
                .map(|(statement, params)| {
                    let params = params.iter().map(ToValue::to_value);
                    Some(Box::pin(self.client.execute_raw(statement, params)))
                })
                .collect();
            let mut answer = pin!(answer);
            // What is polled is sent: each once, in order.
            let first = poll_fn(|cx| {
                for one in &mut sent {
                    let done = one.as_mut().map(|one| one.as_mut().poll(cx));
                    match done {
                        Some(Poll::Ready(Ok(_))) => *one = None,
                        Some(Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
                        _ => {}
                    }
                }
                Poll::Ready(Ok(answer.as_mut().poll(cx)))
            });
            let first: Poll<Answer<T>> = first.await?;
            // What failed first is why the rest fails.
            for one in sent.into_iter().flatten() {
                one.await?;
            }
            match first {
                Poll::Ready(answer) => answer,
                Poll::Pending => answer.await,
            }
        });
        answered.map_err(|error| {
            self.failed.set(true);
            Error::from(error)
        })
    }

    fn statement(&self, sql: &str) -> Result<Statement> {
        let known = self.statements.borrow().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.wait(self.client.prepare(&numbered(sql)))?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Executes statements without parameters.
    pub fn batch(&self, sql: &str) -> Result<()> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Tells whether the connection can be used again.
    pub(super) fn is_usable(&self) -> bool {
        !self.client.is_closed()
    }

    pub(super) fn begin(&self, access: Access) -> Result<()> {
        self.failed.set(false);
        self.batch(match access {
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            // What an operation changes, it locks first: see `store::locks`.
            Access::Write => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        })
    }

    pub(super) fn commit(&self) -> Result<()> {
        if self.failed.get() {
            return Err(Error::new(
                Cause::Other,
                "a statement of the transaction had failed",
            ));
        }
        self.batch("COMMIT")
    }

    pub(super) fn roll_back(&self) {
        self.waiting.take();
        if self.is_usable() {
            if let Err(error) = self.batch("ROLLBACK") {
                log::warn!("a transaction ended by itself: {error}");
            }
        }
    }

    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<usize> {
        let statement = self.statement(sql)?;
        let changed = self.wait(self.client.execute_raw(&statement, params.iter().copied()))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Executes a statement with the next one.
    pub(super) fn run(&self, sql: &str, params: &[Value<'_>]) -> Result<()> {
        if self.waiting.borrow().len() >= MOST_WAITING {
            self.wait(async { Ok(()) })?;
        }
        let statement = self.statement(sql)?;
        let params = params.iter().map(|value| Owned::from(*value)).collect();
        self.waiting.borrow_mut().push((statement, params));
        Ok(())
    }

    pub(super) fn query(
        &self,
        sql: &str,
        params: &[Value<'_>],
        each: &mut dyn FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let statement = self.statement(sql)?;
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|value| value as _).collect();
        for row in self.wait(self.client.query(&statement, &params))? {
            each(&Row::Postgres(&row))?;
        }
        Ok(())
    }
}

/// A runtime must not be dropped where others run, as the station's are.
impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Writes SQLite's parameters (`?1`; a bare `?` is one more than the largest before it) as
/// PostgreSQL's (`$1`).
fn numbered(sql: &str) -> String {
    let mut text = String::with_capacity(sql.len().saturating_add(16));
    let mut rest = sql.chars().peekable();
    let (mut largest, mut quoted): (u32, bool) = (0, false);
    while let Some(letter) = rest.next() {
        quoted ^= letter == '\'';
        if letter != '?' || quoted {
            text.push(letter);
            continue;
        }
        let mut number: Option<u32> = None;
        while let Some(digit) = rest.peek().and_then(|letter| letter.to_digit(10)) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            rest.next();
        }
        let number = number.unwrap_or(largest.saturating_add(1));
        largest = largest.max(number);
        text.push_str(&format!("${number}"));
    }
    text
}

/// Returns the column with this index.
pub(super) fn column<T: FromValue>(row: &tokio_postgres::Row, index: usize) -> Result<T> {
    T::from_value(row.try_get::<_, Column<'_>>(index)?.0)
}

struct Column<'a>(Value<'a>);

impl<'a> FromSql<'a> for Column<'a> {
    fn from_sql(
        ty: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Column(match *ty {
            Type::BOOL => Value::Bool(bool::from_sql(ty, raw)?),
            Type::INT4 => Value::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::BYTEA => Value::Blob(raw),
            _ => Value::Text(<&str>::from_sql(ty, raw)?),
        }))
    }

    fn from_sql_null(
        _: &Type,
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Column(Value::Null))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::BOOL | Type::INT4 | Type::INT8 | Type::BYTEA)
            || <&str as FromSql>::accepts(ty)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match *self {
            Value::Null => Ok(IsNull::Yes),
            Value::Bool(is) => is.to_sql_checked(ty, out),
            // SQLite has truth as a number.
            Value::Integer(number) if *ty == Type::BOOL => (number != 0).to_sql_checked(ty, out),
            Value::Integer(number) if *ty == Type::INT4 => {
                i32::try_from(number)?.to_sql_checked(ty, out)
            }
            Value::Integer(number) => number.to_sql_checked(ty, out),
            // PostgreSQL's texts have no NUL, and a terminal may send one.
            Value::Text(text) if text.contains('\0') => {
                text.replace('\0', "\u{fffd}").to_sql_checked(ty, out)
            }
            Value::Text(text) => text.to_sql_checked(ty, out),
            Value::Blob(bytes) => bytes.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            // What the server did not say was said by the connection, or is about values.
            let cause = match std::error::Error::source(&error) {
                _ if error.is_closed() => Cause::Away,
                Some(source) if source.is::<std::io::Error>() => Cause::Away,
                Some(_) => Cause::Data,
                None => Cause::Away,
            };
            return Error::new(cause, with_source(&error));
        };
        let message = format!("{} ({})", server.message(), server.code().code());
        Error::new(cause(server.code()), message)
    }
}

fn with_source(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Returns the cause of an error of the server; PostgreSQL's manual, appendix A, has the codes.
fn cause(state: &SqlState) -> Cause {
    match state.code() {
        "53100" => Cause::DiskFull,
        // Deadlock, serialization failure, time over.
        "40P01" | "40001" | "55P03" | "57014" | "25P03" => Cause::Busy,
        "25006" | "28000" | "28P01" | "3D000" => Cause::Away,
        code => match code.get(..2).unwrap_or_default() {
            "22" | "23" | "54" => Cause::Data,
            "08" | "53" | "57" | "58" | "XX" => Cause::Away,
            _ => Cause::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_as_sqlite_numbers_them() {
        for (sqlite, postgres) in [
            ("a = ? AND b = ?", "a = $1 AND b = $2"),
            (
                "a = ?2 AND b = ? AND c = ?1",
                "a = $2 AND b = $3 AND c = $1",
            ),
            ("a = '?' AND b = ?", "a = '?' AND b = $1"),
            ("a = 'it''s ?' AND b = ?12", "a = 'it''s ?' AND b = $12"),
        ] {
            assert_eq!(numbered(sqlite), postgres);
        }
    }

    #[test]
    fn the_cause_of_an_error_is_known() {
        for (code, expected) in [
            ("53100", Cause::DiskFull),
            ("40P01", Cause::Busy),
            ("55P03", Cause::Busy),
            ("53300", Cause::Away),
            ("57P01", Cause::Away),
            ("58030", Cause::Away),
            ("23505", Cause::Data),
            ("22021", Cause::Data),
            ("42601", Cause::Other),
        ] {
            assert_eq!(cause(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
