//! Why a sync failed, and which kind of failure that is.

use std::time::Duration;

use crate::signature::VerifyError;
use crate::simplestreams::{DocumentError, RelPath, SelectionError, Timestamp};
use crate::store::{BlobError, StoreError};
use crate::upstream::FetchError;

/// The kinds of failure that a caller tells apart, most telling first; the
/// program's exit codes follow them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another process writes to the store.
    Locked,
    /// Refused before anything was done: no space, a store that cannot be
    /// written to.
    Refused,
    /// A signature, digest, size or age does not hold.
    Unverified,
    /// Some items could not be had; the others are kept.
    Partial,
    /// Anything else.
    Other,
}

/// Why a sync failed. The snapshot that was current stays so.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A metadata file cannot be used.
    #[error("cannot use the metadata file {path}")]
    Metadata {
        /// Its path below the upstream's root.
        path: RelPath,
        /// Why not.
        source: Box<MetadataError>,
    },
    /// What a registry holds cannot be found out.
    #[error(transparent)]
    Registry(Box<FetchError>),
    /// The index names more files than the limit.
    #[error("the index names more than {limit} files")]
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The selection cannot be made.
    #[error("cannot select items")]
    Selection(#[from] SelectionError),
    /// The selection is empty.
    #[error("the selection matches nothing upstream")]
    NothingSelected,
    /// It would not fit.
    #[error("{needed} bytes are to be fetched, and {free} bytes are free in the store")]
    Space {
        /// Bytes to be written.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Some items failed; the others are kept for the next run.
    #[error("{} of {} items could not be fetched", failures.len(), total)]
    Items {
        /// What failed, and why.
        failures: Vec<ItemFailure>,
        /// Items that were to be fetched.
        total: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part of the program stopped unexpectedly.
    #[error("a task stopped unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

/// Why one metadata file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its signature does not hold.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Its content is not understood.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The entry point is not an index.
    #[error("it is a products file, and the entry point must be an index")]
    NotAnIndex,
    /// It is older than what was accepted before: a replay, or an upstream
    /// that went back.
    #[error("it says it was updated {found}, and {known} was accepted before")]
    Older {
        /// Its own time.
        found: Timestamp,
        /// The newest accepted.
        known: Timestamp,
    },
    /// It no longer says when it was updated, so its age cannot be judged.
    #[error("it does not say when it was updated, and {known} was accepted before")]
    NoAge {
        /// The newest accepted.
        known: Timestamp,
    },
    /// The products file is another than the index announces.
    #[error("it holds the stream {found}, and the index announces {announced} there")]
    ContentId {
        /// Its own content id.
        found: String,
        /// The index's.
        announced: String,
    },
    /// The index announces a product that the file does not have.
    #[error("it lacks the product {product}, which the index announces")]
    MissingProduct {
        /// The product id.
        product: String,
    },
}

/// An item that could not be had.
#[derive(Debug)]
pub struct ItemFailure {
    /// Its path.
    pub path: RelPath,
    /// Why.
    pub error: ItemError,
}

/// Why an item could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came is not what the metadata lists.
    #[error("the content is not what the signed metadata lists")]
    Content(#[from] BlobError),
    /// Another process began to fetch it, and does not go on.
    #[error("another process is fetching it and has got no further for {} seconds", waited.as_secs())]
    Busy {
        /// How long nothing came.
        waited: Duration,
    },
}

impl SyncError {
    /// Which kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(StoreError::Locked { .. }) => Kind::Locked,
            Self::Store(
                StoreError::ReadOnly { .. }
                | StoreError::NewerFormat { .. }
                | StoreError::NotAStore(_),
            )
            | Self::Space { .. } => Kind::Refused,
            Self::Metadata { source, .. } if source.is_verification() => Kind::Unverified,
            Self::Registry(error) if error.is_verification() => Kind::Unverified,
            Self::Selection(
                SelectionError::Unverifiable { .. }
                | SelectionError::Digest { .. }
                | SelectionError::Size { .. }
                | SelectionError::Sizes { .. }
                | SelectionError::Conflict { .. },
            ) => Kind::Unverified,
            Self::Items { failures, .. } => {
                if failures.iter().any(|failure| failure.error.is_verification()) {
                    Kind::Unverified
                } else {
                    Kind::Partial
                }
            }
            _ => Kind::Other,
        }
    }
}

impl MetadataError {
    /// Whether it was had, and does not hold.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_verification(),
            Self::Verify(VerifyError::Engine(_) | VerifyError::Keyring(_))
            | Self::Document(_)
            | Self::NotAnIndex => false,
            Self::Verify(_)
            | Self::Older { .. }
            | Self::NoAge { .. }
            | Self::ContentId { .. }
            | Self::MissingProduct { .. } => true,
        }
    }
}

impl ItemError {
    /// Whether the item was had, and is not what the metadata lists.
    #[must_use]
    pub fn is_verification(&self) -> bool {
        match self {
            Self::Fetch(error) => error.is_verification(),
            Self::Busy { .. } => false,
            Self::Content(error) => !matches!(error, BlobError::Store(_)),
        }
    }
}
