//! What holds of any content.

use maas_mirror::store::Content;
use proptest::prelude::*;
use proptest::sample::Index;

use super::support::{Made, TestStore};

/// One file of some content: which product, version and path, and its bytes.
#[derive(Clone, Debug)]
struct Entry {
    product: String,
    version: String,
    path: String,
}

/// Few names, so that products, versions and paths are shared often; a path's
/// content follows from the path, as in a stream without conflicts.
fn entry() -> impl Strategy<Value = Entry> {
    let path = "[a-c]{1,2}(/[a-zü:. ]{1,3}[a-z]){0,2}";
    ("[pq]|com\\.ubuntu:v3:\"\\PC{0,3}", "2021092[0-9](\\.[0-9])?", path)
        .prop_map(|(product, version, path)| Entry { product, version, path })
}

fn made(entries: &[Entry]) -> Made {
    let made = Made::default()
        .updated("stream", "2025-07-22T11:01:49Z")
        .metadata("streams/v1/index.sjson", "index")
        .metadata("streams/v1/a.sjson", "products");
    entries.iter().fold(made, |made, e| made.item(&e.product, &e.version, &e.path, &e.path))
}

/// As a snapshot gives content back: in order, each file of a version once.
fn normal(content: &Content) -> Content {
    let mut content = content.clone();
    let versions = content.versions.values_mut();
    for files in versions.chain(std::iter::once(&mut content.metadata)) {
        files.sort();
        files.dedup();
    }
    content
}

proptest! {
    // Each case writes and syncs a store.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_published_is_what_is_loaded(entries in prop::collection::vec(entry(), 0..12)) {
        let test = TestStore::new();
        let made = made(&entries);
        test.publish(&made, 0);
        prop_assert_eq!(test.current().content, normal(&made.content));
    }

    #[test]
    fn the_order_of_building_does_not_change_the_digest(
        entries in prop::collection::vec(entry(), 1..12),
        shuffled in any::<[Index; 8]>(),
    ) {
        let mut other = entries.clone();
        for index in shuffled {
            other.swap(0, index.index(entries.len()));
        }
        // And one file is listed twice.
        other.push(entries[0].clone());
        let (one, two) = (TestStore::new(), TestStore::new());
        let first = one.publish(&made(&entries), 0).digest;
        prop_assert_eq!(two.publish(&made(&other), 1).digest, first);
        let again = one.publish(&made(&other), 2);
        prop_assert_eq!((again.digest, again.changed), (first, false));
    }
}

#[test]
fn a_version_of_hundreds_of_items_is_split_and_comes_back_whole() {
    for count in [99_usize, 100, 101, 200, 250] {
        let test = TestStore::new();
        let made = (0..count).fold(Made::default(), |made, n| {
            made.item("p", "1", &format!("dir/{n}"), &format!("content {n}"))
        });
        let published = test.publish(&made, 0);
        assert_eq!(test.current().content, normal(&made.content));
        let parts = test.store.description(&published.digest).unwrap().len() - 2;
        assert_eq!(parts, count.div_ceil(100), "{count}");
    }
}

#[test]
fn a_path_shared_by_products_stands_under_each_and_counts_once() {
    let made = Made::default()
        .item("ga", "1", "squashfs", "image")
        .item("hwe", "1", "squashfs", "image")
        .item("hwe", "1", "copy-of-squashfs", "image");
    let test = TestStore::new();
    test.publish(&made, 0);
    let content = test.current().content;
    assert_eq!(content.files().count(), 3);
    assert_eq!(content.by_path().len(), 2);
    let image = maas_mirror::simplestreams::Digest::of(b"image");
    assert!(content.files().all(|file| file.digest == image));
}
