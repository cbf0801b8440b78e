//! Everything else that nothing reaches, by its age.

use std::fs;
use std::time::Duration;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::{Collected, PruneOptions};

use super::support::{DAY, Made, TestStore, hour, set_age, tree};

const REMOVE: PruneOptions = PruneOptions { grace: DAY, dry_run: false };
const TELL: PruneOptions = PruneOptions { grace: DAY, dry_run: true };

/// A store with a snapshot, and an orphaned blob and a partial of that age.
fn with_garbage(age: Duration) -> TestStore {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    test.writer().put_all([b"orphan".as_slice()]).unwrap();
    set_age(&test.store.blob_path(&Digest::of(b"orphan")), age);
    let partial = test.partial(&Digest::of(b"partial"));
    fs::write(&partial, "part").unwrap();
    set_age(&partial, age);
    test
}

#[test]
fn young_garbage_stays() {
    let test = with_garbage(DAY - Duration::from_secs(600));
    assert_eq!(test.writer().prune(REMOVE, hour(0)).unwrap(), Collected::default());
    assert!(test.store.has_blob(&Digest::of(b"orphan"), 6));
    assert_eq!(test.store.partials().unwrap().len(), 1);
}

#[test]
fn old_garbage_goes_and_the_snapshot_stays() {
    let test = with_garbage(DAY);
    for digest in test.store.blobs().unwrap().0.keys() {
        set_age(&test.store.blob_path(digest), 30 * DAY);
    }
    let collected = test.writer().prune(REMOVE, hour(1000)).unwrap();
    let expected = Collected { snapshots: vec![], blobs: 1, partials: 1, bytes: 6 + 4 };
    assert_eq!(collected, expected);
    assert!(!test.store.has_blob(&Digest::of(b"orphan"), 6));
    assert!(test.store.partials().unwrap().is_empty());
    assert_eq!(test.current().content, Made::stream("one").content);
    for file in Made::stream("one").content.files() {
        assert!(test.store.has_blob(&file.digest, file.size));
    }
}

#[test]
fn a_dry_run_tells_the_same_and_removes_nothing() {
    let test = with_garbage(DAY);
    test.publish(&Made::stream("two"), 1);
    let before = tree(&test.path("blobs"));
    let told = test.writer().prune(TELL, hour(25)).unwrap();
    assert_eq!(tree(&test.path("blobs")), before);
    assert_eq!(test.store.snapshots().unwrap().len(), 2);
    assert_eq!(test.store.partials().unwrap().len(), 1);
    assert_eq!(told.snapshots.len(), 1);
    assert_eq!(test.writer().prune(REMOVE, hour(25)).unwrap(), told);
    assert_eq!(test.writer().prune(REMOVE, hour(25)).unwrap(), Collected::default());
}

/// Its blobs are young, but they were kept for it alone.
#[test]
fn an_expired_snapshot_takes_its_blobs_with_it_whatever_their_age() {
    let test = TestStore::new();
    let one = test.publish(&Made::stream("one"), 0);
    test.publish(&Made::stream("two"), 1);
    let collected = test.writer().prune(REMOVE, hour(25)).unwrap();
    assert_eq!(collected.snapshots, [one.digest]);
    assert!(!test.store.has_blob(&Digest::of(b"one"), 3));
    assert!(test.store.has_blob(&Digest::of(b"grub"), 4));
}

#[test]
fn a_file_from_the_future_is_not_old() {
    let test = with_garbage(DAY);
    let path = test.store.blob_path(&Digest::of(b"orphan"));
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::now() + 30 * DAY).unwrap();
    test.writer().prune(REMOVE, hour(0)).unwrap();
    assert!(path.exists());
}

#[test]
fn strangers_are_not_ours_to_remove() {
    let test = with_garbage(DAY);
    let stranger = test.path("blobs/sha256/README");
    fs::write(&stranger, "mine").unwrap();
    set_age(&stranger, 30 * DAY);
    test.writer().prune(REMOVE, hour(0)).unwrap();
    assert!(stranger.exists());
}

#[test]
fn a_damaged_snapshot_stops_it_before_it_removes_anything() {
    let test = with_garbage(DAY);
    let digest = test.current().digest;
    fs::write(test.store.blob_path(&digest), "{}").unwrap();
    let before = tree(&test.path("blobs"));
    test.writer().prune(REMOVE, hour(25)).unwrap_err();
    assert_eq!(tree(&test.path("blobs")), before);
    assert_eq!(test.store.partials().unwrap().len(), 1);
}

#[test]
fn a_quarantined_blob_is_out_of_the_way_and_kept_to_look_at() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let digest = Digest::of(b"grub");
    let place = test.writer().quarantine(&digest).unwrap();
    assert!(!test.store.has_blob(&digest, 4));
    assert_eq!(fs::read(place).unwrap(), b"grub");
    // Fetched again, and damaged again.
    test.writer().put_all([b"grub".as_slice()]).unwrap();
    assert!(test.store.has_blob(&digest, 4));
    test.writer().quarantine(&digest).unwrap();
    test.writer().quarantine(&digest).unwrap_err();
}
