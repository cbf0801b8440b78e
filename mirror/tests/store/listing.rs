//! Listings: a snapshot in one file, done without where it is not right.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::StoreError;

use super::support::{Made, TestStore, hour};

fn listing(test: &TestStore, digest: &Digest) -> PathBuf {
    test.path(".maas-mirror/listing").join(digest.to_string())
}

fn published() -> (TestStore, Made, Digest) {
    let test = TestStore::new();
    let made = Made::stream("one");
    let digest = test.publish(&made, 0).digest;
    (test, made, digest)
}

#[test]
fn a_listing_says_what_the_manifests_say_without_reading_them() {
    let (test, made, digest) = published();
    fs::remove_file(test.store.blob_path(&digest)).unwrap();
    let listed = test.store.listed(&digest).unwrap();
    assert_eq!((listed.digest, listed.content), (digest, made.content));
    // What proves something reads the snapshot itself.
    assert!(matches!(test.store.load(&digest), Err(StoreError::Io { .. })));
}

#[test]
fn any_byte_that_is_not_right_means_that_the_manifests_are_read() {
    let (test, made, digest) = published();
    let path = listing(&test, &digest);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_eq!(test.store.listed(&digest).unwrap().content, made.content, "byte {at}");
        fs::write(&path, &good[..at]).unwrap();
        assert_eq!(test.store.listed(&digest).unwrap().content, made.content, "{at} bytes");
    }
    // That was no luck: with the snapshot gone too there is nothing to read.
    fs::remove_file(test.store.blob_path(&digest)).unwrap();
    assert!(test.store.listed(&digest).is_err());
}

#[test]
fn the_listing_of_another_snapshot_is_not_taken() {
    let (test, made, first) = published();
    let second = test.publish(&Made::stream("two"), 1).digest;
    fs::copy(listing(&test, &second), listing(&test, &first)).unwrap();
    assert_eq!(test.store.listed(&first).unwrap().content, made.content);
}

#[test]
fn a_publish_that_changes_nothing_brings_a_lost_listing_back() {
    let (test, made, digest) = published();
    fs::remove_dir_all(test.path(".maas-mirror/listing")).unwrap();
    assert!(!test.publish(&made, 1).changed);
    assert!(listing(&test, &digest).exists());
}

#[test]
fn a_listing_goes_with_its_snapshot() {
    let (test, _, first) = published();
    let second = test.publish(&Made::stream("two"), 1).digest;
    assert!(listing(&test, &first).exists());
    test.writer().collect(Duration::ZERO, hour(2)).unwrap();
    assert!(!listing(&test, &first).exists());
    assert!(listing(&test, &second).exists());
}
