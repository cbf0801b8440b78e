//! An advisory lock: one job at a time, over all pods.

use std::time::Duration;

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
}

async fn holder(session: &Session) -> Result<Option<LockHolder>, DatabaseError> {
    let sql = "SELECT l.pid, coalesce(host(a.client_addr), 'this host') \
        FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) \
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
        AND (l.classid::bigint << 32) | l.objid::bigint = $1 LIMIT 1";
    let row = session.row("see who holds the lock of the schema", sql, &[&SCHEMA]).await?;
    Ok(row.map(|row| LockHolder {
        pid: row.try_get(0).unwrap_or_default(),
        address: row.try_get(1).unwrap_or_default(),
    }))
}
