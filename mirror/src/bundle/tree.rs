//! A snapshot as a plain tree of files, as it is served: for whoever must serve
//! it with another program.
//!
//! Content is shared with the store where the file system can: by reflink,
//! else by hard link, else it is copied. Items come first, then products
//! files, then the index, each by one rename: whoever reads the tree meanwhile
//! finds what the index that they have names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{BundleError, Progress};
use crate::simplestreams::{Digest, Hasher, RelPath};
use crate::store::{Content, FileRef, Store};
use crate::total;

/// What a tree keeps of itself, in its root.
const RECORD: &str = ".maas-mirror-tree.json";

/// How a tree is brought up to date.
#[derive(Clone, Copy, Debug, Default)]
pub struct TreeOptions {
    /// Copies content, and shares none of it with the store.
    pub copy: bool,
    /// Removes what an earlier export made and the snapshot no longer lists.
    pub delete: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tree {
    /// Files that were there already.
    pub unchanged: usize,
    /// Files that share their blocks with the store (reflinks).
    pub reflinked: usize,
    /// Files that are the store's own (hard links): a change of one is a
    /// change of the other.
    pub linked: usize,
    /// Files that were copied.
    pub copied: usize,
    /// Files that were removed.
    pub removed: usize,
    /// Files that the snapshot no longer lists, and that were left.
    pub stale: usize,
    /// Bytes of all files of the snapshot.
    pub bytes: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    files: BTreeMap<RelPath, Digest>,
    /// What each was made from: where the store has another file by now, its
    /// content was damaged then, and it is made anew.
    #[serde(default)]
    made_from: BTreeMap<RelPath, BlobFile>,
}

/// A blob as a file of the store's disk. Whoever changes one moves its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct BlobFile {
    inode: u64,
    modified: i64,
    modified_nanoseconds: i64,
}

impl BlobFile {
    fn of(meta: &fs::Metadata) -> Self {
        Self { inode: meta.ino(), modified: meta.mtime(), modified_nanoseconds: meta.mtime_nsec() }
    }
}

/// Writes `content` of `store` as a tree into `root`, or brings the tree there
/// up to date. One that was cut short is finished by the next.
///
/// # Errors
/// [`BundleError::NotATree`] where the folder holds something else;
/// [`BundleError::Damaged`] where the store lacks a file or part of one: then
/// nothing was written; or an I/O error.
pub fn tree(
    store: &Store,
    content: &Content,
    root: &Path,
    options: TreeOptions,
    progress: Progress<'_>,
) -> Result<Tree, BundleError> {
    let before = read_record(root)?;
    fs::create_dir_all(root).map_err(|error| BundleError::io("make the folder", root, error))?;
    let files = in_order(content);
    let now: BTreeMap<RelPath, Digest> =
        files.iter().map(|file| (file.path.clone(), file.digest)).collect();
    if let Some(file) = files.iter().find(|file| !store.has_blob(&file.digest, file.size)) {
        return Err(damaged(file));
    }
    check_space(store, &files, &before, root, options)?;
    // Noted before it is made: what a killed run leaves is known as ours.
    let mut record = Record { files: before.files.clone(), made_from: before.made_from.clone() };
    record.files.extend(now.iter().map(|(path, digest)| {
        let made = before.files.get(path).filter(|old| *old == digest);
        (path.clone(), made.copied().unwrap_or(Digest::of(b"")))
    }));
    write_record(root, &record)?;
    let all = total(files.iter().map(|file| file.size));
    let mut tree = Tree { bytes: all, ..Tree::default() };
    let mut done = 0;
    let mut made_from = BTreeMap::new();
    for file in &files {
        let path = root.join(file.path.as_str());
        let blob = store.blob_path(&file.digest);
        let blob = fs::symlink_metadata(&blob).map_err(|e| BundleError::io("read", &blob, e))?;
        let known = before.files.get(&file.path) == Some(&file.digest)
            && before.made_from.get(&file.path) == Some(&BlobFile::of(&blob));
        if is_there(file, &path, &blob, known) {
            tree.unchanged += 1;
        } else {
            place(store, file, &path, options.copy, &mut tree)?;
        }
        made_from.insert(file.path.clone(), BlobFile::of(&blob));
        done += file.size;
        progress(done, all);
    }
    let stale: BTreeSet<_> = before.files.keys().filter(|path| !now.contains_key(*path)).collect();
    let mut record = Record { files: now.clone(), made_from };
    for path in stale {
        if options.delete {
            remove(root, path)?;
            tree.removed += 1;
        } else if let Some(digest) = before.files.get(path) {
            record.files.insert(path.clone(), *digest);
            tree.stale += 1;
        }
    }
    write_record(root, &record)?;
    Ok(tree)
}

/// Items, then the other signed files, then the indexes; each once.
fn in_order(content: &Content) -> Vec<FileRef> {
    let mut files: Vec<FileRef> = content.by_path().into_values().cloned().collect();
    let signed: BTreeSet<&RelPath> = content.metadata.iter().map(|file| &file.path).collect();
    files.sort_by_key(|file| {
        let index = file.path.file_name().starts_with("index");
        (signed.contains(&file.path), index, file.path.clone())
    });
    files
}

/// What an earlier export made; refuses a folder that holds something else.
fn read_record(root: &Path) -> Result<Record, BundleError> {
    let path = root.join(RECORD);
    match fs::read(&path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(root).into_iter().flatten().flatten();
            match entries.find(|entry| entry.file_name() != "lost+found") {
                Some(_) => Err(BundleError::NotATree(root.to_owned())),
                None => Ok(Record::default()),
            }
        }
        Err(error) => Err(BundleError::io("read", &path, error)),
    }
}

fn write_record(root: &Path, record: &Record) -> Result<(), BundleError> {
    let path = root.join(RECORD);
    let bytes = serde_json::to_vec(record).unwrap_or_default();
    replace(&path, |temporary| {
        let mut file = File::create(temporary)?;
        file.write_all(&bytes)?;
        file.sync_data()
    })
}

/// Refuses copies that will not fit. What is shared takes no space.
fn check_space(
    store: &Store,
    files: &[FileRef],
    before: &Record,
    root: &Path,
    options: TreeOptions,
) -> Result<(), BundleError> {
    let failed = |error| BundleError::io("measure", root, error);
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
    let shared = device(root).map_err(failed)? == device(store.root()).map_err(failed)?;
    if shared && !options.copy {
        return Ok(());
    }
    let new = files.iter().filter(|file| before.files.get(&file.path) != Some(&file.digest));
    let needed = total(new.map(|file| file.size));
    let stat = rustix::fs::statvfs(root).map_err(|error| failed(error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed > free {
        return Err(BundleError::Space { folder: root.to_owned(), needed, free });
    }
    Ok(())
}

/// Whether a file need not be made: it is the store's own, or an earlier
/// export made it from what the store still has, and it has its length.
fn is_there(file: &FileRef, path: &Path, blob: &fs::Metadata, known: bool) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        let same = (blob.dev(), blob.ino()) == (meta.dev(), meta.ino());
        meta.is_file() && meta.len() == file.size && (known || same)
    })
}

/// The store has not what its snapshot lists.
fn damaged(file: &FileRef) -> BundleError {
    BundleError::Damaged { path: file.path.to_string(), digest: file.digest }
}

/// Makes a file in the cheapest way that works.
fn place(
    store: &Store,
    file: &FileRef,
    path: &Path,
    copy: bool,
    tree: &mut Tree,
) -> Result<(), BundleError> {
    if let Some(folder) = path.parent() {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| BundleError::io("make the folder", folder, error))?;
    }
    let blob = store.blob_path(&file.digest);
    let mut source = store.open_blob(&file.digest)?;
    replace(path, |temporary| {
        if !copy {
            let new = File::create(temporary)?;
            if rustix::fs::ioctl_ficlone(&new, &source).is_ok() {
                tree.reflinked += 1;
                return Ok(());
            }
            drop(new);
            fs::remove_file(temporary)?;
            if fs::hard_link(&blob, temporary).is_ok() {
                tree.linked += 1;
                return Ok(());
            }
        }
        let new = Hashed(File::create(temporary)?, Hasher::default());
        // A large buffer of our own: io::copy has a small one.
        let mut new = io::BufWriter::with_capacity(256 * 1024, new);
        io::copy(&mut source, &mut new)?;
        let Hashed(new, hasher) = new.into_inner()?;
        if hasher.finish() != file.digest {
            fs::remove_file(temporary)?;
            return Err(io::Error::other(damaged(file)));
        }
        tree.copied += 1;
        new.sync_data()
    })
}

/// A file that is hashed while it is written.
struct Hashed(File, Hasher);

impl io::Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Makes a file beside its place and renames it there.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), BundleError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // What a killed run left may be a hard link: never written through.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BundleError::io("remove", &temporary, error));
        }
        _ => {}
    }
    make(&temporary).map_err(|error| match error.downcast::<BundleError>() {
        Ok(error) => error,
        Err(error) => BundleError::io("write", path, error),
    })?;
    // Renaming one hard link over another of the same file does nothing.
    let renamed = fs::rename(&temporary, path);
    renamed.map_err(|error| BundleError::io("rename to", path, error))?;
    let _ = fs::remove_file(&temporary);
    Ok(())
}

/// Removes a file, and the folders that are empty without it.
fn remove(root: &Path, path: &RelPath) -> Result<(), BundleError> {
    let full = root.join(path.as_str());
    match fs::remove_file(&full) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BundleError::io("remove", &full, error));
        }
        _ => {}
    }
    for folder in full.ancestors().skip(1).take_while(|folder| *folder != root) {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}
