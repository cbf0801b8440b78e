//! A file system that is as slow as a busy disk: a folder, read-only, of which
//! all readers together get so many bytes a second.
//!
//! The kernel's page cache stands in front of it as in front of any disk: what
//! was read once is warm. Names and attributes are the kernel's for good after
//! the first look, and opening a file asks nobody.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry,
    ReplyOpen, Request,
};
use tempfile::TempDir;

use crate::Result;

/// How long the kernel may believe what it was told of a name: nothing changes.
const FOR_GOOD: Duration = Duration::from_secs(86_400);
/// Reads that wait at the same time.
const THREADS: usize = 16;

/// A mounted slow file system; goes when this is dropped.
#[derive(Debug)]
pub(crate) struct SlowDisk {
    // Before the folder: it is unmounted before the folder is removed.
    _session: BackgroundSession,
    folder: TempDir,
}

impl SlowDisk {
    /// Mounts what is below `folder` now, held to `bytes_a_second`.
    pub(crate) fn of(folder: &Path, bytes_a_second: f64) -> Result<Self> {
        let mut nodes = vec![Node::of(folder.to_owned(), INodeNo::ROOT)?];
        add_below(&mut nodes, 0)?;
        let shared = Shared { nodes, free_at: Mutex::new(Instant::now()), bytes_a_second };
        let mount = tempfile::tempdir()?;
        let mut config = Config::default();
        // Read-only: else the kernel asks again for the time of the last read.
        config.mount_options = vec![MountOption::RO, MountOption::FSName("bench".to_owned())];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(shared, mount.path(), &config)
            .map_err(|error| format!("a slow disk needs root and /dev/fuse: {error}"))?;
        Ok(Self { _session: session, folder: mount })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

struct Shared {
    /// By inode number, from 1.
    nodes: Vec<Node>,
    /// When the disk has done all that was asked of it.
    free_at: Mutex<Instant>,
    bytes_a_second: f64,
}

struct Node {
    parent: INodeNo,
    attr: FileAttr,
    path: PathBuf,
    /// Of a regular file.
    file: Option<File>,
    /// Of a folder.
    children: BTreeMap<OsString, INodeNo>,
}

impl Node {
    /// A file or folder; its inode number is given when it is added.
    fn of(path: PathBuf, parent: INodeNo) -> Result<Self> {
        let meta = std::fs::metadata(&path)?;
        let attr = FileAttr {
            ino: INodeNo::ROOT,
            size: meta.len(),
            blocks: meta.blocks(),
            atime: SystemTime::UNIX_EPOCH,
            mtime: meta.modified()?,
            ctime: meta.modified()?,
            crtime: SystemTime::UNIX_EPOCH,
            kind: if meta.is_dir() { FileType::Directory } else { FileType::RegularFile },
            perm: if meta.is_dir() { 0o755 } else { 0o644 },
            nlink: 1,
            uid: meta.uid(),
            gid: meta.gid(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        let file = if meta.is_file() { Some(File::open(&path)?) } else { None };
        Ok(Self { parent, attr, path, file, children: BTreeMap::new() })
    }
}

/// Adds what is below the folder at `index`.
fn add_below(nodes: &mut Vec<Node>, index: usize) -> Result<()> {
    let Some(folder) = nodes.get(index).filter(|node| node.file.is_none()) else {
        return Ok(());
    };
    let (path, number) = (folder.path.clone(), folder.attr.ino);
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let mut node = Node::of(entry.path(), number)?;
        let below = nodes.len();
        node.attr.ino = INodeNo(below as u64 + 1);
        if let Some(folder) = nodes.get_mut(index) {
            folder.children.insert(entry.file_name(), node.attr.ino);
        }
        nodes.push(node);
        add_below(nodes, below)?;
    }
    Ok(())
}

impl Shared {
    fn node(&self, number: INodeNo) -> Option<&Node> {
        self.nodes.get(usize::try_from(number.0.checked_sub(1)?).ok()?)
    }

    /// Waits until the disk has moved so many bytes more.
    fn take(&self, bytes: usize) {
        #[allow(clippy::cast_precision_loss, reason = "a read is small")]
        let needs = Duration::from_secs_f64(bytes as f64 / self.bytes_a_second);
        let done = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + needs;
            *free_at
        };
        std::thread::sleep(done.saturating_duration_since(Instant::now()));
    }
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let number = self.node(parent).and_then(|folder| folder.children.get(name));
        match number.and_then(|number| self.node(*number)) {
            Some(node) => reply.entry(&FOR_GOOD, &node.attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(number) {
            Some(node) => reply.attr(&FOR_GOOD, &node.attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The kernel then opens files by itself and keeps their pages.
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        let file = self.node(number).and_then(|node| node.file.as_ref());
        match file.map(|file| file.read_at(&mut bytes, offset)) {
            Some(Ok(length)) => {
                self.take(length);
                reply.data(bytes.get(..length).unwrap_or_default());
            }
            _ => reply.error(Errno::EIO),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(folder) = self.node(number) else { return reply.error(Errno::ENOENT) };
        let dots = [(OsStr::new("."), number), (OsStr::new(".."), folder.parent)];
        let children = folder.children.iter().map(|(name, number)| (name.as_os_str(), *number));
        let all = dots.into_iter().chain(children).enumerate();
        for (index, (name, number)) in all.skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            let kind = self.node(number).map_or(FileType::Directory, |node| node.attr.kind);
            if reply.add(number, index as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }
}
