//! Snapshots past their grace period, and the blobs that only they reach.

use std::fs;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::{Collected, Published};

use super::support::{DAY, Made, TestStore, hour, tree};

/// A store whose first snapshot was replaced at hour 1.
fn replaced() -> (TestStore, Published, Published) {
    let test = TestStore::new();
    let one = test.publish(&Made::stream("one"), 0);
    let two = test.publish(&Made::stream("two"), 1);
    (test, one, two)
}

fn held(test: &TestStore, content: &str) -> bool {
    test.store.has_blob(&Digest::of(content.as_bytes()), content.len() as u64)
}

#[test]
fn within_the_grace_period_everything_is_kept() {
    let (test, one, _) = replaced();
    let before = tree(&test.path("blobs"));
    for now in [hour(1), hour(24), hour(25) - jiff::SignedDuration::from_secs(1)] {
        assert_eq!(test.writer().collect(DAY, now).unwrap(), Collected::default());
    }
    assert_eq!(tree(&test.path("blobs")), before);
    test.store.load(&one.digest).unwrap();
}

#[test]
fn the_grace_period_counts_from_the_replacement_not_the_publish() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    test.publish(&Made::stream("two"), 100);
    assert_eq!(test.writer().collect(DAY, hour(101)).unwrap(), Collected::default());
}

#[test]
fn after_the_grace_period_the_snapshot_goes_and_what_only_it_reaches() {
    let (test, one, two) = replaced();
    let description = test.store.description(&one.digest).unwrap();
    let collected = test.writer().collect(DAY, hour(25)).unwrap();
    assert_eq!(collected.snapshots, [one.digest]);
    // Its index, its two manifests, and the one content: metadata and squashfs
    // of a stream are the same bytes here.
    assert_eq!(collected.blobs, 4);
    assert!(!held(&test, "one"));
    for (digest, size) in &description[..3] {
        assert!(!test.store.has_blob(digest, *size));
    }

    assert!(held(&test, "grub"), "both snapshots hold it");
    assert!(held(&test, "{}"), "every manifest needs the empty config");
    assert_eq!(test.store.snapshots().unwrap().len(), 1);
    assert_eq!(test.current().digest, two.digest);
    assert_eq!(test.current().content, Made::stream("two").content);
}

#[test]
fn bytes_are_those_of_the_blobs_removed() {
    let (test, ..) = replaced();
    let bytes = |test: &TestStore| test.store.blobs().unwrap().0.values().sum::<u64>();
    let before = bytes(&test);
    let collected = test.writer().collect(DAY, hour(25)).unwrap();
    assert_eq!(before - bytes(&test), collected.bytes);
}

#[test]
fn the_current_snapshot_never_expires() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let collected = test.writer().collect(DAY, hour(100_000)).unwrap();
    assert_eq!(collected, Collected::default());
    assert_eq!(test.current().content, Made::stream("one").content);
}

#[test]
fn a_snapshot_that_became_current_again_is_kept() {
    let (test, one, two) = replaced();
    test.publish(&Made::stream("one"), 2);
    let collected = test.writer().collect(DAY, hour(26)).unwrap();
    assert_eq!(collected.snapshots, [two.digest]);
    assert_eq!(test.current().digest, one.digest);
    assert!(held(&test, "one") && !held(&test, "two"));
}

#[test]
fn what_another_kept_snapshot_reaches_stays() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    // Superseded at hour 30, so still kept at hour 26: it holds "one" too.
    let middle = Made::stream("two").item("product", "one", "one/squashfs", "one");
    let kept = test.publish(&middle, 1);
    test.publish(&Made::stream("three"), 25);
    assert_eq!(test.writer().collect(DAY, hour(26)).unwrap().snapshots.len(), 1);
    assert!(held(&test, "one"));
    assert_eq!(test.store.load(&kept.digest).unwrap().content, middle.content);
}

#[test]
fn other_garbage_is_left_for_prune() {
    let (test, ..) = replaced();
    test.writer().put_all([b"orphan".as_slice()]).unwrap();
    test.writer().collect(DAY, hour(25)).unwrap();
    assert!(held(&test, "orphan"));
}

/// What a snapshot that cannot be read reaches is not known, so nothing may go.
#[test]
fn a_damaged_snapshot_stops_the_collection_before_it_removes_anything() {
    let (test, _, two) = replaced();
    let three = test.publish(&Made::stream("three"), 2);
    for damaged in [two, three] {
        let (manifest, _) = test.store.description(&damaged.digest).unwrap()[1];
        let path = test.store.blob_path(&manifest);
        let good = fs::read(&path).unwrap();
        fs::write(&path, "{}").unwrap();
        let before = tree(&test.path(""));
        test.writer().collect(DAY, hour(25)).unwrap_err();
        let mut after = tree(&test.path(""));
        let lock = std::path::Path::new(".maas-mirror/lock");
        after.insert(lock.into(), before[lock].clone());
        assert_eq!(after, before);
        fs::write(&path, good).unwrap();
    }
}
