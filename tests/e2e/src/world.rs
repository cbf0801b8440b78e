//! An upstream and a store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fixtures::{Server, SigningKey, Stream, StreamSpec};
use tempfile::TempDir;

use crate::{Held, Mirror};

/// The path of the index below the upstream's root.
const INDEX: &str = "streams/v1/index.sjson";

/// A signed upstream, its server, and the folder of a store that mirrors it.
#[derive(Debug)]
pub struct World {
    /// Signs the stream.
    pub key: SigningKey,
    /// What [`publish`](Self::publish) publishes.
    pub stream: Stream,
    /// Serves what was published.
    pub server: Server,
    dir: TempDir,
}

impl World {
    /// The default stream, published; nothing is mirrored yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of(&StreamSpec::new())
    }

    /// Another stream, published; nothing is mirrored yet.
    #[must_use]
    pub fn of(spec: &StreamSpec) -> Self {
        let key = SigningKey::generate("Test <test@example.org>").expect("key");
        Self::signed_by(key, spec)
    }

    /// A stream that another key signs.
    #[must_use]
    pub fn signed_by(key: SigningKey, spec: &StreamSpec) -> Self {
        let dir = tempfile::Builder::new().prefix("e2e-").tempdir().expect("folder");
        for folder in ["upstream", "tmp"] {
            std::fs::create_dir(dir.path().join(folder)).expect("folder");
        }
        key.write_keyring(&dir.path().join("keyring.gpg")).expect("keyring");
        let server = Server::start(dir.path().join("upstream")).expect("server");
        let stream = spec.build();
        let world = Self { key, stream, server, dir };
        world.publish();
        world
    }

    /// The default stream, mirrored.
    #[must_use]
    pub fn synced() -> Self {
        let world = Self::new();
        world.sync().run().expect(0);
        world
    }

    /// The default stream, mirrored, and what the mirror holds.
    #[must_use]
    pub fn held() -> (Self, Held) {
        let world = Self::synced();
        let held = Held::by(&world);
        (world, held)
    }

    /// As [`held`](Self::held), with a newer version upstream that is not mirrored yet.
    #[must_use]
    pub fn held_and_newer() -> (Self, Held) {
        let (mut world, held) = Self::held();
        world.stream.add_version("20211015").expect("version");
        world.publish();
        (world, held)
    }

    /// A folder that is removed with this value.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store's folder.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.dir().join("store")
    }

    /// The folder that the server serves.
    #[must_use]
    pub fn upstream(&self) -> PathBuf {
        self.dir().join("upstream")
    }

    /// Publishes the stream as it is now.
    pub fn publish(&self) {
        self.publish_as(&self.stream);
    }

    /// Publishes another stream, signed.
    pub fn publish_as(&self, stream: &Stream) {
        stream.publish(&self.upstream(), &self.key).expect("publish");
    }

    /// Publishes a change of the stream's metadata, signed; [`publish`](Self::publish) takes it
    /// back.
    pub fn publish_changed(&self, change: impl FnOnce(&mut Stream)) {
        let mut stream = self.stream.clone();
        change(&mut stream);
        stream.publish_metadata(&self.upstream(), &self.key).expect("publish");
    }

    /// Puts bytes upstream as they are.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        fixtures::write_file(&self.upstream().join(path), bytes).expect("write");
    }

    /// Puts a text upstream, signed as it is.
    pub fn put_signed(&self, path: &str, text: &[u8]) {
        self.put(path, &self.key.clear_sign(text).expect("sign"));
    }

    /// Puts bytes in place of the index.
    pub fn put_index(&self, bytes: &[u8]) {
        self.put(INDEX, bytes);
    }

    /// The signed index, as upstream has it.
    #[must_use]
    pub fn index(&self) -> String {
        std::fs::read_to_string(self.upstream().join(INDEX)).expect("index")
    }

    /// The path of the Ubuntu products file.
    #[must_use]
    pub fn products_path(&self) -> String {
        let mut paths = self.stream.products.keys();
        paths.find(|path| path.contains(":v3:")).expect("products").clone()
    }

    /// A run of `verb` on the store.
    #[must_use]
    pub fn mirror(&self, verb: &str) -> Mirror {
        self.at(verb, &self.store())
    }

    /// A run of `verb` on a store at some other place.
    #[must_use]
    pub fn at(&self, verb: &str, store: &Path) -> Mirror {
        Mirror::new([verb])
            .args([Path::new("--store"), store])
            // What a killed run leaves there goes with this value.
            .env("TMPDIR", self.dir().join("tmp"))
            .named(self.dir().display().to_string(), "DIR")
    }

    /// `--keyring FILE`.
    #[must_use]
    pub fn keyring_args(&self) -> [PathBuf; 2] {
        [PathBuf::from("--keyring"), self.dir().join("keyring.gpg")]
    }

    /// A run of `sync`, which tries nothing twice.
    #[must_use]
    pub fn sync(&self) -> Mirror {
        self.sync_from(&self.server.url())
    }

    /// A run of `sync` from some other URL.
    #[must_use]
    pub fn sync_from(&self, url: &str) -> Mirror {
        self.sync_to(&self.store(), url)
    }

    /// A run of `sync` from any URL to a store at any place.
    #[must_use]
    pub fn sync_to(&self, store: &Path, url: &str) -> Mirror {
        self.at("sync", store)
            .args(["--upstream", url])
            .args(self.keyring_args())
            // By the environment, so that a test can still give the flag.
            .env("MAAS_MIRROR_RETRIES", "0")
    }

    /// A run of `verify`.
    #[must_use]
    pub fn verify(&self) -> Mirror {
        self.mirror("verify").args(self.keyring_args())
    }

    /// A run of `export` of the store, to a file in the folder of this value.
    #[must_use]
    pub fn export(&self, name: &str) -> Mirror {
        self.mirror("export").args([self.dir().join(name)])
    }

    /// A run of `import` of files in the folder of this value, to a store at any place.
    #[must_use]
    pub fn import_to(&self, store: &Path, names: &[&str]) -> Mirror {
        let bundles = names.iter().map(|name| self.dir().join(name));
        self.at("import", store).args(self.keyring_args()).args(bundles)
    }

    /// A run of `serve` on a free port.
    #[must_use]
    pub fn serve(&self) -> Mirror {
        self.mirror("serve").args(["--listen", "127.0.0.1:0"])
    }

    /// A run of `serve` on a free port that mirrors too.
    #[must_use]
    pub fn serve_and_sync(&self) -> Mirror {
        let url = self.server.url();
        self.serve()
            .args(["--upstream", &url])
            .args(self.keyring_args())
            .env("MAAS_MIRROR_RETRIES", "0")
    }

    /// Paths of items that upstream was asked for.
    #[must_use]
    pub fn items_requested(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter().map(|request| request.path);
        requests.filter(|path| !path.starts_with("streams/")).collect()
    }

    /// What every test of a failure ends with: `old` stands, and once the fault is gone, the next
    /// sync succeeds.
    #[track_caller]
    pub fn assert_serves_old(&self, old: &Held) {
        old.assert_stands(self);
        self.server.clear_faults();
        self.publish();
        self.sync().run().expect(0);
        self.verify().run().expect(0);
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Names in a store's `blobs/sha256`.
#[must_use]
pub fn blobs_in(store: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(store.join("blobs/sha256"));
    let names = entries.into_iter().flatten().map(|entry| entry.expect("blob").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Every file below a folder.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
