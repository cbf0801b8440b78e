//! Why an item cannot be pulled, as a client is told.

use http::StatusCode;

use crate::store::StoreError;
use crate::sync::{ItemError, Stop, SyncError};
use crate::upstream::FetchError;

/// Why an item cannot be pulled. The whole reason is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum PullError {
    /// Upstream does not have it, or fails.
    Upstream,
    /// Upstream does not answer in time.
    Timeout,
    /// What upstream has is not what is signed.
    Mismatch,
    /// The disk is full.
    Space,
    /// The store cannot be written to.
    Store,
    /// Too many pulls wait already.
    Busy,
    /// It is on its way and takes longer than a client should wait.
    Slow,
}

impl PullError {
    /// Status, a word for programs and a sentence for people.
    pub(in crate::serve) fn describe(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Upstream => {
                (StatusCode::BAD_GATEWAY, "upstream-failed", "the upstream does not give the file")
            }
            Self::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream-timeout",
                "the upstream does not answer in time",
            ),
            Self::Mismatch => (
                StatusCode::BAD_GATEWAY,
                "upstream-mismatch",
                "what the upstream has is not what the signed metadata lists",
            ),
            Self::Space => (
                StatusCode::INSUFFICIENT_STORAGE,
                "no-space",
                "there is no space to keep the file in",
            ),
            Self::Store => {
                (StatusCode::INTERNAL_SERVER_ERROR, "store-failed", "the file cannot be kept")
            }
            Self::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", "too many files are being fetched")
            }
            Self::Slow => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream-slow",
                "the file is being fetched, which takes long",
            ),
        }
    }
}

impl From<&Stop> for PullError {
    fn from(stop: &Stop) -> Self {
        match stop {
            Stop::Item(ItemError::Fetch(FetchError::Length { .. }) | ItemError::Content(_)) => {
                Self::Mismatch
            }
            Stop::Item(ItemError::Fetch(error)) if error.is_timeout() => Self::Timeout,
            Stop::Item(ItemError::Fetch(_)) => Self::Upstream,
            Stop::Item(ItemError::Busy { .. }) => Self::Timeout,
            Stop::Run(SyncError::Store(StoreError::Io { source, .. }))
                if matches!(
                    source.kind(),
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
                ) =>
            {
                Self::Space
            }
            Stop::Run(_) => Self::Store,
        }
    }
}
