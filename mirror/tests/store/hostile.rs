//! A store that somebody else wrote: errors, never a panic, never a path that
//! leads outside.

use std::fs;

use maas_mirror::simplestreams::Digest;
use maas_mirror::store::{PruneOptions, StoreError};
use serde_json::{Value, json};

use super::support::{DAY, Made, TestStore, hour};

/// What `index.json` is replaced by, and each is damage.
fn bad_indexes() -> Vec<String> {
    let entry = |digest: &str| {
        let annotations = json!({"org.opencontainers.image.ref.name": "current"});
        let entry =
            json!({"mediaType": "x", "digest": digest, "size": 1, "annotations": annotations});
        json!({"schemaVersion": 2, "mediaType": "x", "manifests": [entry]}).to_string()
    };
    let deep = |open: &str, close: &str| {
        let nested = open.repeat(10_000) + &close.repeat(10_000);
        format!(r#"{{"schemaVersion":2,"mediaType":"x","manifests":{nested}}}"#)
    };
    vec![
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"schemaVersion":2,"mediaType":"x","manifests":{}}"#.to_owned(),
        r#"{"schemaVersion":-1,"mediaType":"x","manifests":[]}"#.to_owned(),
        deep("[", "]"),
        deep(r#"{"a":"#, "}"),
        entry("sha256:../../../../etc/passwd"),
        entry("sha512:00"),
        entry(""),
        entry(&Digest::of(b"absent").to_oci()),
    ]
}

#[test]
fn an_index_json_that_is_not_one_is_an_error() {
    for text in bad_indexes() {
        let test = TestStore::new();
        test.publish(&Made::stream("one"), 0);
        fs::write(test.path("index.json"), &text).unwrap();
        let head: String = text.chars().take(90).collect();
        assert!(test.store.current().is_err(), "{head}");
        fs::remove_file(test.path(".maas-mirror/newest.json")).unwrap();
        assert!(test.store.newest_updated().is_err(), "{head}");
    }
}

#[test]
fn nothing_is_removed_where_index_json_cannot_be_read() {
    let options = PruneOptions { grace: DAY, dry_run: false };
    for text in bad_indexes() {
        let test = TestStore::new();
        test.publish(&Made::stream("one"), 0);
        let blobs = test.store.blobs().unwrap();
        fs::write(test.path("index.json"), &text).unwrap();
        // Where nothing has expired there is no need to read on.
        let _ = test.writer().collect(DAY, hour(1000));
        assert!(test.writer().prune(options, hour(1000)).is_err());
        assert_eq!(test.store.blobs().unwrap(), blobs);
    }
}

/// A store whose current snapshot is whatever `index` and `manifest` make of
/// the good ones, with digests that hold.
fn forged(manifest: impl Fn(&mut Value), index: impl Fn(&mut Value)) -> TestStore {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let read = |digest: &Value| -> Value {
        let digest = digest.as_str().unwrap().parse().unwrap();
        serde_json::from_slice(&test.store.read_blob(&digest).unwrap()).unwrap()
    };
    let put = |value: &Value| {
        let bytes = serde_json::to_vec(value).unwrap();
        test.writer().put_all([bytes.as_slice()]).unwrap();
        json!(Digest::of(&bytes))
    };
    let mut list: Value =
        serde_json::from_slice(&fs::read(test.path("index.json")).unwrap()).unwrap();
    let mut snapshot = read(&list["manifests"][0]["digest"]);
    let mut version = read(&snapshot["manifests"][1]["digest"]);
    manifest(&mut version);
    snapshot["manifests"][1]["digest"] = put(&version);
    index(&mut snapshot);
    list["manifests"][0]["digest"] = put(&snapshot);
    fs::write(test.path("index.json"), list.to_string()).unwrap();
    test
}

#[track_caller]
fn assert_damaged(test: &TestStore) {
    let error = test.store.current().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_forgery_that_changes_nothing_is_read() {
    let test = forged(|_| {}, |_| {});
    assert_eq!(test.current().content, Made::stream("one").content);
}

#[test]
fn a_title_that_leads_outside_is_damage() {
    let titles = ["../x", "a/../../x", "/etc/passwd", "a//b", "", "a\0b", "a%2e%2e/b", "a\\b"];
    for title in titles {
        let test = forged(
            |manifest| {
                manifest["layers"][0]["annotations"]["org.opencontainers.image.title"] =
                    json!(title);
            },
            |_| {},
        );
        assert_damaged(&test);
    }
}

#[test]
fn a_layer_without_a_title_is_damage() {
    let test = forged(
        |manifest| {
            manifest["layers"][0].as_object_mut().unwrap().remove("annotations");
        },
        |_| {},
    );
    assert_damaged(&test);
}

#[test]
fn fields_of_the_wrong_type_are_damage() {
    let forgeries: [fn(&mut Value); 6] = [
        |manifest| manifest["layers"] = json!({}),
        |manifest| manifest["layers"][0]["size"] = json!(-1),
        |manifest| manifest["layers"][0]["size"] = json!(1e300),
        |manifest| manifest["layers"][0]["digest"] = json!("sha256:zz"),
        |manifest| manifest["config"] = Value::Null,
        |manifest| manifest["annotations"] = json!({"dev.maas-mirror.version": 1}),
    ];
    for forge in forgeries {
        assert_damaged(&forged(forge, |_| {}));
    }
}

#[test]
fn an_updated_annotation_that_is_no_table_of_times_is_damage() {
    for text in ["", "[]", "{", r#"{"stream":"soon"}"#, r#"{"stream":null}"#] {
        let test =
            forged(|_| {}, |index| index["annotations"]["dev.maas-mirror.updated"] = json!(text));
        assert_damaged(&test);
    }
}

#[test]
fn a_manifest_whose_content_is_not_its_digest_is_damage_and_named() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let description = test.store.description(&test.current().digest).unwrap();
    for (digest, _) in &description[..3] {
        let path = test.store.blob_path(digest);
        let good = fs::read(&path).unwrap();
        let mut other = good.clone();
        *other.last_mut().unwrap() = b' ';
        fs::write(&path, other).unwrap();
        let error = test.store.current().unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { path: named, .. } if *named == path));
        fs::write(&path, good).unwrap();
    }
    test.store.current().unwrap();
}

/// A snapshot that names itself, or another index where a manifest belongs.
#[test]
fn an_index_in_the_place_of_a_manifest_is_damage() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let first = test.current().digest;
    let test = forged(
        |manifest| *manifest = json!({"schemaVersion": 2, "mediaType": "x", "manifests": []}),
        |_| {},
    );
    assert_damaged(&test);
    assert!(test.store.load(&first).is_ok(), "the good one is still there");
}

#[test]
fn sizes_near_the_largest_number_do_not_overflow() {
    let test = forged(
        |manifest| {
            for layer in manifest["layers"].as_array_mut().unwrap() {
                layer["size"] = json!(u64::MAX);
            }
        },
        |_| {},
    );
    let forged = test.current();
    let total = forged.content.files().filter(|file| file.size == u64::MAX).count();
    assert_eq!(total, 2);
    test.publish(&Made::stream("two"), 1);
    test.writer().collect(DAY, hour(1000)).unwrap();
    assert_eq!(test.current().content, Made::stream("two").content);
}

#[test]
fn two_entries_tagged_current_do_not_confuse_a_publish() {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    test.publish(&Made::stream("two"), 1);
    let mut list: Value =
        serde_json::from_slice(&fs::read(test.path("index.json")).unwrap()).unwrap();
    for entry in list["manifests"].as_array_mut().unwrap() {
        entry["annotations"]["org.opencontainers.image.ref.name"] = json!("current");
    }
    fs::write(test.path("index.json"), list.to_string()).unwrap();
    test.store.current().unwrap();
    let three = test.publish(&Made::stream("three"), 2);
    let current = test.store.snapshots().unwrap().into_iter().filter(|s| s.current);
    assert_eq!(current.map(|s| s.digest).collect::<Vec<_>>(), [three.digest]);
}
