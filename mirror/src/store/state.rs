//! What a store remembers beside its snapshots.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, Writer, files, layout};
use crate::simplestreams::Timestamp;

pub(super) const NEWEST: &str = "newest.json";
const LAST_SYNC: &str = "last-sync.json";

/// Which parts of which bundles came.
pub(crate) const IMPORTS: &str = "imports.json";

/// How the last run of `sync` on this store went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSync {
    /// The upstream, without credentials.
    pub upstream: String,
    /// The selection, in words.
    pub selection: String,
    /// When it started, ISO 8601.
    pub started: String,
    /// When it ended, ISO 8601.
    pub finished: String,
    /// When one last ended well, ISO 8601.
    pub succeeded: Option<String>,
    /// Bytes of items fetched.
    pub fetched_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a sync ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A new snapshot is current.
    Published,
    /// Upstream had nothing new.
    Unchanged,
    /// It failed; the earlier snapshot still stands.
    Failed(String),
}

impl Store {
    /// What a writer kept under `name` with [`Writer::keep`]; `None` where
    /// there is nothing, or nothing that can be understood.
    #[must_use]
    pub fn kept<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let bytes = files::read_optional(&self.private(name)).ok().flatten()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// How the last sync went; `None` where there was none, or no record that
    /// can be understood.
    #[must_use]
    pub fn last_sync(&self) -> Option<LastSync> {
        self.kept(LAST_SYNC)
    }
}

impl Writer {
    /// Keeps something under `name` that costs no more than time when it is
    /// lost.
    ///
    /// # Errors
    /// An I/O error.
    pub fn keep<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        files::write_atomically(&self.store.private(name), &layout::to_bytes(value))
    }

    /// Writes down how a sync went.
    ///
    /// # Errors
    /// An I/O error.
    pub fn record_sync(&self, record: &LastSync) -> Result<(), StoreError> {
        self.keep(LAST_SYNC, record)
    }
}

pub(super) fn read_newest(path: &Path) -> Result<BTreeMap<String, Timestamp>, StoreError> {
    let Some(bytes) = files::read_optional(path)? else {
        return Ok(BTreeMap::new());
    };
    let texts: BTreeMap<String, String> = layout::from_bytes(path, &bytes)?;
    let parse = |(id, text): (String, String)| match Timestamp::parse(&text) {
        Ok(time) => Ok((id, time)),
        Err(error) => Err(StoreError::Damaged { path: path.to_owned(), reason: error.to_string() }),
    };
    texts.into_iter().map(parse).collect()
}

pub(super) fn write_newest(
    path: &Path,
    newest: &BTreeMap<String, Timestamp>,
) -> Result<(), StoreError> {
    let texts: BTreeMap<_, _> = newest.iter().map(|(id, time)| (id, time.to_string())).collect();
    files::write_atomically(path, &layout::to_bytes(&texts))
}

/// Raises `newest` to what `updated` has newer.
pub(super) fn merge(
    newest: &mut BTreeMap<String, Timestamp>,
    updated: &BTreeMap<String, Timestamp>,
) {
    for (id, time) in updated {
        let known = newest.entry(id.clone()).or_insert(*time);
        *known = (*known).max(*time);
    }
}
