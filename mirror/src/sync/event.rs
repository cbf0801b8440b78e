//! What a sync tells while it runs.

use std::fmt::Debug;
use std::time::Duration;

use super::{ItemError, Plan, Report};
use crate::simplestreams::{RelPath, Timestamp};
use crate::store::StoreError;
use crate::upstream::FetchError;

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A metadata file is there and its signature holds.
    Verified {
        /// Its path.
        path: &'a RelPath,
        /// Fingerprint of the key that signed it.
        signer: &'a str,
    },
    /// A key that signs upstream's metadata expires soon.
    KeyExpires {
        /// Its fingerprint.
        fingerprint: &'a str,
        /// Days that are left.
        days: i64,
    },
    /// Upstream has not changed for long: it may be held back from us.
    Stale {
        /// When the index says it was updated.
        updated: Timestamp,
        /// Days since.
        days: i64,
    },
    /// What will be done is known.
    Planned(&'a Plan),
    /// What a push will upload is known.
    Sending {
        /// Blobs.
        count: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A download or an upload starts or goes on.
    Started {
        /// The item.
        path: &'a RelPath,
        /// Bytes there already.
        from: u64,
        /// Bytes in all.
        size: u64,
    },
    /// The bytes that are there of an item are about to be thrown away: it
    /// starts at its first byte again.
    Restarting {
        /// The item.
        path: &'a RelPath,
    },
    /// Bytes of an item are on disk, or on their way to a registry.
    Progress {
        /// The item.
        path: &'a RelPath,
        /// Bytes there now.
        done: u64,
    },
    /// A request failed and is tried again.
    Retrying {
        /// What was fetched.
        path: &'a RelPath,
        /// Why it failed.
        error: &'a FetchError,
        /// The pause before the next try.
        pause: Duration,
    },
    /// All bytes of an item are there, and their digest holds.
    Whole {
        /// The item.
        path: &'a RelPath,
    },
    /// An item is held, or a registry has it.
    Finished {
        /// The item.
        path: &'a RelPath,
        /// Its length in bytes.
        size: u64,
    },
    /// An item could not be had.
    Failed {
        /// The item.
        path: &'a RelPath,
        /// Why.
        error: &'a ItemError,
    },
    /// The new snapshot is published, but old ones could not be removed.
    NotCollected {
        /// Why not.
        error: &'a StoreError,
    },
    /// The run ended well.
    Done(&'a Report),
}

/// Takes the events of a run. Called from many threads; must not block for
/// long.
pub trait Observer: Send + Sync + Debug {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// An observer that is not interested.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event<'_>) {}
}
