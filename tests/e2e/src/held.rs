//! What a store held at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::{Serving, World, blobs_in, sha256};

/// A snapshot as a client sees it, and everything in the store.
#[derive(Debug)]
pub struct Held {
    /// Content by path, metadata and items.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Names in `blobs/sha256`.
    pub blobs: BTreeSet<String>,
    /// The snapshot's digest.
    pub snapshot: String,
}

impl Held {
    /// What `world`'s store holds now.
    #[track_caller]
    #[must_use]
    pub fn by(world: &World) -> Self {
        Self::at(world, &world.store())
    }

    /// What a store at some other place holds now.
    #[track_caller]
    #[must_use]
    pub fn at(world: &World, store: &Path) -> Self {
        let list = world.at("list", store).args(["-o", "json"]);
        let list = list.run().expect(0).json();
        let folder = store.join("blobs/sha256");
        let files = listed(&list).into_iter().map(|(path, digest)| {
            let bytes = std::fs::read(folder.join(&digest)).expect("a listed blob");
            assert_eq!(sha256(&bytes), digest, "{path}");
            (path, bytes)
        });
        Self {
            files: files.collect(),
            blobs: blobs_in(store),
            snapshot: list["snapshot"].as_str().expect("snapshot").to_owned(),
        }
    }

    /// Checks that a server serves every file byte for byte.
    #[track_caller]
    pub fn assert_served_by(&self, serving: &Serving) {
        for (path, bytes) in &self.files {
            let answer = serving.get(&format!("/images/{path}"));
            assert_eq!(answer.status, 200, "{path}");
            let (came, of) = (answer.body.len(), bytes.len());
            assert!(answer.whole, "{path}: {came} of {of} bytes");
            assert!(answer.body == *bytes, "the bytes of {path}");
        }
    }

    /// What every failure must leave: this snapshot is current and served byte for byte, the store
    /// is intact, nothing in it was deleted.
    #[track_caller]
    pub fn assert_stands(&self, world: &World) {
        self.assert_stands_at(world, &world.store());
    }

    /// [`assert_stands`](Self::assert_stands), for a store at some other place.
    #[track_caller]
    pub fn assert_stands_at(&self, world: &World, store: &Path) {
        let report = world.at("verify", store).args(["-o", "json"]);
        let report = report.args(world.keyring_args()).run().expect(0).json();
        assert_eq!(report["intact"], true, "{report}");
        assert_eq!(report["snapshots"][0]["digest"], self.snapshot.as_str());
        let now = blobs_in(store);
        assert!(self.blobs.is_subset(&now), "blobs were deleted");
        let serving = Serving::ready(world.at("serve", store).args(["--listen", "127.0.0.1:0"]));
        self.assert_served_by(&serving);
        serving.stop();
    }
}

/// Path and digest of every file that `list -o json` lists.
fn listed(list: &Value) -> BTreeMap<String, String> {
    let versions = list["versions"].as_array().expect("versions").iter();
    let files = versions.flat_map(|version| version["files"].as_array().expect("files"));
    let metadata = list["metadata"].as_array().expect("metadata");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    metadata.iter().chain(files).map(|file| (text(&file["path"]), text(&file["sha256"]))).collect()
}
