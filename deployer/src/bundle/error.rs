//! Why a bundle cannot be made, read or loaded.

use std::io;
use std::path::{Path, PathBuf};

use oci::client::{ConfigError, FetchError};
use oci::digest::Digest;
use oci::reader::ReadError;
use oci::registry::ReferenceError;
use oci::tar::ArchiveError;

use super::manifest::ManifestError;
use super::name::NameError;
use crate::counted::counted;

/// Why a bundle cannot be made, read or loaded.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A text that names no image.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A place that no registry can have.
    #[error("{place} cannot be a name in a registry")]
    Place {
        /// Where it would go.
        place: String,
        /// Why not.
        source: ReferenceError,
    },
    /// Two images of one name.
    #[error("{one} and {other} would both be {place} under a registry")]
    Clash {
        /// An image.
        one: String,
        /// Another.
        other: String,
        /// The name of both.
        place: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A client cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Images that cannot be had.
    #[error("{} cannot be had", counted(.0.len(), "image"))]
    Missing(Vec<Missing>),
    /// An archive that belongs to no image of the release.
    #[error("{} holds no image of the release", path.display())]
    NotWanted {
        /// The archive.
        path: PathBuf,
        /// What it holds.
        holds: String,
    },
    /// An image that is no image of the release.
    #[error("the release has no image {0}")]
    NoSuchImage(String),
    /// Two files of one name.
    #[error("two files would be named {0}")]
    TwoFiles(String),
    /// A file whose name would be none elsewhere.
    #[error("{0:?} cannot be the name of a file in a bundle")]
    FileName(String),
    /// A file that is no mirror bundle.
    #[error("{} is no bundle of maas-mirror", .0.display())]
    NotAMirrorBundle(PathBuf),
    /// It does not fit.
    #[error("{} has room for {free} bytes, and the bundle has {needed}", folder.display())]
    Space {
        /// Where it goes.
        folder: PathBuf,
        /// What is free there.
        free: u64,
        /// What it takes.
        needed: u64,
    },
    /// Somebody else writes there.
    #[error("another run is writing {}", .0.display())]
    Busy(PathBuf),
    /// Something that no file may take the place of.
    #[error("{} is there already, and is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// A registry failed.
    #[error("cannot copy {of}")]
    Fetch {
        /// What was fetched or sent.
        of: String,
        /// Why not.
        source: Box<FetchError>,
    },
    /// Content that is not what its digest says.
    #[error("a file of {of} is not what its digest says: {digest:?}")]
    Damaged {
        /// Which image or file.
        of: String,
        /// Of which digest it was to be.
        digest: Digest,
    },
    /// The file is damaged, or no bundle.
    #[error("{} cannot be used as a bundle", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// Something in it contradicts something else.
    #[error("{} cannot be used as a bundle: {reason}", path.display())]
    Contradiction {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Of a newer program.
    #[error("{} is of format {found}, and this program knows format {known}", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The newest that is known.
        known: u32,
    },
    /// The chart cannot be packed.
    #[error("the chart cannot be packed")]
    Chart(#[source] io::Error),
    /// A part of the program stopped.
    #[error("a task stopped unexpectedly")]
    Task(#[source] tokio::task::JoinError),
}

/// An image that cannot be had, and why.
#[derive(Debug)]
pub struct Missing {
    /// What the release calls it.
    pub image: String,
    /// Why not.
    pub why: Why,
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// The registry.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The registry that the image's own name says.
    #[error("the registry knows no such name or tag")]
    Absent,
    /// No registry has such a name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// What the registry or the file has.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The file that was named for it.
    #[error("{} cannot be used", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// The archive that was named for it.
    #[error("{} cannot be used: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The archive that was named for it is damaged.
    #[error("{} cannot be used", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ArchiveError,
    },
    /// Content that a manifest names.
    #[error("it lacks a file that its manifest names: {0:?}")]
    Lacks(Digest),
    /// The client cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A manifest of another digest than it was asked for by.
    #[error("what came is not what the digest {0:?} says")]
    Digest(Digest),
}

impl Why {
    /// Whether what came is not what it should be.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Digest(_) => true,
            Self::Fetch(error) => error.is_verification(),
            Self::Layout { source, .. } => matches!(source, ReadError::WrongBlob(_)),
            _ => false,
        }
    }

    /// Whether nothing is there that could be had: not that nobody answered.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Fetch(error) => matches!(
                error,
                FetchError::NoSuchTag(_)
                    | FetchError::Unauthorized { .. }
                    | FetchError::Status { status: http::StatusCode::NOT_FOUND, .. }
            ),
            Self::Digest(_) => false,
            _ => true,
        }
    }
}

impl BundleError {
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(super) fn fetch(of: &str, source: FetchError) -> Self {
        Self::Fetch { of: of.to_owned(), source: Box::new(source) }
    }

    /// Whether no other request to the same registry can do better: there is no connection
    /// to it, or no login can be had for it.
    pub(super) fn is_unreachable(&self) -> bool {
        let Self::Fetch { source, .. } = self else { return false };
        match &**source {
            FetchError::Transport { source, .. } => source.is_connect(),
            FetchError::Credentials { .. } => true,
            _ => false,
        }
    }

    /// Whether what is there is not what it should be.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Contradiction { .. } => true,
            Self::Unreadable { source, .. } => source.is_damage(),
            Self::Fetch { source, .. } => source.is_verification(),
            Self::Missing(all) => all.iter().any(|missing| missing.why.is_damage()),
            _ => false,
        }
    }
}
