//! A crash at any instant of a publish leaves the old snapshot or the new one
//! whole, and the next run finishes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::{Store, Writer};

use super::support::{DAY, Made, TestStore, hour, plant, tree};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The files of a store before and after a publish of "two" over "one".
fn before_and_after() -> (Files, Files) {
    let test = TestStore::new();
    test.publish(&Made::stream("one").updated("stream", "2025-07-01T00:00:00Z"), 0);
    let before = tree(test.store.root());
    test.publish(&Made::stream("two"), 1);
    (before, tree(test.store.root()))
}

/// Every state on the way from the first to the second, in the order of
/// durability: blobs one by one, the state file, `index.json` beside, renamed.
fn states() -> Vec<Files> {
    let (before, after) = before_and_after();
    let changed = |name: &Path| before.get(name) != after.get(name);
    let step = |name: &Path| match name.to_str().unwrap() {
        name if name.starts_with("blobs/") => 0,
        ".maas-mirror/newest.json" => 1,
        "index.json" => 2,
        _ => 3,
    };
    let mut steps: Vec<_> = after.keys().filter(|name| changed(name)).collect();
    steps.sort_by_key(|name| step(name));
    let mut state = before.clone();
    let mut states = vec![state.clone()];
    for name in steps {
        let bytes = &after[name];
        let torn = bytes[..bytes.len() / 2].to_vec();
        let unnamed = match name.strip_prefix("blobs/sha256") {
            Ok(digest) => Path::new(".maas-mirror/partial").join(digest),
            Err(_) => PathBuf::from(format!("{}.new", name.display())),
        };
        for part in [torn, bytes.clone()] {
            state.insert(unnamed.clone(), part);
            states.push(state.clone());
        }
        state.remove(&unnamed);
        state.insert(name.clone(), bytes.clone());
        states.push(state.clone());
    }
    states
}

/// A store that a crash left like that.
fn crashed(files: &Files) -> (TestStore, Store) {
    let test = TestStore::new();
    let root = test.beside("crashed");
    plant(&root, files);
    let store = Store::open(root).unwrap();
    (test, store)
}

#[test]
fn every_state_on_the_way_reads_as_the_old_snapshot_or_the_new() {
    let mut names = Vec::new();
    for files in states() {
        let (_test, store) = crashed(&files);
        let content = store.current().unwrap().unwrap().content;
        for file in content.files() {
            let bytes = store.read_blob(&file.digest).unwrap();
            assert_eq!(bytes.len() as u64, file.size);
        }
        let name =
            if content.versions.keys().any(|key| key.version == "two") { "two" } else { "one" };
        names.push(name);
        store.newest_updated().unwrap();
    }
    assert!(names.len() > 15, "{names:?}");
    assert!(names.starts_with(&["one"]) && names.ends_with(&["two"]) && names.is_sorted());
}

/// Refusing an older file after a crash is right even where nothing newer was
/// published: it was accepted.
#[test]
fn the_newest_updated_never_goes_back_on_the_way() {
    let newest = |files: &Files| crashed(files).1.newest_updated().unwrap()["stream"];
    let times: Vec<_> = states().iter().map(newest).collect();
    assert!(times.is_sorted());
    assert_ne!(times.first(), times.last());
}

#[test]
fn the_next_publish_finishes_from_every_state() {
    let made = Made::stream("two");
    let expected = TestStore::new().publish(&made, 0).digest;
    for files in states() {
        let (_test, store) = crashed(&files);
        let writer = store.writer("test").unwrap();
        put_as_downloads(&writer, &["two", "grub"]);
        made.put(&writer);
        assert_eq!(writer.publish(&made.content, hour(2)).unwrap().digest, expected);
        let current = store.current().unwrap().unwrap();
        assert_eq!((current.digest, &current.content), (expected, &made.content));
        writer.collect(DAY, hour(100)).unwrap();
        assert_eq!(store.snapshots().unwrap().len(), 1);
        assert_eq!(store.current().unwrap().unwrap().content, made.content);
    }
}

/// Downloads the contents as a sync does: what a partial holds is taken up.
fn put_as_downloads(writer: &Writer, contents: &[&str]) {
    for content in contents {
        let mut blob =
            writer.partial(Digest::of(content.as_bytes()), content.len() as u64).unwrap();
        let at = usize::try_from(blob.written()).unwrap();
        blob.write(&content.as_bytes()[at..]).unwrap();
        blob.finish().unwrap();
    }
}

#[test]
fn a_crash_while_the_store_is_made_is_taken_up() {
    let files = tree(TestStore::new().store.root());
    let order = [".maas-mirror/format", "index.json", "oci-layout"];
    for done in 0..=order.len() {
        let test = TestStore::new();
        let root = test.beside("crashed");
        std::fs::create_dir_all(root.join("blobs")).unwrap();
        let names = order.iter().take(done).map(PathBuf::from);
        plant(&root, &names.map(|name| (name.clone(), files[&name].clone())).collect());
        let store = Store::open_or_create(&root).unwrap();
        assert_eq!(store.current().unwrap(), None);
        store.writer("test").unwrap();
        Store::open(&root).unwrap();
    }
}
