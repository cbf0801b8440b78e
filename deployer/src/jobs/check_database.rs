//! `check-database`: what the database is like; nothing in it is changed.

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use crate::database::{Server, Session};
use crate::secret::{Login, SecretError};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Host and port.
    pub server: String,
    /// As the server writes it: `15.4`.
    pub version: String,
    /// The same as a number: 150004.
    pub version_number: i32,
    /// Whether the session was over TLS.
    pub tls: bool,
    /// How strict TLS was to be.
    pub tls_mode: String,
    /// The user of the session.
    pub session_user: String,
    /// Whether that user may make roles and databases.
    pub may_create: bool,
    /// MAAS's database.
    pub database: String,
    /// Its encoding; none where it is not there.
    pub encoding: Option<String>,
    /// MAAS's user, where its login is known.
    pub user: Option<UserFacts>,
}

/// What is known of MAAS's user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserFacts {
    /// Its name.
    pub name: String,
    /// Whether there is such a role.
    pub is_there: bool,
    /// Why it cannot log in; none where it can.
    pub refused: Option<String>,
}

/// Looks at the database: as its administrator, where that login is mounted, else as MAAS's user.
///
/// # Errors
/// [`JobError`] where nobody can log in.
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let server = context.server()?;
    let name = context.settings.database()?.name.clone();
    let admin = mounted(context.mounts.database_admin())?;
    let user = mounted(context.mounts.database_user())?;
    let mut facts = DatabaseFacts {
        server: server.name(),
        database: name.clone(),
        tls_mode: context.settings.database()?.tls.mode.to_string(),
        ..DatabaseFacts::default()
    };
    let (login, at) = match (&admin, &user) {
        (Some(admin), _) => (admin, "postgres"),
        (None, Some(user)) => (user, name.as_str()),
        (None, None) => {
            return Err(context
                .mounts
                .database_user()
                .map(drop)
                .map_or_else(JobError::from, |()| {
                    JobError::Settings("no login is mounted".to_owned())
                }));
        }
    };
    let session = server.connect(login, at).await?;
    look(&session, &mut facts).await?;
    facts.session_user.clone_from(&login.username);
    if let Some(user) = &user {
        facts.user = Some(of_user(&server, &session, user, &facts).await?);
    }
    let mut report = Report::default();
    report.noted(format!(
        "PostgreSQL {} at {} takes {}, {} TLS",
        facts.version,
        facts.server,
        facts.session_user,
        if facts.tls { "over" } else { "without" }
    ));
    report.facts = serde_json::to_value(&facts).ok();
    Ok(report)
}

fn mounted(login: Result<Login, SecretError>) -> Result<Option<Login>, JobError> {
    match login {
        Ok(login) => Ok(Some(login)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn look(session: &Session, facts: &mut DatabaseFacts) -> Result<(), JobError> {
    let number = "SELECT current_setting('server_version_num')::int";
    facts.version_number = session.value("read the server's version", number, &[]).await?;
    // As the server writes it: 13.5 is 130005.
    facts.version = format!("{}.{}", facts.version_number / 10_000, facts.version_number % 10_000);
    let tls = "SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)";
    facts.tls = session.value("see whether TLS is used", tls, &[]).await?;
    let rights = "SELECT rolsuper OR (rolcreaterole AND rolcreatedb) FROM pg_roles \
        WHERE rolname = current_user";
    facts.may_create = session.value("look at the user's rights", rights, &[]).await?;
    let encoding = "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = $1";
    let row = session.row("look for the database", encoding, &[&facts.database]).await?;
    facts.encoding = row.and_then(|row| row.try_get(0).ok());
    Ok(())
}

async fn of_user(
    server: &Server,
    session: &Session,
    user: &Login,
    facts: &DatabaseFacts,
) -> Result<UserFacts, JobError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
    let is_there = session.value("look for the role", sql, &[&user.username]).await?;
    let mut found = UserFacts { name: user.username.clone(), is_there, refused: None };
    if is_there {
        let at = if facts.encoding.is_some() { facts.database.as_str() } else { "postgres" };
        if let Err(error) = server.connect(user, at).await {
            found.refused = Some(
                error.connect_problem().map_or_else(|| crate::chain(&error), ToString::to_string),
            );
        }
    }
    Ok(found)
}
