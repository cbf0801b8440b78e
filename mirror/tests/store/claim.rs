//! Who may write a blob, without the lock of the store.

use std::fs;
use std::time::Duration;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::{BlobError, Claim, PartialBlob, PruneOptions, StoreError};

use super::support::{TestStore, hour};

const CONTENT: &[u8] = b"content";
const SIZE: u64 = CONTENT.len() as u64;

fn digest() -> Digest {
    Digest::of(CONTENT)
}

fn claim(test: &TestStore) -> Claim {
    test.store.claim(digest(), SIZE).unwrap()
}

#[track_caller]
fn ours(test: &TestStore) -> PartialBlob {
    match claim(test) {
        Claim::Ours(blob) => *blob,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_writes_and_the_others_are_told() {
    let test = TestStore::new();
    let _lock = test.writer();
    let mut blob = ours(&test);
    assert!(matches!(claim(&test), Claim::Busy));
    blob.write(CONTENT).unwrap();
    assert!(matches!(claim(&test), Claim::Busy));
    blob.finish().unwrap();
    assert!(matches!(claim(&test), Claim::Held));
    assert!(test.store.has_blob(&digest(), SIZE));
    assert!(test.store.partials().unwrap().is_empty());
}

#[test]
fn what_one_leaves_the_next_takes_up() {
    let test = TestStore::new();
    ours(&test).write(b"cont").unwrap();
    let mut blob = ours(&test);
    assert_eq!(blob.written(), 4);
    blob.write(b"ent").unwrap();
    blob.finish().unwrap();
    assert!(test.store.has_blob(&digest(), SIZE));
}

#[test]
fn a_writer_of_the_store_is_told_too() {
    let test = TestStore::new();
    let writer = test.writer();
    let _blob = ours(&test);
    assert!(matches!(writer.partial(digest(), SIZE), Err(StoreError::Busy(_))));
}

#[test]
fn many_at_once_write_it_once() {
    let test = TestStore::new();
    let wrote: Vec<bool> = std::thread::scope(|scope| {
        let work = || loop {
            match test.store.claim(digest(), SIZE).unwrap() {
                Claim::Held => return false,
                Claim::Busy => std::thread::yield_now(),
                Claim::Ours(mut blob) => {
                    blob.write(CONTENT).unwrap();
                    blob.finish().unwrap();
                    return true;
                }
            }
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(wrote.into_iter().filter(|wrote| *wrote).count(), 1);
    assert_eq!(test.store.read_blob(&digest()).unwrap(), CONTENT);
    assert!(test.store.partials().unwrap().is_empty());
}

#[test]
fn prune_leaves_what_is_being_written() {
    let test = TestStore::new();
    let all = PruneOptions { grace: Duration::ZERO, dry_run: false };
    let mut blob = ours(&test);
    blob.write(b"cont").unwrap();
    assert_eq!(test.writer().prune(all, hour(0)).unwrap().partials, 0);
    drop(blob);
    let told = PruneOptions { dry_run: true, ..all };
    assert_eq!(test.writer().prune(told, hour(0)).unwrap().partials, 1);
    assert_eq!(test.writer().prune(all, hour(0)).unwrap().partials, 1);
    assert!(!test.partial(&digest()).exists());
}

#[test]
fn another_file_under_the_name_is_not_taken_for_ours() {
    let test = TestStore::new();
    let mut blob = ours(&test);
    blob.write(CONTENT).unwrap();
    let path = test.partial(&digest());
    fs::remove_file(&path).unwrap();
    fs::write(&path, "other").unwrap();
    assert!(matches!(blob.finish(), Err(BlobError::Store(StoreError::Damaged { .. }))));
    assert!(!test.store.has_blob(&digest(), SIZE));
}

#[test]
fn those_who_read_along_hear_of_the_digest_and_of_no_other() {
    let test = TestStore::new();
    let mut blob = ours(&test);
    blob.write(b"konfekt").unwrap();
    assert!(matches!(blob.finish_then(|| panic!("wrong")), Err(BlobError::Mismatch { .. })));
    let mut heard = false;
    let mut blob = ours(&test);
    blob.write(CONTENT).unwrap();
    blob.finish_then(|| heard = true).unwrap();
    assert!(heard);
}
