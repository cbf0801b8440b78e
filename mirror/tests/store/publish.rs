//! Publishing: which snapshot is current, and which others stay.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::StoreError;

use super::support::{Made, TestStore, hour, tree};

#[test]
fn a_published_snapshot_is_current() {
    let test = TestStore::new();
    let made = Made::stream("one");
    let published = test.publish(&made, 0);
    assert!(published.changed);
    assert_eq!(test.current().digest, published.digest);
    assert_eq!(test.current().content, made.content);
    let [listed] = test.store.snapshots().unwrap().try_into().unwrap();
    assert!(listed.current);
    assert_eq!(listed.published.as_deref(), Some("2025-07-22T11:00:00Z"));
    assert_eq!(listed.superseded, None);
}

#[test]
fn publishing_what_is_current_writes_nothing() {
    let test = TestStore::new();
    let made = Made::stream("one");
    test.publish(&made, 0);
    let inode = || fs::metadata(test.path("index.json")).unwrap().ino();
    let (before, first) = (tree(test.store.root()), inode());
    let writer = test.writer();
    let again = writer.publish(&made.content, hour(5)).unwrap();
    drop(writer);
    assert!(!again.changed);
    assert_eq!(inode(), first);
    let mut after = tree(test.store.root());
    // The lock names its last holder.
    let lock = Path::new(".maas-mirror/lock");
    after.insert(lock.into(), before[lock].clone());
    assert_eq!(after, before);
}

#[test]
fn publishing_what_is_current_mends_its_description() {
    let test = TestStore::new();
    let made = Made::stream("one");
    let published = test.publish(&made, 0);
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let damage = |path: &Path| fs::write(path, "x".repeat(fs::read(path).unwrap().len())).unwrap();
    for (digest, _) in test.store.description(&published.digest).unwrap().into_iter().take(3) {
        for harm in [&remove as &dyn Fn(&Path), &damage] {
            harm(&test.store.blob_path(&digest));
            test.store.current().unwrap_err();
            assert_eq!(test.publish(&made, 1).digest, published.digest);
            assert_eq!(test.current().content, made.content);
            assert_eq!(test.store.snapshots().unwrap().len(), 1);
            assert!(!test.publish(&made, 2).changed);
        }
    }
}

#[test]
fn a_missing_blob_is_named_and_what_was_current_stays() {
    let test = TestStore::new();
    let one = test.publish(&Made::stream("one"), 0);
    let before = fs::read(test.path("index.json")).unwrap();
    let made = Made::stream("two");
    let writer = test.writer();
    let error = writer.publish(&made.content, hour(1)).unwrap_err();
    let StoreError::Damaged { reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(reason.contains("streams/v1/index.sjson"), "{reason}");
    assert_eq!(fs::read(test.path("index.json")).unwrap(), before);
    assert_eq!(test.current().digest, one.digest);

    made.put(&writer);
    let squashfs = test.store.blob_path(&Digest::of(b"two"));
    fs::write(&squashfs, "longer than two").unwrap();
    let error = writer.publish(&made.content, hour(1)).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { path, .. } if path == squashfs));
    assert_eq!(test.current().digest, one.digest);
}

#[test]
fn a_second_publish_keeps_the_first_as_superseded() {
    let test = TestStore::new();
    let one = test.publish(&Made::stream("one"), 0);
    let two = test.publish(&Made::stream("two"), 3);
    let [current, kept] = test.store.snapshots().unwrap().try_into().unwrap();
    assert_eq!((current.digest, current.current), (two.digest, true));
    assert_eq!((kept.digest, kept.current), (one.digest, false));
    assert_eq!(kept.published.as_deref(), Some("2025-07-22T11:00:00Z"));
    assert_eq!(kept.superseded.as_deref(), Some("2025-07-22T14:00:00Z"));
    let old = test.store.load(&one.digest).unwrap();
    assert_eq!(old.content, Made::stream("one").content);
}

#[test]
fn snapshots_are_listed_current_first_then_the_newest() {
    let test = TestStore::new();
    let digests = ["one", "two", "three", "four"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| test.publish(&Made::stream(name), n as i64).digest);
    let mut expected: Vec<_> = digests.collect();
    expected.reverse();
    let listed: Vec<_> = test.store.snapshots().unwrap().iter().map(|s| s.digest).collect();
    assert_eq!(listed, expected);
}

#[test]
fn republishing_older_content_makes_it_current_again_without_a_duplicate() {
    let test = TestStore::new();
    let one = test.publish(&Made::stream("one"), 0);
    let two = test.publish(&Made::stream("two"), 1);
    let blobs = test.store.blobs().unwrap();
    let again = test.publish(&Made::stream("one"), 2);
    assert!(again.changed);
    assert_eq!(again.digest, one.digest);
    assert_eq!(test.store.blobs().unwrap(), blobs);

    let [current, kept] = test.store.snapshots().unwrap().try_into().unwrap();
    assert_eq!((current.digest, current.superseded), (one.digest, None));
    assert_eq!(current.published.as_deref(), Some("2025-07-22T13:00:00Z"));
    assert_eq!(kept.digest, two.digest);
    assert_eq!(kept.superseded.as_deref(), Some("2025-07-22T13:00:00Z"));
}

#[test]
fn an_unchanged_version_is_the_same_manifest_in_both_snapshots() {
    let test = TestStore::new();
    let first = Made::stream("one").item("other", "1", "other/file", "other");
    let second = first.clone().item("product", "two", "two/squashfs", "two");
    let manifests = |published: maas_mirror::store::Published| {
        let description = test.store.description(&published.digest).unwrap();
        description.into_iter().skip(1).map(|(digest, _)| digest).collect::<Vec<_>>()
    };
    let before = manifests(test.publish(&first, 0));
    let after = manifests(test.publish(&second, 1));
    assert_eq!(after.len(), before.len() + 1);
    assert!(before.iter().all(|digest| after.contains(digest)));
}

#[test]
fn empty_content_can_be_published() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    test.publish(&Made::default(), 1);
    assert_eq!(test.current().content, Made::default().content);
}
