//! Items that join the current snapshot.

use std::fs;

use maas_mirror::simplestreams::{Digest, RelPath};
use maas_mirror::store::{FileRef, Joining, StoreError, VersionKey};

use super::support::{DAY, Made, TestStore, hour};

fn item(path: &str, bytes: &str) -> (VersionKey, FileRef) {
    let key = VersionKey { product: "product".to_owned(), version: "one".to_owned() };
    let (path, size) = (RelPath::new(path).unwrap(), bytes.len() as u64);
    (key, FileRef { path, digest: Digest::of(bytes.as_bytes()), size })
}

/// A store with a snapshot, and a blob beside it.
fn with_blob(bytes: &str) -> (TestStore, Digest) {
    let test = TestStore::new();
    let one = test.publish(&Made::stream("one"), 0);
    test.writer().put_all([bytes.as_bytes()]).unwrap();
    (test, one.digest)
}

#[test]
fn the_new_snapshot_has_all_of_the_old_which_goes() {
    let (test, one) = with_blob("kernel");
    let description = test.store.description(&one).unwrap();
    let joined = test.writer().join(&one, &[item("one/kernel", "kernel")], hour(1)).unwrap();
    let Joining::Done(published) = joined else { panic!("{joined:?}") };
    assert!(published.changed);
    let snapshots = test.store.snapshots().unwrap();
    assert_eq!(snapshots.iter().map(|s| s.digest).collect::<Vec<_>>(), [published.digest]);
    let expected = Made::stream("one").item("product", "one", "one/kernel", "kernel").content;
    assert_eq!(test.current().content.by_path(), expected.by_path());
    // What described the old one and nothing else is gone; the shared config is not.
    assert!(!test.store.blob_path(&one).exists());
    let needed = test.store.description(&published.digest).unwrap();
    for (digest, size) in description {
        let shared = needed.contains(&(digest, size));
        assert_eq!(test.store.has_blob(&digest, size), shared, "{digest}");
    }
    let paths: Vec<_> = test.store.joined().into_iter().map(|item| item.path).collect();
    assert_eq!(paths, [RelPath::new("one/kernel").unwrap()]);
}

#[test]
fn the_same_content_gives_the_same_snapshot_as_a_publish() {
    let (test, one) = with_blob("kernel");
    let joined = test.writer().join(&one, &[item("one/kernel", "kernel")], hour(1)).unwrap();
    let made = Made::stream("one").item("product", "one", "one/kernel", "kernel");
    let published = test.publish(&made, 2);
    assert!(!published.changed);
    assert!(matches!(joined, Joining::Done(before) if before.digest == published.digest));
}

/// A damaged blob that was moved away keeps no other item out; the hole stays one until a sync
/// mends it.
#[test]
fn a_hole_in_the_current_snapshot_keeps_nothing_out() {
    let (test, one) = with_blob("kernel");
    let hole = test.store.load(&one).unwrap().content.files().next().unwrap().clone();
    test.writer().quarantine(&hole.digest).unwrap();
    let joined = test.writer().join(&one, &[item("one/kernel", "kernel")], hour(1)).unwrap();
    assert!(matches!(joined, Joining::Done(published) if published.changed));
    let current = test.current().content;
    assert!(current.by_path().contains_key(&RelPath::new("one/kernel").unwrap()));
    assert!(current.by_path().contains_key(&hole.path));
    // A publish still says what is missing.
    let error = test.writer().publish(&Made::stream("one").content, hour(2));
    assert!(matches!(error, Err(StoreError::Damaged { .. })), "{error:?}");
}

#[test]
fn hundreds_of_joins_leave_one_snapshot() {
    let (test, _) = with_blob("x");
    let before = test.store.blobs().unwrap().0.len();
    for n in 0..200 {
        let bytes = format!("item {n}");
        let writer = test.writer();
        writer.put_all([bytes.as_bytes()]).unwrap();
        let item = item(&format!("one/{n}"), &bytes);
        writer.join(&test.current().digest, &[item], hour(n)).unwrap();
    }
    assert_eq!(test.store.snapshots().unwrap().len(), 1);
    // The items, and the manifests of a version past 100 of them.
    assert_eq!(test.store.blobs().unwrap().0.len(), before + 200 + 2);
    assert_eq!(test.store.joined().len(), 200);
}

#[test]
fn an_earlier_snapshot_stays_for_its_grace_period() {
    let (test, one) = with_blob("kernel");
    let two = test.publish(&Made::stream("two"), 1);
    test.writer().join(&two.digest, &[item("one/kernel", "kernel")], hour(2)).unwrap();
    assert_eq!(test.store.snapshots().unwrap().len(), 2);
    assert_eq!(test.store.load(&one).unwrap().content, Made::stream("one").content);
    assert!(test.writer().collect(DAY, hour(3)).unwrap().snapshots.is_empty());
    assert_eq!(test.writer().collect(DAY, hour(26)).unwrap().snapshots, [one]);
    assert!(test.store.has_blob(&Digest::of(b"kernel"), 6));
}

#[test]
fn what_is_not_held_or_there_already_is_left_out() {
    let (test, one) = with_blob("other");
    let items = [item("one/kernel", "kernel"), item("common/grub", "other")];
    let joined = test.writer().join(&one, &items, hour(1)).unwrap();
    assert!(matches!(joined, Joining::Done(published) if !published.changed));
    assert_eq!(test.current().digest, one);
    assert!(test.store.joined().is_empty());
}

#[test]
fn another_snapshot_than_the_one_named_is_not_touched() {
    let (test, one) = with_blob("kernel");
    let two = test.publish(&Made::stream("two"), 1);
    let items = [item("one/kernel", "kernel")];
    assert_eq!(test.writer().join(&one, &items, hour(2)).unwrap(), Joining::Moved);
    assert_eq!(test.current().digest, two.digest);
    assert_eq!(TestStore::new().writer().join(&one, &items, hour(2)).unwrap(), Joining::Moved);
}

/// Where the state cannot be written, nothing changes.
#[test]
fn a_join_that_fails_leaves_the_snapshot() {
    let (test, one) = with_blob("kernel");
    let writer = test.writer();
    let in_the_way = test.path(".maas-mirror/joined.json.new");
    fs::create_dir(&in_the_way).unwrap();
    let error = writer.join(&one, &[item("one/kernel", "kernel")], hour(1));
    assert!(matches!(error, Err(StoreError::Io { .. } | StoreError::ReadOnly { .. })));
    assert_eq!(test.current().digest, one);
    fs::remove_dir(in_the_way).unwrap();
    assert!(writer.join(&one, &[item("one/kernel", "kernel")], hour(1)).is_ok());
}
