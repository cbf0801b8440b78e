//! A store in a temporary folder, and content for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use maas_mirror::simplestreams::{self, Digest, RelPath};
use maas_mirror::store::{Content, FileRef, Published, Snapshot, Store, VersionKey, Writer};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A store that lives as long as this value.
pub(crate) struct TestStore {
    pub(crate) store: Store,
    dir: TempDir,
}

impl TestStore {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(dir.path().join("store")).unwrap();
        Self { store, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.store.root().join(name)
    }

    /// A folder beside the store.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn writer(&self) -> Writer {
        self.store.writer("test").unwrap()
    }

    /// Stores the content's blobs and publishes it `hours` after the epoch of
    /// these tests.
    pub(crate) fn publish(&self, made: &Made, hours: i64) -> Published {
        let writer = self.writer();
        made.put(&writer);
        writer.publish(&made.content, hour(hours)).unwrap()
    }

    pub(crate) fn current(&self) -> Snapshot {
        self.store.current().unwrap().unwrap()
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.path(".maas-mirror/partial").join(digest.to_string())
    }
}

/// The point in time `hours` after the epoch of these tests.
pub(crate) fn hour(hours: i64) -> Timestamp {
    let epoch: Timestamp = "2025-07-22T11:00:00Z".parse().unwrap();
    epoch + SignedDuration::from_hours(hours)
}

/// Content together with the bytes of its files.
#[derive(Clone, Default)]
pub(crate) struct Made {
    pub(crate) content: Content,
    bytes: BTreeMap<Digest, Vec<u8>>,
}

impl Made {
    /// A stream of one metadata file and one version with two items, one of
    /// which every such stream shares.
    pub(crate) fn stream(name: &str) -> Self {
        Self::default()
            .updated("stream", "2025-07-22T11:01:49Z")
            .metadata("streams/v1/index.sjson", name)
            .item("product", name, "common/grub", "grub")
            .item("product", name, &format!("{name}/squashfs"), name)
    }

    pub(crate) fn updated(mut self, content_id: &str, time: &str) -> Self {
        let time = simplestreams::Timestamp::parse(time).unwrap();
        self.content.updated.insert(content_id.to_owned(), time);
        self
    }

    pub(crate) fn metadata(mut self, path: &str, bytes: &str) -> Self {
        let file = self.file(path, bytes);
        self.content.metadata.push(file);
        self
    }

    pub(crate) fn item(mut self, product: &str, version: &str, path: &str, bytes: &str) -> Self {
        let file = self.file(path, bytes);
        let key = VersionKey { product: product.to_owned(), version: version.to_owned() };
        self.content.versions.entry(key).or_default().push(file);
        self
    }

    pub(crate) fn put(&self, writer: &Writer) {
        writer.put_all(self.bytes.values().map(Vec::as_slice)).unwrap();
    }

    fn file(&mut self, path: &str, bytes: &str) -> FileRef {
        let digest = Digest::of(bytes.as_bytes());
        self.bytes.insert(digest, bytes.as_bytes().to_vec());
        FileRef { path: RelPath::new(path).unwrap(), digest, size: bytes.len() as u64 }
    }
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Makes a file look as if it was last written `age` ago.
pub(crate) fn set_age(path: &Path, age: Duration) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// Every file below `folder`, by its path from there, with its bytes.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Writes `files` below `folder`.
pub(crate) fn plant(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (name, bytes) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
