//! Which version of MAAS the database's schema is of, as db-sync records it.
//!
//! The record has three states: nothing; at a version; on the way to one. The third is
//! committed before a migration begins and goes when it has ended, so that a migration that was
//! killed or failed is known to be half done: by whatever MAAS comes next, and by no older one.

use serde::Deserialize;
use serde_json::Value;
use tokio_postgres::error::SqlState;

use super::error::JobError;
use crate::database::{DatabaseError, Session};
use crate::version::Version;

/// What the record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Nothing: db-sync has made no schema here.
    Nothing,
    /// The schema is of this version.
    At(Version),
    /// A migration has begun and not ended: the schema is of no version.
    Between {
        /// What it was of; `None` where there was none.
        from: Option<Version>,
        /// What it will be of.
        to: Version,
    },
}

impl Recorded {
    /// The last version that the whole schema was of.
    pub(super) fn from(self) -> Option<Version> {
        match self {
            Self::Nothing => None,
            Self::At(version) => Some(version),
            Self::Between { from, .. } => from,
        }
    }
}

/// A row of the record. `version` is null while a migration is under way: a deployer that does
/// not know of such rows cannot read it, and changes nothing.
#[derive(Deserialize)]
struct Row {
    version: Option<String>,
    // Rows of earlier deployers have neither.
    migrating_from: Option<String>,
    migrating_to: Option<String>,
}

impl Row {
    fn read(self) -> Result<Recorded, JobError> {
        let parse = |text: String| text.parse().map_err(JobError::Record);
        if let Some(to) = self.migrating_to {
            let from = self.migrating_from.map(parse).transpose()?;
            return Ok(Recorded::Between { from, to: parse(to)? });
        }
        parse(self.version.unwrap_or_default()).map(Recorded::At)
    }
}

/// What is recorded.
pub(super) async fn recorded(session: &Session) -> Result<Recorded, JobError> {
    // As JSON, which has the columns that there are.
    let sql =
        "SELECT to_jsonb(record) FROM maas_deployer.schema_record AS record WHERE record.id = 1";
    let row = match session.row("read the recorded version of MAAS", sql, &[]).await {
        Ok(row) => row,
        Err(error) if is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let Some(row) = row else { return Ok(Recorded::Nothing) };
    let row: Value = row.try_get(0).unwrap_or_default();
    let unreadable = Row { version: None, migrating_from: None, migrating_to: None };
    serde_json::from_value(row).unwrap_or(unreadable).read()
}

/// Whether a statement failed because its table or schema is not there yet.
pub(super) fn is_missing(error: &DatabaseError) -> bool {
    let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(code))
}

/// Records that a migration from what is `recorded` to `to` begins.
pub(super) async fn begin(
    session: &Session,
    recorded: Recorded,
    to: Version,
) -> Result<(), JobError> {
    write(session, Recorded::Between { from: recorded.from(), to }).await
}

/// Records `now`, whatever was recorded.
pub(super) async fn write(session: &Session, now: Recorded) -> Result<(), JobError> {
    let doing = "record the version of MAAS";
    let table = "CREATE SCHEMA IF NOT EXISTS maas_deployer; \
        CREATE TABLE IF NOT EXISTS maas_deployer.schema_record ( \
            id integer PRIMARY KEY CHECK (id = 1), \
            version text, \
            recorded_at timestamptz NOT NULL DEFAULT now()); \
        ALTER TABLE maas_deployer.schema_record \
            ALTER COLUMN version DROP NOT NULL, \
            ADD COLUMN IF NOT EXISTS migrating_from text, \
            ADD COLUMN IF NOT EXISTS migrating_to text";
    session.execute(doing, table).await?;
    let (version, from, to) = match now {
        Recorded::Nothing => {
            let sql = "DELETE FROM maas_deployer.schema_record";
            return Ok(session.execute(doing, sql).await?);
        }
        Recorded::At(version) => (Some(version), None, None),
        Recorded::Between { from, to } => (None, from, Some(to)),
    };
    let text = |version: Option<Version>| version.map(|version| version.to_string());
    let sql = "INSERT INTO maas_deployer.schema_record (id, version, migrating_from, migrating_to) \
        VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
        migrating_from = excluded.migrating_from, migrating_to = excluded.migrating_to, \
        recorded_at = now()";
    session.change(doing, sql, &[&text(version), &text(from), &text(to)]).await?;
    Ok(())
}

/// Refuses an image that is older than what the schema is of, or is on its way to.
pub(super) fn check(recorded: Recorded, image: Version) -> Result<(), JobError> {
    match recorded {
        Recorded::At(recorded) if recorded > image => Err(JobError::Downgrade { recorded, image }),
        Recorded::Between { from, to } if to > image => {
            Err(JobError::HalfMigrated { from, to, image })
        }
        _ => Ok(()),
    }
}

/// `from MAAS 3.6.4 to 3.7.3`, `to MAAS 3.7.3`.
pub(super) fn way(from: Option<Version>, to: Version) -> String {
    from.map_or_else(|| format!("to MAAS {to}"), |from| format!("from MAAS {from} to {to}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(row: Value) -> Result<Recorded, JobError> {
        serde_json::from_value::<Row>(row).unwrap().read()
    }

    #[test]
    fn every_record_that_was_ever_written_is_read() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        let (old, new) = (version("3.6.4"), version("3.7.3"));
        let at = Recorded::At(old);
        assert_eq!(read(json!({"id": 1, "version": "3.6.4", "recorded_at": "x"})).unwrap(), at);
        let row = json!({"version": "3.6.4", "migrating_from": null, "migrating_to": null});
        assert_eq!(read(row).unwrap(), at);
        let row = json!({"version": null, "migrating_from": "3.6.4", "migrating_to": "3.7.3"});
        assert_eq!(read(row).unwrap(), Recorded::Between { from: Some(old), to: new });
        let row = json!({"version": null, "migrating_from": null, "migrating_to": "3.7.3"});
        assert_eq!(read(row).unwrap(), Recorded::Between { from: None, to: new });
        assert!(read(json!({"version": "soon"})).is_err() && read(json!({})).is_err());
    }
}
