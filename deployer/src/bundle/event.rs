//! What happens, for those who look on.

use std::time::Duration;

use oci::client::FetchError;
use oci::digest::Digest;

/// What happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// Something begins that shows no bytes.
    Begun(&'a str),
    /// Something is done that a person would want to know of.
    Done(&'a str),
    /// Something a person should know.
    Warning(&'a str),
    /// So much is to be moved.
    Planned {
        /// Files.
        files: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A file begins, or begins again.
    Started {
        /// Names it.
        digest: Digest,
        /// What it is of.
        of: &'a str,
        /// Its length.
        size: u64,
    },
    /// So many bytes of it are done.
    Moved {
        /// Which file.
        digest: Digest,
        /// Of its bytes.
        done: u64,
    },
    /// It is done.
    Finished {
        /// Which file.
        digest: Digest,
    },
    /// A request failed, and is made again.
    Retrying {
        /// What it is about.
        of: &'a str,
        /// Why it failed.
        error: &'a FetchError,
        /// When it is made again.
        pause: Duration,
    },
}

/// Looks on.
pub trait Observer: Send + Sync {
    /// Is told.
    fn event(&self, event: &Event<'_>);
}

/// Nobody looks on.
impl Observer for () {
    fn event(&self, _: &Event<'_>) {}
}
