//! `seed-secret`: the secret that regions and racks share, in the database.
//!
//! MAAS takes its shared secret from the database and writes it to its files,
//! never the other way about. So the Secret's is put there before the first
//! region starts; where the database has one, that is the one that holds.

use serde_json::{Value, json};

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::schema;
use crate::cluster::SecretData;
use crate::database::Session;
use crate::secret::Secret;

/// Where MAAS keeps it.
const PATH: &str = "global/rpc-shared";

/// Puts the Secret's shared secret into the database, or, where that has
/// another, that one into the Secret.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let wanted = context.mounts.shared_secret()?;
    check(&wanted)?;
    let session = context.maas_database().await?;
    if insert(&session, &wanted).await? {
        report.changed("put the shared secret into the database");
        return Ok(report);
    }
    let Some(held) = read(&session).await? else {
        return Err(JobError::failed(
            "the shared secret in the database was removed while it was looked at",
            "run it again",
        ));
    };
    if held == wanted {
        report.noted("the database has this shared secret already");
        return Ok(report);
    }
    let settings = context.settings.secrets()?;
    let secret = settings
        .region
        .as_ref()
        .ok_or_else(|| JobError::Settings("the settings have no secrets.region".to_owned()))?;
    let (namespace, _) = context.release()?;
    tracing::warn!(secret = secret.name, "the database's shared secret holds: the Secret follows");
    let data = SecretData::from([("REGION_SECRET".to_owned(), held)]);
    context.cluster().await?.set_in_secret(namespace, &secret.name, &data).await?;
    report.changed(format!("the Secret {} follows the database, which had another", secret.name));
    Ok(report)
}

/// Whether the database has a shared secret.
pub(super) async fn is_there(session: &Session) -> Result<bool, JobError> {
    match read(session).await {
        Ok(found) => Ok(found.is_some()),
        Err(JobError::Database(error)) if schema::is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn insert(session: &Session, secret: &Secret) -> Result<bool, JobError> {
    let sql = "INSERT INTO maasserver_secret (path, value, created, updated) \
        VALUES ($1, $2, now(), now()) ON CONFLICT (path) DO NOTHING";
    let value = json!({ "secret": secret.expose() });
    let doing = "put the shared secret into the database";
    let rows = session.change(doing, sql, &[&PATH, &value]).await.map_err(no_schema)?;
    Ok(rows == 1)
}

async fn read(session: &Session) -> Result<Option<Secret>, JobError> {
    let sql = "SELECT value FROM maasserver_secret WHERE path = $1";
    let doing = "read the shared secret in the database";
    let Some(row) = session.row(doing, sql, &[&PATH]).await? else { return Ok(None) };
    let value: Value = row.try_get(0).unwrap_or_default();
    match value.get("secret").and_then(Value::as_str) {
        Some(secret) => Ok(Some(Secret::new(secret))),
        None => Err(JobError::failed(
            "the shared secret in the database is not of the form that MAAS has",
            format!("look at the row '{PATH}' of the table maasserver_secret"),
        )),
    }
}

fn no_schema(error: crate::database::DatabaseError) -> JobError {
    if schema::is_missing(&error) {
        return JobError::refused(
            "the database has no table maasserver_secret yet",
            "run this after db-sync: maas-deployer job wait schema",
        );
    }
    error.into()
}

/// MAAS reads it as hexadecimal digits, and fails at start on anything else.
pub(super) fn check(secret: &Secret) -> Result<(), JobError> {
    let text = secret.expose();
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits && text.len() >= 32 && text.len().is_multiple_of(2) {
        return Ok(());
    }
    Err(JobError::refused(
        "the shared secret (REGION_SECRET) is not an even number of hexadecimal digits, at least 32",
        "make one with: openssl rand -hex 16",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_maas_can_read_is_a_shared_secret() {
        assert!(check(&Secret::shared()).is_ok());
        let g = "0123456789abcdef0123456789abcdeg";
        for text in ["", "abc", "0123456789abcdef", g, "0123456789abcdef0123456789abcdef0"] {
            assert!(check(&Secret::new(text)).is_err(), "{text}");
        }
    }
}
