//! Blobs on their way into the store.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::{BlobError, StoreError};

use super::support::TestStore;

const BYTES: &[u8] = b"boot-kernel";
const SIZE: u64 = BYTES.len() as u64;

fn digest() -> Digest {
    Digest::of(BYTES)
}

/// A store with `left` as what an earlier run wrote of the blob.
fn with_partial(left: &[u8]) -> TestStore {
    let test = TestStore::new();
    fs::write(test.partial(&digest()), left).unwrap();
    test
}

#[track_caller]
fn assert_held(test: &TestStore) {
    assert!(test.store.has_blob(&digest(), SIZE));
    assert_eq!(test.store.read_blob(&digest()).unwrap(), BYTES);
    assert!(test.store.partials().unwrap().is_empty());
}

#[track_caller]
fn assert_nothing_left(test: &TestStore) {
    assert!(!test.store.has_blob(&digest(), SIZE));
    assert!(test.store.blobs().unwrap().0.is_empty());
    assert!(test.store.partials().unwrap().is_empty());
}

#[test]
fn a_blob_has_its_name_only_once_it_is_finished() {
    let test = TestStore::new();
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    assert!(!blob.resumed());
    for byte in BYTES {
        assert!(!test.store.has_blob(&digest(), SIZE));
        blob.write(&[*byte]).unwrap();
    }
    assert_eq!(blob.written(), SIZE);
    assert_eq!(test.store.partials().unwrap(), [(digest(), SIZE)].into());
    assert!(!test.store.has_blob(&digest(), SIZE));
    blob.finish().unwrap();
    assert_held(&test);
}

#[test]
fn what_was_written_before_a_crash_is_taken_up() {
    let test = TestStore::new();
    {
        let writer = test.writer();
        let mut blob = writer.partial(digest(), SIZE).unwrap();
        blob.write(&BYTES[..4]).unwrap();
    }
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    assert_eq!((blob.written(), blob.resumed()), (4, true));
    blob.write(&BYTES[4..]).unwrap();
    blob.finish().unwrap();
    assert_held(&test);
}

#[test]
fn a_partial_that_is_complete_already_only_needs_its_name() {
    let test = with_partial(BYTES);
    let blob = test.writer().partial(digest(), SIZE).unwrap();
    assert_eq!(blob.written(), SIZE);
    blob.finish().unwrap();
    assert_held(&test);
}

#[test]
fn a_partial_longer_than_the_blob_starts_over() {
    let test = with_partial(b"boot-kernel and more");
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    assert_eq!((blob.written(), blob.resumed()), (0, false));
    blob.write(BYTES).unwrap();
    blob.finish().unwrap();
    assert_held(&test);
}

#[test]
fn a_partial_of_other_bytes_fails_as_resumed_and_goes() {
    let test = with_partial(b"wrong");
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    assert!(blob.resumed());
    blob.write(&BYTES[5..]).unwrap();
    let error = blob.finish().unwrap_err();
    assert!(matches!(error, BlobError::Mismatch { expected, .. } if expected == digest()));
    assert_nothing_left(&test);
}

#[test]
fn restarting_forgets_what_was_there() {
    let test = with_partial(b"wrong");
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    blob.restart().unwrap();
    assert_eq!((blob.written(), blob.resumed()), (0, false));
    blob.write(BYTES).unwrap();
    blob.finish().unwrap();
    assert_held(&test);
}

#[test]
fn other_content_of_the_right_length_is_removed_and_both_digests_named() {
    let test = TestStore::new();
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    blob.write(b"boot-kernel".to_ascii_uppercase().as_slice()).unwrap();
    let error = blob.finish().unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&digest().to_string()), "{text}");
    assert!(text.contains(&Digest::of(b"BOOT-KERNEL").to_string()), "{text}");
    assert_nothing_left(&test);
}

#[test]
fn a_byte_too_many_is_refused_before_it_is_written() {
    let test = TestStore::new();
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    blob.write(BYTES).unwrap();
    let error = blob.write(b"!").unwrap_err();
    assert!(matches!(error, BlobError::TooLong { size: SIZE }), "{error:?}");
    assert_eq!(test.store.partials().unwrap(), [(digest(), SIZE)].into());
    // The excess was not taken, so what is there still holds.
    blob.finish().unwrap();
    assert_held(&test);
}

#[test]
fn a_byte_too_few_is_refused_and_nothing_stays() {
    let test = TestStore::new();
    let writer = test.writer();
    let mut blob = writer.partial(digest(), SIZE).unwrap();
    blob.write(&BYTES[1..]).unwrap();
    let error = blob.finish().unwrap_err();
    assert!(matches!(error, BlobError::TooShort { got: 10, size: 11 }), "{error:?}");
    assert_nothing_left(&test);
}

#[test]
fn discarding_removes_the_partial() {
    let test = with_partial(b"boot");
    test.writer().partial(digest(), SIZE).unwrap().discard().unwrap();
    assert_nothing_left(&test);
}

#[test]
fn an_empty_blob_is_a_blob() {
    let test = TestStore::new();
    let empty = Digest::of(b"");
    test.writer().partial(empty, 0).unwrap().finish().unwrap();
    assert!(test.store.has_blob(&empty, 0));
}

#[test]
fn the_same_content_twice_in_one_call_is_stored_once() {
    let test = TestStore::new();
    test.writer().put_all([BYTES, b"other", BYTES]).unwrap();
    assert_held(&test);
    assert_eq!(test.store.blobs().unwrap().0.len(), 2);
}

#[test]
fn putting_again_writes_nothing() {
    let test = TestStore::new();
    let writer = test.writer();
    let inode = || fs::metadata(test.store.blob_path(&digest())).unwrap().ino();
    writer.put_all([BYTES, b"other"]).unwrap();
    let first = inode();
    writer.put_all([BYTES, b"other"]).unwrap();
    assert_eq!(inode(), first);
    assert_eq!(test.store.blobs().unwrap().0.len(), 2);
    assert!(test.store.partials().unwrap().is_empty());
}

/// Past some dozens the file system is synced as a whole.
#[test]
fn putting_hundreds_at_once_holds_them_all() {
    let test = TestStore::new();
    let contents: Vec<_> = (0..300).map(|n| format!("content {n}")).collect();
    test.writer().put_all(contents.iter().map(String::as_bytes)).unwrap();
    for content in &contents {
        let digest = Digest::of(content.as_bytes());
        assert_eq!(test.store.read_blob(&digest).unwrap(), content.as_bytes());
    }
}

#[test]
fn putting_mends_a_damaged_blob() {
    for damaged in [b"boot".as_slice(), b"BOOT-KERNEL", b"boot-kernel and more"] {
        let test = TestStore::new();
        fs::write(test.store.blob_path(&digest()), damaged).unwrap();
        test.writer().put_all([BYTES]).unwrap();
        assert_held(&test);
    }
}

#[test]
fn reading_a_damaged_blob_is_an_error_that_names_it() {
    let test = TestStore::new();
    let path = test.store.blob_path(&digest());
    fs::write(&path, b"BOOT-KERNEL").unwrap();
    let error = test.store.read_blob(&digest()).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path: named, .. } if *named == path));
    assert!(test.store.open_blob(&Digest::of(b"absent")).is_err());
}

#[test]
fn files_that_are_no_blobs_are_listed_apart() {
    let test = TestStore::new();
    test.writer().put_all([BYTES]).unwrap();
    let upper = test.path("blobs/sha256").join(digest().to_string().to_uppercase());
    let note = test.path("blobs/sha256/note.txt");
    for path in [&upper, &note] {
        fs::write(path, "x").unwrap();
    }
    let (blobs, mut strangers) = test.store.blobs().unwrap();
    assert_eq!(blobs, [(digest(), SIZE)].into());
    strangers.sort();
    let mut expected = [upper, note];
    expected.sort();
    assert_eq!(strangers, expected);
}
