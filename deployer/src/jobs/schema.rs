//! Which version of MAAS the database's schema is of, as db-sync recorded it.

use super::error::JobError;
use crate::database::{DatabaseError, Session};
use crate::version::Version;
use tokio_postgres::error::SqlState;

/// The recorded version; `None` where none was recorded.
pub(super) async fn recorded(session: &Session) -> Result<Option<Version>, JobError> {
    let sql = "SELECT version FROM maas_deployer.schema_record WHERE id = 1";
    let row = match session.row("read the recorded version of MAAS", sql, &[]).await {
        Ok(row) => row,
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(row) = row else { return Ok(None) };
    let text: String = row.try_get(0).unwrap_or_default();
    text.parse().map(Some).map_err(JobError::ImageVersion)
}

/// Whether a statement failed because its table or schema is not there yet.
pub(super) fn is_missing(error: &DatabaseError) -> bool {
    let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(code))
}

/// Records that the schema is of `version` now.
pub(super) async fn record(session: &Session, version: Version) -> Result<(), JobError> {
    let doing = "record the version of MAAS";
    let table = "CREATE SCHEMA IF NOT EXISTS maas_deployer; \
        CREATE TABLE IF NOT EXISTS maas_deployer.schema_record ( \
            id integer PRIMARY KEY CHECK (id = 1), \
            version text NOT NULL, \
            recorded_at timestamptz NOT NULL DEFAULT now())";
    session.execute(doing, table).await?;
    let sql = "INSERT INTO maas_deployer.schema_record (id, version) VALUES (1, $1) \
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, recorded_at = now()";
    session.change(doing, sql, &[&version.to_string()]).await?;
    Ok(())
}

/// Refuses an image that is older than what the schema is of.
pub(super) fn check(recorded: Option<Version>, image: Version) -> Result<(), JobError> {
    match recorded {
        Some(recorded) if recorded > image => Err(JobError::Downgrade { recorded, image }),
        _ => Ok(()),
    }
}
