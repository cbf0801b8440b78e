//! Making and opening a store.

use std::fs;

use maas_mirror::store::{Store, StoreError};

use super::support::{Made, TestStore, tree};

#[test]
fn a_new_store_is_an_empty_layout_and_opens_again() {
    let test = TestStore::new();
    assert_eq!(fs::read(test.path("oci-layout")).unwrap(), br#"{"imageLayoutVersion":"1.0.0"}"#);
    let store = Store::open(test.store.root()).unwrap();
    assert_eq!(store.current().unwrap(), None);
    assert_eq!(store.snapshots().unwrap(), []);
    assert!(store.newest_updated().unwrap().is_empty());
    assert!(store.blobs().unwrap().0.is_empty());
    assert!(store.free_bytes().unwrap() > 0);
}

#[test]
fn opening_or_making_twice_changes_nothing() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let before = tree(test.store.root());
    Store::open_or_create(test.store.root()).unwrap();
    assert_eq!(tree(test.store.root()), before);
}

#[test]
fn opening_does_not_make_a_store() {
    let test = TestStore::new();
    let absent = test.beside("absent");
    assert!(matches!(Store::open(&absent), Err(StoreError::Missing(_))));
    assert!(!absent.exists());
    fs::create_dir(&absent).unwrap();
    assert!(matches!(Store::open(&absent), Err(StoreError::Missing(_))));
}

#[test]
fn a_folder_with_other_files_is_refused_and_left_alone() {
    let test = TestStore::new();
    let folder = test.beside("home");
    fs::create_dir_all(folder.join("blobs")).unwrap();
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    let before = tree(&folder);
    for result in [Store::open(&folder), Store::open_or_create(&folder)] {
        assert!(matches!(result, Err(StoreError::NotAStore(_))), "{result:?}");
    }
    assert_eq!(tree(&folder), before);
    assert!(!folder.join(".maas-mirror").exists());
}

#[test]
fn a_file_in_its_place_is_an_error() {
    let test = TestStore::new();
    let file = test.beside("file");
    fs::write(&file, "x").unwrap();
    assert!(Store::open_or_create(&file).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn a_fresh_volume_with_lost_and_found_becomes_a_store() {
    let test = TestStore::new();
    let volume = test.beside("volume");
    fs::create_dir_all(volume.join("lost+found")).unwrap();
    Store::open_or_create(&volume).unwrap();
    Store::open(&volume).unwrap();
}

#[test]
fn a_newer_format_is_refused_for_reading_and_writing() {
    let test = TestStore::new();
    fs::write(test.path(".maas-mirror/format"), "2\n").unwrap();
    let before = tree(test.store.root());
    for result in [Store::open(test.store.root()), Store::open_or_create(test.store.root())] {
        let Err(StoreError::NewerFormat { found: 2, known: 1, .. }) = result else {
            panic!("{result:?}");
        };
    }
    assert_eq!(tree(test.store.root()), before);
    // A store that was opened before the format was raised.
    let late = test.store.writer("test");
    assert!(matches!(late, Err(StoreError::NewerFormat { .. })), "{late:?}");
}

#[test]
fn a_format_or_layout_that_cannot_be_read_is_damage() {
    let cases = [
        (".maas-mirror/format", "one"),
        (".maas-mirror/format", "-1"),
        ("oci-layout", "{}"),
        ("oci-layout", "not json"),
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#),
    ];
    for (name, text) in cases {
        let test = TestStore::new();
        fs::write(test.path(name), text).unwrap();
        let result = Store::open(test.store.root());
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "{name} {text}: {result:?}");
    }
}

/// A layout that another tool copied, without our private folder.
#[test]
fn a_store_without_its_private_folder_still_reads_and_writes() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    fs::remove_dir_all(test.path(".maas-mirror")).unwrap();
    let store = Store::open_or_create(test.store.root()).unwrap();
    assert_eq!(store.current().unwrap().unwrap().content, Made::stream("one").content);
    assert!(store.newest_updated().unwrap().contains_key("stream"));
    assert!(store.partials().unwrap().is_empty());
    assert_eq!(store.lock_holder().unwrap(), None);
    test.publish(&Made::stream("two"), 1);
}

#[test]
fn a_store_that_lost_its_layout_file_keeps_its_snapshots() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    fs::remove_file(test.path("oci-layout")).unwrap();
    Store::open_or_create(test.store.root()).unwrap();
    assert_eq!(test.current().content, Made::stream("one").content);
}
