//! What the verbs on bundles share: what an argument names, and how failures
//! are told.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::failure::{Exit, Failure, exit_of, metadata_hint, store_hint, sync_hint};
use crate::bundle::{ArchiveError, BundleError, Source};
use crate::upstream::registry::{Reference, ReferenceError};

/// What is read or written: a file, a folder, a pipe, or a tag of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path(PathBuf),
    /// `-`: standard input or output.
    Standard,
    Registry(Reference),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("name a file, a folder, or - for a pipe".into()),
            "-" => Ok(Self::Standard),
            _ if text.starts_with(Reference::SCHEME) => {
                let reference = text.parse().map(Self::Registry);
                reference.map_err(|error: ReferenceError| error.to_string())
            }
            _ => Ok(Self::Path(text.into())),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Standard => f.write_str("-"),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

impl Place {
    /// Opens it for reading.
    pub(super) fn open(&self, doing: &str) -> Result<Source, Failure> {
        let opened = match self {
            Self::Path(path) => Source::open(path),
            Self::Standard if std::io::stdin().is_terminal() => {
                let reason = "standard input is a terminal";
                return Err(Failure::message(doing, reason)
                    .hint("name a file, or send a bundle through a pipe")
                    .exit(Exit::Usage));
            }
            Self::Standard => Source::stream("-", Box::new(std::io::stdin())),
            Self::Registry(_) => {
                return Err(Failure::message(doing, "a registry is not read as a file is")
                    .hint("import from it alone: maas-mirror import oci://HOST/NAME:TAG")
                    .exit(Exit::Usage));
            }
        };
        opened.map_err(|error| failed(doing, &error))
    }

    /// The bundles that it names: itself, or, where it is a folder that is no
    /// OCI image layout, the archives in it.
    pub(super) fn expand(&self) -> Result<Vec<Self>, Failure> {
        let Self::Path(path) = self else {
            return Ok(vec![self.clone()]);
        };
        if !path.is_dir() || path.join("oci-layout").exists() {
            return Ok(vec![self.clone()]);
        }
        let archives = archives(path).map_err(|error| {
            Failure::new(format!("cannot look for bundles in {}", path.display()), error)
        })?;
        if archives.is_empty() {
            let doing = format!("cannot find a bundle in {}", path.display());
            let reason = "it is no OCI image layout, and has no file that ends in .tar";
            return Err(Failure::message(doing, reason).hint("name the bundle itself"));
        }
        Ok(archives.into_iter().map(Self::Path).collect())
    }
}

/// Files that end in `.tar`, by name.
fn archives(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tar") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `doing` failed because of a bundle.
pub(super) fn failed(doing: &str, error: &BundleError) -> Failure {
    let failure = Failure::new(doing, error).exit(exit_of(error.kind()));
    match hint(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint(error: &BundleError) -> Option<String> {
    let hint = match error {
        BundleError::Store(error) => return store_hint(error),
        BundleError::Fetch { .. } => {
            "run it again; without --from, 'sync' keeps what it has fetched"
        }
        BundleError::Sync(error) => return sync_hint(error),
        BundleError::Metadata { source, .. } => return metadata_hint(source),
        BundleError::Archive(ArchiveError::Io(_)) => return None,
        BundleError::Archive(ArchiveError::NotTar) => {
            "name a file that 'maas-mirror export' wrote, or an oci-archive of a store"
        }
        BundleError::Archive(_)
        | BundleError::Description { .. }
        | BundleError::Contradiction(_)
        | BundleError::TooLarge { .. }
        | BundleError::MissingBlob { .. }
        | BundleError::WrongBlob { .. }
        | BundleError::WrongSize { .. }
        | BundleError::Stream(_)
        | BundleError::Unlisted { .. }
        | BundleError::Content { .. } => {
            "carry the bundle over again, and compare its sha256 with what 'export' printed; the earlier snapshot stands"
        }
        BundleError::Damaged { .. } => {
            "run 'maas-mirror verify --repair' and 'maas-mirror sync', then export again; no bundle was left"
        }
        BundleError::Upstream { .. } => {
            "upstream serves content that its own signed metadata does not list; no bundle was left"
        }
        BundleError::NewerFormat { .. } => "use the maas-mirror that made it, or a newer one",
        BundleError::Order => "save it to a file, and name the file",
        BundleError::MissingBase { .. } => {
            "import the bundle of that snapshot first, or export one without --since"
        }
        BundleError::Lost => "import all parts again",
        BundleError::Empty => "run 'maas-mirror sync' first, or use --from URL",
        BundleError::NothingSelected => {
            "check --release, --arch, --kernel and the filters against 'maas-mirror list'"
        }
        BundleError::NoBase(_) => "name a bundle, or a snapshot that 'maas-mirror status' lists",
        BundleError::Exists(_) => "use --overwrite, or another name",
        BundleError::NotAFile(_) => "write to - and redirect that",
        BundleError::NotATree(_) => "name an empty folder, or one that 'export --tree' made",
        BundleError::IsAStore(_) => {
            "name another folder; 'maas-mirror import' brings a bundle into a store"
        }
        BundleError::Busy(_) => "wait for it to end",
        BundleError::Space { .. } => "free some space, select less, or use another disk",
        BundleError::FileSize { .. } => "use --split fat32, or a disk with another file system",
        BundleError::SmallParts { .. } | BundleError::ManyParts { .. } => {
            "use a larger --split: 4GiB, dvd, bluray"
        }
        BundleError::NotALayout { .. } => "name a bundle, or the folder of an OCI image layout",
        BundleError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            "check the name"
        }
        BundleError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            "free some space and run it again"
        }
        BundleError::Selection(_) | BundleError::Keyring(_) | BundleError::Io { .. } => {
            return None;
        }
    };
    Some(hint.to_owned())
}
