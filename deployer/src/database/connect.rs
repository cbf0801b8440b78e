//! Sessions.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode as Wanted;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::warn;

use super::error::{ConnectProblem, DatabaseError};
use super::tls;
use crate::secret::Login;
use crate::settings::{Database, SslMode};

/// How long a connection and a login may take together.
const CONNECT: Duration = Duration::from_secs(10);

/// A PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Server {
    host: String,
    port: u16,
    mode: SslMode,
    ca: Option<PathBuf>,
}

/// A session; it ends when this is dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Server {
    /// The server of `settings`; `ca` is its certificate authority, where one
    /// is given.
    #[must_use]
    pub fn new(settings: &Database, ca: Option<PathBuf>) -> Self {
        let ca = if settings.tls.ca { ca } else { None };
        Self { host: settings.host.clone(), port: settings.port, mode: settings.tls.mode, ca }
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Logs in to `database`.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn connect(&self, login: &Login, database: &str) -> Result<Session, DatabaseError> {
        let tls = tls::config(self.mode, self.ca.as_deref())?;
        let result = match tls {
            None => self.log_in(login, database, None).await,
            Some(tls) => {
                let first = self.log_in(login, database, Some(tls)).await;
                match first {
                    // As libpq: `prefer` does without where TLS does not work.
                    Err(ConnectProblem::Tls { .. } | ConnectProblem::Rules(_))
                        if self.mode == SslMode::Prefer =>
                    {
                        self.log_in(login, database, None).await
                    }
                    other => other,
                }
            }
        };
        result.map_err(|source| DatabaseError::Connect {
            server: self.name(),
            database: database.to_owned(),
            user: login.username.clone(),
            source,
        })
    }

    async fn log_in(
        &self,
        login: &Login,
        database: &str,
        tls: Option<rustls::ClientConfig>,
    ) -> Result<Session, ConnectProblem> {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).dbname(database);
        config.user(&login.username).password(login.password.expose());
        config.application_name("maas-deployer").connect_timeout(CONNECT);
        // A lock may be held for an hour without a word on the connection.
        config.keepalives_idle(Duration::from_secs(60));
        config.keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        let work = async {
            match tls {
                None => {
                    config.ssl_mode(Wanted::Disable);
                    let (client, connection) = config.connect(NoTls).await?;
                    Ok(Session { client, driver: drive(connection) })
                }
                Some(tls) => {
                    let prefer = self.mode == SslMode::Prefer;
                    config.ssl_mode(if prefer { Wanted::Prefer } else { Wanted::Require });
                    let (client, connection) = config.connect(MakeRustlsConnect::new(tls)).await?;
                    Ok(Session { client, driver: drive(connection) })
                }
            }
        };
        match tokio::time::timeout(CONNECT, work).await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(ConnectProblem::of(&error, self.mode)),
            Err(_) => Err(ConnectProblem::Unreachable(format!(
                "no answer within {} s",
                CONNECT.as_secs()
            ))),
        }
    }
}

fn drive(
    connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async {
        if let Err(error) = connection.await {
            // The next statement says the same as an error.
            warn!(reason = crate::chain(&error), "the connection to the database ended");
        }
    })
}

impl Session {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements that return nothing; `doing` completes "cannot …".
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn execute(&self, doing: &str, sql: &str) -> Result<(), DatabaseError> {
        self.client.batch_execute(sql).await.map_err(|error| DatabaseError::query(doing, &error))
    }

    /// Runs one statement with parameters and returns how many rows it changed.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn change(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DatabaseError> {
        let done = self.client.execute(sql, parameters).await;
        done.map_err(|error| DatabaseError::query(doing, &error))
    }

    /// The first row of an answer, if it has any.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn row(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, DatabaseError> {
        let rows = self.client.query_opt(sql, parameters).await;
        rows.map_err(|error| DatabaseError::query(doing, &error))
    }

    /// The first column of the only row, which is there.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn value<T: for<'a> tokio_postgres::types::FromSql<'a>>(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, DatabaseError> {
        let query = |error| DatabaseError::query(doing, &error);
        let row = self.client.query_one(sql, parameters).await.map_err(query)?;
        row.try_get(0).map_err(query)
    }

    /// The number of a transaction that writes, begun now. Where two of them follow each other,
    /// nothing was written between them, in no database of the server.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn transaction_number(&self) -> Result<i64, DatabaseError> {
        let sql = "SELECT pg_current_xact_id()::text::bigint";
        self.value("ask for the number of a transaction", sql, &[]).await
    }
}
