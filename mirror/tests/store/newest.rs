//! The newest `updated` that was accepted, which protects against rollback.

use std::fs;

use maas_mirror::simplestreams::Timestamp;

use super::support::{Made, TestStore};

const EMPTY_INDEX: &str = r#"{"schemaVersion":2,"mediaType":"x","manifests":[]}"#;
const JUNE: &str = "2025-06-01T00:00:00Z";
const JULY: &str = "2025-07-01T00:00:00Z";
const AUGUST: &str = "2025-08-01T00:00:00Z";

#[track_caller]
fn assert_newest(test: &TestStore, expected: &[(&str, &str)]) {
    let newest = test.store.newest_updated().unwrap();
    let expected =
        expected.iter().map(|(id, time)| (id.to_string(), Timestamp::parse(time).unwrap()));
    assert_eq!(newest, expected.collect());
}

#[test]
fn the_newest_of_each_content_id_is_kept() {
    let test = TestStore::new();
    test.publish(&Made::stream("one").updated("stream", JULY).updated("a", JUNE), 0);
    test.publish(&Made::stream("two").updated("stream", JUNE).updated("b", AUGUST), 1);
    assert_newest(&test, &[("a", JUNE), ("b", AUGUST), ("stream", JULY)]);
}

#[test]
fn the_snapshots_own_annotation_counts_where_the_state_is_lost() {
    let test = TestStore::new();
    test.publish(&Made::stream("one").updated("stream", AUGUST), 0);
    fs::remove_file(test.path(".maas-mirror/newest.json")).unwrap();
    assert_newest(&test, &[("stream", AUGUST)]);
    // A sync publishes what was known merged with what it found.
    test.publish(&Made::stream("two").updated("stream", AUGUST), 1);
    fs::write(test.path("index.json"), EMPTY_INDEX).unwrap();
    assert_newest(&test, &[("stream", AUGUST)]);
}

#[test]
fn the_state_is_enough_where_the_snapshot_cannot_be_read() {
    let test = TestStore::new();
    let published = test.publish(&Made::stream("one").updated("stream", AUGUST), 0);
    fs::remove_file(test.store.blob_path(&published.digest)).unwrap();
    assert_newest(&test, &[("stream", AUGUST)]);
    fs::remove_file(test.path(".maas-mirror/newest.json")).unwrap();
    assert!(test.store.newest_updated().is_err());
}

#[test]
fn two_spellings_of_one_instant_are_one_snapshot() {
    let test = TestStore::new();
    let iso = test.publish(&Made::stream("one").updated("stream", JULY), 0);
    let rfc = Made::stream("one").updated("stream", "Tue, 01 Jul 2025 02:00:00 +0200");
    let again = test.publish(&rfc, 1);
    assert_eq!((again.digest, again.changed), (iso.digest, false));
}

#[test]
fn a_state_file_that_cannot_be_read_is_an_error_not_a_fresh_start() {
    for text in ["", "{", "[]", r#"{"stream":"yesterday"}"#, r#"{"stream":1}"#] {
        let test = TestStore::new();
        test.publish(&Made::stream("one"), 0);
        fs::write(test.path(".maas-mirror/newest.json"), text).unwrap();
        assert!(test.store.newest_updated().is_err(), "{text}");
        let made = Made::stream("two");
        let writer = test.writer();
        made.put(&writer);
        assert!(writer.publish(&made.content, super::support::hour(1)).is_err(), "{text}");
        assert_eq!(test.current().content, Made::stream("one").content);
    }
}
