//! Why a bundle cannot be made, read or taken.

use std::io;
use std::path::{Path, PathBuf};

use super::ArchiveError;
use crate::signature::KeyringError;
use crate::simplestreams::{Digest, RelPath, SelectionError};
use crate::store::{BlobError, DescriptionError, StoreError};
use crate::sync::{Kind, MetadataError, SyncError};
use crate::upstream::FetchError;
use crate::verify::Unlisted;

/// Why an operation on a bundle failed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The archive itself is not right.
    #[error("the archive is not a bundle that can be used")]
    Archive(#[from] ArchiveError),
    /// A folder that is no OCI image layout.
    #[error("{} is not an OCI image layout: it has no {missing}", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
        /// What it lacks.
        missing: &'static str,
    },
    /// A stream whose metadata does not come first.
    #[error("its metadata does not come first, so it cannot be judged as a stream")]
    Order,
    /// Made by a program that knows more.
    #[error("the bundle has format {found}, and this program knows formats up to {known}")]
    NewerFormat {
        /// The format, as the bundle spells it.
        found: String,
        /// The newest this program reads.
        known: u32,
    },
    /// JSON that does not describe a bundle.
    #[error("{what} cannot be understood")]
    Description {
        /// Which part.
        what: &'static str,
        /// Why not.
        source: DescriptionError,
    },
    /// What describes the bundle contradicts itself.
    #[error("{0}")]
    Contradiction(String),
    /// Something is larger than this program takes.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A blob that the bundle names is not in it.
    #[error("the blob sha256:{digest} ({what}) is named in it, and is not there")]
    MissingBlob {
        /// The blob.
        digest: Digest,
        /// What it is.
        what: String,
    },
    /// A blob whose content is not what its name says.
    #[error("the content of the blob sha256:{digest} is not what its name says")]
    WrongBlob {
        /// The blob.
        digest: Digest,
    },
    /// A blob whose length is not the one that the bundle lists.
    #[error("the blob sha256:{digest} has {found} bytes, and the bundle lists {listed}")]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// Its length.
        found: u64,
        /// The length listed.
        listed: u64,
    },
    /// A signed file in it cannot be used.
    #[error("cannot use the metadata file {path}")]
    Metadata {
        /// Its path.
        path: RelPath,
        /// Why not.
        source: Box<MetadataError>,
    },
    /// Its signed files are not one whole stream.
    #[error("its signed files are not one stream: {0}")]
    Stream(String),
    /// An item that no signature covers.
    #[error("the item {path} cannot be accepted")]
    Unlisted {
        /// Its path.
        path: RelPath,
        /// Why not.
        source: Unlisted,
    },
    /// An item whose content is not what was signed.
    #[error("the content of {path} is not what the signed metadata lists")]
    Content {
        /// Its path.
        path: RelPath,
        /// How it differs.
        source: Box<BlobError>,
    },
    /// A delta whose base is not here.
    #[error("missing base sha256:{base}{}", made(updated.as_ref()))]
    MissingBase {
        /// The snapshot that it builds on.
        base: Digest,
        /// When that snapshot's metadata was last changed, ISO 8601.
        updated: Option<String>,
    },
    /// There is nothing to export.
    #[error("the store has no snapshot yet")]
    Empty,
    /// The selection leaves nothing.
    #[error("the selection matches nothing that is held")]
    NothingSelected,
    /// The selection cannot be made.
    #[error("cannot select items")]
    Selection(#[from] SelectionError),
    /// `--since` names no snapshot and no bundle.
    #[error("'{0}' is no bundle, and no snapshot of the store has that digest")]
    NoBase(String),
    /// A blob of the store is not what its name says.
    #[error("the content of {path} in the store is damaged (blob sha256:{digest})")]
    Damaged {
        /// The path of the file that it is.
        path: String,
        /// The blob.
        digest: Digest,
    },
    /// An item cannot be had from upstream.
    #[error("{path} cannot be fetched")]
    Fetch {
        /// The item's path.
        path: RelPath,
        /// Why not.
        source: Box<FetchError>,
    },
    /// An upstream serves other bytes than its signed metadata lists.
    #[error("the content of {path} that upstream serves is not sha256:{digest}")]
    Upstream {
        /// The item's path.
        path: RelPath,
        /// The digest listed.
        digest: Digest,
    },
    /// The target is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The target is there, and is a device or a pipe.
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The folder of a tree holds files that no tree is.
    #[error("{} is not empty, and no earlier export of a tree is in it", .0.display())]
    NotATree(PathBuf),
    /// The target is a store, which has locks, a history and readers of its own.
    #[error("{} is a store", .0.display())]
    IsAStore(PathBuf),
    /// Another export writes to the same target.
    #[error("another process writes {}", .0.display())]
    Busy(PathBuf),
    /// It would not fit.
    #[error("{needed} bytes are to be written, and {free} bytes are free in {}", folder.display())]
    Space {
        /// Where.
        folder: PathBuf,
        /// Bytes to be written.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The file system has no files of that size.
    #[error("{size} bytes are more than a file on {} can have", folder.display())]
    FileSize {
        /// Where.
        folder: PathBuf,
        /// Bytes of the file.
        size: u64,
    },
    /// Parts are too small for what each must hold.
    #[error("a part of {size} bytes has no room: its metadata alone takes {needed}")]
    SmallParts {
        /// The size asked for.
        size: u64,
        /// The least that would do.
        needed: u64,
    },
    /// More parts than [`MAX_PARTS`](super::MAX_PARTS).
    #[error("it would take more than {limit} parts")]
    ManyParts {
        /// The limit.
        limit: u32,
    },
    /// What was imported before of a cut file is gone.
    #[error("what earlier parts brought is no longer there")]
    Lost,
    /// The keyring cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What an upstream gave cannot be used.
    #[error(transparent)]
    Sync(#[from] SyncError),
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

fn made(updated: Option<&String>) -> String {
    updated.map_or_else(String::new, |time| format!(" (made of metadata of {time})"))
}

impl BundleError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// Which kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(StoreError::Locked { .. } | StoreError::Busy(_)) | Self::Busy(_) => {
                Kind::Locked
            }
            Self::Store(
                StoreError::ReadOnly { .. }
                | StoreError::NewerFormat { .. }
                | StoreError::NotAStore(_),
            )
            | Self::NewerFormat { .. }
            | Self::Order
            | Self::MissingBase { .. }
            | Self::Exists(_)
            | Self::NotAFile(_)
            | Self::NotATree(_)
            | Self::IsAStore(_)
            | Self::Space { .. }
            | Self::FileSize { .. }
            | Self::SmallParts { .. }
            | Self::ManyParts { .. } => Kind::Refused,
            Self::Metadata { source, .. } if !source.is_verification() => Kind::Other,
            Self::Archive(ArchiveError::Io(_)) => Kind::Other,
            // What was read of the store is what would have been exported.
            Self::Store(StoreError::Damaged { .. })
            | Self::Archive(_)
            | Self::Description { .. }
            | Self::Contradiction(_)
            | Self::TooLarge { .. }
            | Self::MissingBlob { .. }
            | Self::WrongBlob { .. }
            | Self::WrongSize { .. }
            | Self::Metadata { .. }
            | Self::Stream(_)
            | Self::Unlisted { .. }
            | Self::Content { .. }
            | Self::Upstream { .. }
            | Self::Damaged { .. } => Kind::Unverified,
            Self::Fetch { source, .. } if matches!(**source, FetchError::Length { .. }) => {
                Kind::Unverified
            }
            Self::Lost | Self::Fetch { .. } => Kind::Partial,
            Self::Sync(error) => error.kind(),
            Self::NotALayout { .. }
            | Self::Empty
            | Self::NothingSelected
            | Self::Selection(_)
            | Self::NoBase(_)
            | Self::Keyring(_)
            | Self::Store(_)
            | Self::Io { .. } => Kind::Other,
        }
    }
}
