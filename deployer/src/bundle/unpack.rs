//! The way into a folder.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use oci::digest::{Digest, Hasher};

use super::list::{FileKind, ListedFile};
use super::new_file::NewFile;
use super::read::Bundle;
use super::{BundleError, LIST, README, chart};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// Writes the chart, the programs, the bundles of boot images, the list and the
/// README below `folder`; images stay where they are. Each file gets its name when
/// its digest holds. Returns what was written.
///
/// # Errors
/// [`BundleError`].
pub async fn unpack(bundle: &Bundle, folder: &Path) -> Result<Vec<PathBuf>, BundleError> {
    let mut written = Vec::new();
    let list = &bundle.list;
    let make = |path: &Path| {
        fs::create_dir_all(path).map_err(|error| BundleError::io("make the folder", path, error))
    };
    make(folder)?;
    for name in [README, LIST] {
        let reader = bundle.reader();
        let unreadable =
            |source| BundleError::Unreadable { path: reader.path().to_owned(), source };
        if let Some(text) = reader.other(name).map_err(unreadable)? {
            let path = folder.join(name);
            let (kept, mut file) = NewFile::create(&path)?;
            file.write_all(&text).map_err(|error| BundleError::io("write", &path, error))?;
            kept.keep(file).await?;
            written.push(path);
        }
    }
    let path = folder.join(chart::file_name_of(&list.chart.name));
    blob(bundle, &list.chart.digest, &list.chart.name, &path, 0o644).await?;
    written.push(path);
    for ListedFile { kind, name, digest, .. } in &list.files {
        let (below, mode) = match kind {
            FileKind::Program => ("bin", 0o755),
            FileKind::MirrorBundle => ("mirror", 0o644),
        };
        make(&folder.join(below))?;
        let path = folder.join(below).join(name);
        blob(bundle, digest, name, &path, mode).await?;
        written.push(path);
    }
    Ok(written)
}

async fn blob(
    bundle: &Bundle,
    digest: &Digest,
    of: &str,
    path: &Path,
    mode: u32,
) -> Result<(), BundleError> {
    let reader = bundle.reader();
    let unreadable = |source| BundleError::Unreadable { path: reader.path().to_owned(), source };
    let mut piece = reader.open_blob(digest).map_err(unreadable)?;
    let (kept, mut file) = NewFile::create(path)?;
    let failed = |error| BundleError::io("write", path, error);
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = piece.read(&mut buffer);
        let read = read.map_err(|error| BundleError::io("read", reader.path(), error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        file.write_all(bytes).map_err(failed)?;
        hasher.update(bytes);
        // A signal is heard between two pieces.
        tokio::task::yield_now().await;
    }
    if hasher.finish() != *digest {
        return Err(BundleError::Damaged { of: of.to_owned(), digest: *digest });
    }
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    kept.keep(file).await
}
