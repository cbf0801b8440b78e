//! Every JSON file is what the OCI image specification says, and an index has
//! only fields of version 1.0: tools that write an index anew would drop newer
//! ones and so change its digest.

use serde_json::Value;

use super::support::{Made, TestStore, read_json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A store with two snapshots, the current one of 250 items in one version.
fn filled() -> TestStore {
    let test = TestStore::new();
    test.publish(&Made::stream("one"), 0);
    let many = (0..250).fold(Made::stream("two"), |made, n| {
        made.item("many", "1", &format!("many/{n}"), &format!("content {n}"))
    });
    test.publish(&many, 1);
    test
}

/// The content of what a descriptor names, checked against it.
fn follow(test: &TestStore, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
    let bytes = test.store.read_blob(&digest).unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    serde_json::from_slice(&bytes).unwrap()
}

#[track_caller]
fn assert_index(index: &Value) {
    for key in keys(index) {
        let known = ["schemaVersion", "mediaType", "manifests", "annotations"];
        assert!(known.contains(&key), "{key}");
    }
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["mediaType"], INDEX);
    for descriptor in index["manifests"].as_array().unwrap() {
        assert_descriptor(descriptor);
    }
}

#[track_caller]
fn assert_descriptor(descriptor: &Value) {
    for key in keys(descriptor) {
        assert!(["mediaType", "digest", "size", "annotations"].contains(&key), "{key}");
    }
    assert!(descriptor["digest"].as_str().unwrap().starts_with("sha256:"));
    let annotations = descriptor["annotations"].as_object();
    assert!(annotations.is_none_or(|map| map.values().all(Value::is_string)));
}

#[test]
fn index_json_names_the_snapshots_and_tags_one_current() {
    let test = filled();
    let index = read_json(&test.path("index.json"));
    assert_index(&index);
    let tag = |n: usize| {
        index["manifests"][n]["annotations"]["org.opencontainers.image.ref.name"].clone()
    };
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(tag(0), "current");
    let short = test.store.snapshots().unwrap()[1].digest.short();
    assert_eq!(tag(1), short, "a tag of its own: two entries may not share one");
}

#[test]
fn a_snapshot_is_an_index_of_artifact_manifests() {
    let test = filled();
    for snapshot in read_json(&test.path("index.json"))["manifests"].as_array().unwrap() {
        assert_eq!(snapshot["mediaType"], INDEX);
        let index = follow(&test, snapshot);
        assert_index(&index);
        for descriptor in index["manifests"].as_array().unwrap() {
            assert_eq!(descriptor["mediaType"], MANIFEST);
            assert_manifest(&test, &follow(&test, descriptor));
        }
    }
}

#[track_caller]
fn assert_manifest(test: &TestStore, manifest: &Value) {
    for key in keys(manifest) {
        let known =
            ["schemaVersion", "mediaType", "artifactType", "config", "layers", "annotations"];
        assert!(known.contains(&key), "{key}");
    }
    let kind = manifest["artifactType"].as_str().unwrap();
    assert!(kind.starts_with("application/vnd.simplestreams."), "{kind}");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(follow(test, &manifest["config"]), serde_json::json!({}));
    let layers = manifest["layers"].as_array().unwrap();
    assert!((1..=100).contains(&layers.len()), "{}", layers.len());
    for layer in layers {
        assert_descriptor(layer);
        assert_eq!(layer["mediaType"], "application/octet-stream");
        assert!(layer["annotations"]["org.opencontainers.image.title"].is_string());
    }
    let titles = layers.iter().map(|l| l["annotations"]["org.opencontainers.image.title"].as_str());
    assert!(titles.is_sorted());
}

#[test]
fn snapshots_and_manifests_are_compact_json() {
    let test = filled();
    for (digest, _) in test.store.description(&test.current().digest).unwrap() {
        let bytes = test.store.read_blob(&digest).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_vec(&value).unwrap(), bytes);
    }
}

#[test]
fn a_snapshot_carries_the_newest_updated_as_an_annotation() {
    let test = TestStore::new();
    test.publish(&Made::stream("one").updated("other", "Tue, 01 Jul 2025 02:00:00 +0200"), 0);
    let index = read_json(&test.path("index.json"));
    let snapshot = follow(&test, &index["manifests"][0]);
    let updated = snapshot["annotations"]["dev.maas-mirror.updated"].as_str().unwrap();
    assert_eq!(updated, r#"{"other":"2025-07-01T00:00:00Z","stream":"2025-07-22T11:01:49Z"}"#);
}

#[test]
fn no_clock_time_stands_in_what_a_digest_covers() {
    let (early, late) = (TestStore::new(), TestStore::new());
    let made = Made::stream("one");
    assert_eq!(early.publish(&made, 0).digest, late.publish(&made, 999).digest);
    assert_eq!(early.store.blobs().unwrap(), late.store.blobs().unwrap());
}
