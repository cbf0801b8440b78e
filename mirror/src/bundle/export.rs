//! A snapshot on its way out.

use std::collections::BTreeMap;
use std::fs::{self, File as OsFile};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::output::{self, Folder, NewFile, Pack, folder_of};
use super::{BundleError, Part, Piece, Plan, Progress, Range, Target};
use crate::simplestreams::{Digest, Hasher};
use crate::store::Store;

/// Where the content of items comes from.
pub trait Items {
    /// Opens a piece: the next bytes are its own, and may go on behind it.
    ///
    /// # Errors
    /// [`BundleError`].
    fn open(&mut self, piece: &Piece) -> Result<Box<dyn Read + Send>, BundleError>;

    /// Reads an item whole, checks its digest, and gives the digests of its
    /// ranges, by offset. The ranges follow each other and are all of it.
    ///
    /// # Errors
    /// [`BundleError`].
    fn hash(
        &mut self,
        piece: &Piece,
        ranges: &[Range],
    ) -> Result<BTreeMap<u64, Digest>, BundleError>;

    /// Bytes that wait beside the target at a time, where items that are cut do.
    fn waiting(&self, _plan: &Plan) -> u64 {
        0
    }

    /// The error for an item whose content is not what is listed.
    fn wrong(&self, piece: &Piece) -> BundleError;
}

/// The items that a store holds.
#[derive(Debug)]
pub struct StoreItems<'a>(pub &'a Store);

impl StoreItems<'_> {
    fn file(&self, piece: &Piece) -> Result<OsFile, BundleError> {
        self.0.open_blob(&piece.whole()).map_err(|error| match &error {
            crate::store::StoreError::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
                ) =>
            {
                output::damaged(piece)
            }
            _ => error.into(),
        })
    }
}

impl Items for StoreItems<'_> {
    fn open(&mut self, piece: &Piece) -> Result<Box<dyn Read + Send>, BundleError> {
        let mut file = self.file(piece)?;
        let offset = piece.range.map_or(0, |range| range.offset);
        let path = self.0.blob_path(&piece.whole());
        let failed = |error| BundleError::io("read", &path, error);
        // A blob that is longer than it should be is damaged as well.
        if file.metadata().map_err(failed)?.len() != piece.whole_size() {
            return Err(output::damaged(piece));
        }
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Box::new(file))
    }

    fn hash(
        &mut self,
        piece: &Piece,
        ranges: &[Range],
    ) -> Result<BTreeMap<u64, Digest>, BundleError> {
        let path = self.0.blob_path(&piece.whole());
        hash_ranges(piece, self.file(piece)?, &path, ranges)
    }

    fn wrong(&self, piece: &Piece) -> BundleError {
        output::damaged(piece)
    }
}

/// Hashes a file and its ranges, which follow each other, in one pass.
pub(super) fn hash_ranges(
    piece: &Piece,
    mut file: OsFile,
    path: &Path,
    ranges: &[Range],
) -> Result<BTreeMap<u64, Digest>, BundleError> {
    let mut sorted: Vec<u64> = ranges.iter().map(|range| range.offset).collect();
    sorted.sort_unstable();
    let mut digests = BTreeMap::new();
    let mut whole = Hasher::default();
    let mut buffer = vec![0; 1024 * 1024];
    for (at, offset) in sorted.iter().enumerate() {
        let end = sorted.get(at + 1).copied().unwrap_or(piece.whole_size());
        let mut hasher = Hasher::default();
        let mut left = end - offset;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(buffer.len()).min(buffer.len());
            let read = file.read(buffer.get_mut(..most).unwrap_or_default());
            let read = read.map_err(|error| BundleError::io("read", path, error))?;
            let bytes = buffer.get(..read).filter(|bytes| !bytes.is_empty());
            let bytes = bytes.ok_or_else(|| output::damaged(piece))?;
            hasher.update(bytes);
            whole.update(bytes);
            left -= read as u64;
        }
        digests.insert(*offset, hasher.finish());
    }
    if whole.finish() != piece.whole() {
        return Err(output::damaged(piece));
    }
    Ok(digests)
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Exported {
    /// The snapshot.
    pub snapshot: Digest,
    /// What it builds on, for a delta.
    pub base: Option<super::Base>,
    /// Names the bundle, where it has parts.
    pub set: Option<Digest>,
    /// The archives, or the folder.
    pub files: Vec<File>,
    /// Items in it, each content once.
    pub items: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// A file that was written.
#[derive(Clone, Debug, Serialize)]
pub struct File {
    /// Where; `None` on standard output.
    pub path: Option<PathBuf>,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest, hex; a folder has none.
    #[serde(serialize_with = "hex")]
    pub sha256: Option<Digest>,
}

fn hex<S: serde::Serializer>(digest: &Option<Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(digest) => serializer.collect_str(digest),
        None => serializer.serialize_none(),
    }
}

/// Writes the bundle that `plan` describes. Where it fails, nothing of it is
/// left behind, but what went to standard output or into a folder.
///
/// # Errors
/// [`BundleError`]; those of kind `Refused` before anything was written.
pub fn export(
    mut plan: Plan,
    items: &mut dyn Items,
    target: &Target,
    overwrite: bool,
    progress: Progress<'_>,
) -> Result<Exported, BundleError> {
    let names = names(target, plan.count());
    check(&plan, target, &names, items.waiting(&plan), overwrite)?;
    let all = plan.bytes();
    let done = AtomicU64::new(0);
    let wrote = |bytes| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        progress((before + bytes).min(all), all);
    };
    let mut files = Vec::new();
    let mut kept = Vec::new();
    for number in 0..plan.count() {
        hash_cut(&mut plan, number, items)?;
        let mut fill = |pack: &mut dyn Pack| fill(&plan, number, items, pack);
        match (target, names.get(number)) {
            (Target::File(_), Some(path)) => {
                let (new, file) = NewFile::create(path)?;
                let (digest, size, file) = output::archive(file, path, &wrote, &mut fill)?;
                file.sync_all().map_err(|error| BundleError::io("sync", path, error))?;
                files.push(File { path: Some(path.clone()), size, sha256: Some(digest) });
                kept.push(new);
            }
            (Target::Folder(root), _) => {
                let blobs = root.join("blobs/sha256");
                let made = fs::create_dir_all(&blobs);
                made.map_err(|error| BundleError::io("make the folder", &blobs, error))?;
                fill(&mut Folder { root, wrote: &wrote })?;
                output::sync_folder(&blobs.join("x"))?;
                write_index(&plan, root)?;
                let (path, size) = (Some(root.clone()), plan.size(number));
                files.push(File { path, size, sha256: None });
            }
            _ => {
                let stdout = io::stdout();
                let path = Path::new("standard output");
                let (digest, size, _) = output::archive(stdout, path, &wrote, &mut fill)?;
                files.push(File { path: None, size, sha256: Some(digest) });
            }
        }
    }
    kept.into_iter().try_for_each(NewFile::keep)?;
    if let (Target::File(_), Some(path)) = (target, names.first()) {
        output::sync_folder(path)?;
    }
    Ok(report(&plan, files))
}

fn report(plan: &Plan, files: Vec<File>) -> Exported {
    let wholes: BTreeMap<Digest, u64> =
        plan.pieces().map(|piece| (piece.whole(), piece.whole_size())).collect();
    Exported {
        snapshot: plan.snapshot,
        base: plan.base.clone(),
        set: plan.part(0).filter(|part| part.count > 1).map(|part: Part| part.set),
        files,
        items: wholes.len(),
        bytes: crate::total(wholes.into_values()),
    }
}

/// Computes the digests of the ranges of items whose first is in an archive.
fn hash_cut(plan: &mut Plan, number: usize, items: &mut dyn Items) -> Result<(), BundleError> {
    for (whole, ranges) in plan.unhashed(number) {
        let piece = plan.pieces().find(|piece| piece.whole() == whole).cloned();
        if let Some(piece) = piece {
            let hashed = items.hash(&piece, &ranges);
            let digests = hashed.map_err(|error| whose(error, &piece, items))?;
            plan.hashed(&whole, &digests);
        }
    }
    Ok(())
}

/// Packs one archive.
fn fill(
    plan: &Plan,
    number: usize,
    items: &mut dyn Items,
    pack: &mut dyn Pack,
) -> Result<(), BundleError> {
    for (name, bytes) in plan.head(number) {
        pack.known(&name, &bytes)?;
    }
    // The same bytes may be cut from several places.
    let mut seen = std::collections::BTreeSet::new();
    for piece in plan.archives.get(number).map_or(&[][..], |archive| &archive.pieces) {
        if seen.insert(piece.digest) {
            let packed = pack.blob(piece, &mut *items.open(piece)?);
            packed.map_err(|error| whose(error, piece, items))?;
        }
    }
    Ok(())
}

/// Whose fault it is that an item is not what is listed, its source knows.
fn whose(error: BundleError, piece: &Piece, items: &dyn Items) -> BundleError {
    match error {
        BundleError::Damaged { .. } => items.wrong(piece),
        other => other,
    }
}

/// In a folder the list of what is there comes last.
fn write_index(plan: &Plan, root: &Path) -> Result<(), BundleError> {
    let folder = Folder { root, wrote: &|_| {} };
    for (name, bytes) in plan.head(0).into_iter().filter(|(name, _)| name == "index.json") {
        folder.small(&name, &bytes)?;
    }
    output::sync_folder(&root.join("index.json"))
}

/// The files under which the archives of a plan are written before they get
/// their names: what a run that is ended by a signal must remove.
#[must_use]
pub fn temporaries(plan: &Plan, target: &Target) -> Vec<PathBuf> {
    names(target, plan.count()).iter().map(|name| output::beside(name)).collect()
}

/// The names of the archives: `NAME`, or `NAME.1-of-5.tar` and so on for
/// `NAME.tar`. The numbers are of one width, so that names sort as they count.
fn names(target: &Target, count: usize) -> Vec<PathBuf> {
    let Target::File(path) = target else {
        return Vec::new();
    };
    if count == 1 {
        return vec![path.clone()];
    }
    let width = count.to_string().len();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy()));
    let extension = extension.unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = |number| format!("{stem}.{number:0width$}-of-{count}{extension}");
    (1..=count).map(|number| path.with_file_name(name(number))).collect()
}

/// Refuses what cannot end well, before anything is written.
fn check(
    plan: &Plan,
    target: &Target,
    names: &[PathBuf],
    waiting: u64,
    overwrite: bool,
) -> Result<(), BundleError> {
    let folder = match target {
        Target::Stdout => return Ok(()),
        Target::File(path) => folder_of(path),
        Target::Folder(path) => {
            // Also with `overwrite`: its list of snapshots would be lost.
            if Store::is_at(path) {
                return Err(BundleError::IsAStore(path.clone()));
            }
            if path.join("index.json").exists() && !overwrite {
                return Err(BundleError::Exists(path.clone()));
            }
            if path.exists() { path.clone() } else { folder_of(path) }
        }
    };
    if let Some(there) = names.iter().find(|name| name.exists() && !overwrite) {
        return Err(BundleError::Exists(there.clone()));
    }
    // A device or a pipe would be replaced by a file.
    let special = |name: &&PathBuf| fs::metadata(name).is_ok_and(|meta| !meta.is_file());
    if let Some(special) = names.iter().find(special) {
        return Err(BundleError::NotAFile(special.clone()));
    }
    let failed = |error: rustix::io::Errno| BundleError::io("measure", &folder, error.into());
    let stat = rustix::fs::statvfs(&folder).map_err(failed)?;
    let needed = plan.bytes().saturating_add(waiting);
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed > free {
        return Err(BundleError::Space { folder, needed, free });
    }
    /// `MSDOS_SUPER_MAGIC` of Linux: FAT.
    const FAT: i64 = 0x4d44;
    let kind = rustix::fs::statfs(&folder).map_err(failed)?.f_type;
    let largest = (0..plan.count()).map(|number| plan.size(number)).max().unwrap_or(0);
    if kind == FAT && largest > u64::from(u32::MAX) {
        return Err(BundleError::FileSize { folder, size: largest });
    }
    Ok(())
}
