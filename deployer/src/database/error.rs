//! What may go wrong with the database.

use std::io;
use std::path::PathBuf;

use tokio_postgres::error::SqlState;

use super::identifier::IdentifierError;
use crate::settings::SslMode;

/// A failure of the database, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The CA file cannot be read.
    #[error("cannot read the CA certificates in {}", path.display())]
    ReadCa {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no CA to verify with.
    #[error("no CA certificate in {from}")]
    NoCa {
        /// Where they were looked for.
        from: String,
    },
    /// The TLS library does not take what it was given.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// No session.
    #[error("cannot log in to database '{database}' on {server} as '{user}'")]
    Connect {
        /// Host and port.
        server: String,
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// Why.
        source: ConnectProblem,
    },
    /// A statement failed.
    #[error("cannot {doing}: {reason}")]
    Query {
        /// What the statement was to do.
        doing: String,
        /// What PostgreSQL says.
        reason: String,
        /// PostgreSQL's code of it.
        code: Option<SqlState>,
    },
    /// The session ended.
    #[error("the connection to the database was lost while trying to {doing}")]
    Gone {
        /// What was being done.
        doing: String,
    },
    /// A name that cannot be one.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
}

/// Why no session could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectProblem {
    /// No server answers.
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    /// The certificate, or TLS itself.
    #[error("TLS (mode {mode}) failed: {reason}")]
    Tls {
        /// How strict it was to be.
        mode: SslMode,
        /// Why it failed.
        reason: String,
    },
    /// The password is wrong.
    #[error("the server does not accept the password")]
    Password,
    /// The server's rules do not let the user in.
    #[error("the server does not let this user in: {0}")]
    Rules(String),
    /// There is no such database.
    #[error("there is no such database")]
    NoDatabase,
    /// The server starts, stops or is full.
    #[error("the server takes no sessions now: {0}")]
    NotNow(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ConnectProblem {
    /// Whether it may pass by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::NotNow(_))
    }

    pub(super) fn of(error: &tokio_postgres::Error, mode: SslMode) -> Self {
        if let Some(server) = error.as_db_error() {
            let text = server.message().to_owned();
            return match *server.code() {
                SqlState::INVALID_PASSWORD => Self::Password,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Self::Rules(text),
                SqlState::INVALID_CATALOG_NAME => Self::NoDatabase,
                SqlState::CANNOT_CONNECT_NOW
                | SqlState::TOO_MANY_CONNECTIONS
                | SqlState::ADMIN_SHUTDOWN
                | SqlState::CRASH_SHUTDOWN => Self::NotNow(text),
                _ => Self::Other(text),
            };
        }
        let text = innermost(error);
        if is_tls(error, &text) {
            Self::Tls { mode, reason: text }
        } else if error.is_closed() || has_io(error) {
            Self::Unreachable(text)
        } else {
            // Such as a server that wants no password where one was given.
            Self::Other(crate::chain(error))
        }
    }
}

/// Whether TLS is the reason; tokio-postgres tells it by its text alone.
fn is_tls(error: &tokio_postgres::Error, innermost: &str) -> bool {
    error.to_string().contains("TLS") || innermost.contains("certificate")
}

fn has_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<io::Error>() {
            return true;
        }
        source = error.source();
    }
    error.to_string().contains("timed out")
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    // An io::Error that wraps another has no source of its own.
    last.to_string()
}

impl DatabaseError {
    pub(super) fn query(doing: &str, error: &tokio_postgres::Error) -> Self {
        let doing = doing.to_owned();
        if let Some(server) = error.as_db_error() {
            let gone = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
            if gone.contains(server.code()) {
                return Self::Gone { doing };
            }
            let detail = server.detail().map_or_else(String::new, |text| format!(" ({text})"));
            let reason = format!("{}{detail}", server.message());
            return Self::Query { doing, reason, code: Some(server.code().clone()) };
        }
        if error.is_closed() || has_io(error) {
            return Self::Gone { doing };
        }
        Self::Query { doing, reason: crate::chain(error), code: None }
    }

    /// PostgreSQL's code of a statement that failed.
    #[must_use]
    pub fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Query { code, .. } => code.as_ref(),
            _ => None,
        }
    }

    /// Why no session could be made, where that is what failed.
    #[must_use]
    pub fn connect_problem(&self) -> Option<&ConnectProblem> {
        match self {
            Self::Connect { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Whether there is no session, for whatever reason: nothing is known of what is in there.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Gone { .. })
    }

    /// Whether it may pass by itself.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Connect { source, .. } => source.passes(),
            Self::Gone { .. } => true,
            _ => false,
        }
    }
}
