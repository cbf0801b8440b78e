//! An advisory lock: one job at a time, over all pods.

use std::time::Duration;

use tokio_postgres::Row;

use super::connect::Session;
use super::error::DatabaseError;
use crate::wait::{State, Wait, WaitError};

/// The lock that a schema migration holds. A number of our own choosing: `maasdply`
/// in ASCII.
const SCHEMA: i64 = 0x6d61_6173_6470_6c79;

/// A lock that is held for as long as the session lives.
#[derive(Debug)]
pub struct Lock<'a>(&'a Session);

/// Who holds a lock.
#[derive(Debug, Default)]
pub struct LockHolder {
    /// PostgreSQL's process.
    pub pid: i32,
    /// Where it is connected from.
    pub address: String,
}

impl<'a> Lock<'a> {
    /// Takes the lock that a schema migration holds; waits for it at most
    /// `limit`, and says who holds it.
    ///
    /// # Errors
    /// [`DatabaseError`], [`WaitError`].
    pub async fn schema<E>(session: &'a Session, limit: Duration) -> Result<Self, E>
    where
        E: From<DatabaseError> + From<WaitError>,
    {
        Wait::new("another db-sync to end", limit)
            .until(async || {
                let doing = "take the lock of the schema";
                let sql = "SELECT pg_try_advisory_lock($1)";
                if session.value(doing, sql, &[&SCHEMA]).await? {
                    return Ok(State::Ready(Self(session)));
                }
                let holder = holder(session).await?.unwrap_or_default();
                let (pid, address) = (holder.pid, holder.address);
                Ok(State::Waiting(format!("it holds the lock: process {pid} of {address}")))
            })
            .await
    }

    /// Whether it is held still: a session that ended lost it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.0.is_over()
    }

    /// Returns when it is held no more.
    pub async fn lost(&self) {
        while self.is_held() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Waits, at most `limit`, for what this user's other sessions were writing when this is
    /// called. The statement of a program that died goes on to its end, and is taken back then.
    ///
    /// # Errors
    /// [`DatabaseError`], [`WaitError`].
    pub async fn others<E>(&self, limit: Duration) -> Result<(), E>
    where
        E: From<DatabaseError> + From<WaitError>,
    {
        let doing = "look for transactions that are open";
        let now: String = self.0.value(doing, "SELECT clock_timestamp()::text", &[]).await?;
        let sql = "SELECT pid, coalesce(host(client_addr), 'this host') FROM pg_stat_activity \
            WHERE datname = current_database() AND usename = current_user \
            AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL \
            AND xact_start < $1::text::timestamptz ORDER BY xact_start LIMIT 1";
        Wait::new("what an earlier migration began in the database to end", limit)
            .until(async || {
                let Some(row) = self.0.row(doing, sql, &[&now]).await? else {
                    return Ok(State::Ready(()));
                };
                let LockHolder { pid, address } = LockHolder::from(&row);
                Ok(State::Waiting(format!("process {pid} of {address} has written and not ended")))
            })
            .await
    }
}

impl LockHolder {
    /// Who holds the lock that a schema migration holds, in this session's database.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub async fn of_schema(session: &Session) -> Result<Option<Self>, DatabaseError> {
        holder(session).await
    }
}

impl From<&Row> for LockHolder {
    fn from(row: &Row) -> Self {
        Self {
            pid: row.try_get(0).unwrap_or_default(),
            address: row.try_get(1).unwrap_or_default(),
        }
    }
}

async fn holder(session: &Session) -> Result<Option<LockHolder>, DatabaseError> {
    let sql = "SELECT l.pid, coalesce(host(a.client_addr), 'this host') \
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) \
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
        AND (l.classid::bigint << 32) | l.objid::bigint = $1 LIMIT 1";
    let row = session.row("see who holds the lock of the schema", sql, &[&SCHEMA]).await?;
    Ok(row.as_ref().map(LockHolder::from))
}
