//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use super::Holder;
use crate::simplestreams::Digest;

/// Why an operation on a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is nothing at that place.
    #[error("there is no store at {}", .0.display())]
    Missing(PathBuf),
    /// The folder holds other things.
    #[error("{} holds other files and is not a store", .0.display())]
    NotAStore(PathBuf),
    /// Made by a program that knows more.
    #[error(
        "the store {} has format {found}, and this program knows formats up to {known}",
        path.display()
    )]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest this program reads.
        known: u32,
    },
    /// Another process writes to it.
    #[error("the store {} is locked by {holder}", path.display())]
    Locked {
        /// The store.
        path: PathBuf,
        /// Who holds it.
        holder: Holder,
    },
    /// Another process writes that blob.
    #[error("another process is fetching the blob {0}")]
    Busy(Digest),
    /// The file system takes no writes from this process.
    #[error("{} cannot be written to", path.display())]
    ReadOnly {
        /// What was to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the store is not what it must be.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot was asked for that is not there.
    #[error("there is no snapshot '{0}' in the store")]
    NoSnapshot(String),
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The verb.
        doing: &'static str,
        /// The object.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
                if !matches!(doing, "read" | "open" | "look at" | "measure") =>
            {
                Self::ReadOnly { path, source }
            }
            _ => Self::Io { doing, path, source },
        }
    }
}
