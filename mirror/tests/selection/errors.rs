//! Items that cannot be verified: errors name them, but only where they are
//! selected.

use fixtures::{Kernel, Stream, StreamSpec};
use maas_mirror::simplestreams::{Document, DocumentError, Selection, SelectionError, select};
use serde_json::{Value, json};

use super::{documents, filtered, of, paths, products};

const GA: &str = "com.ubuntu.maas.stable:v3:boot:16.04:amd64:ga-16.04";
const HWE: &str = "com.ubuntu.maas.stable:v3:boot:16.04:amd64:hwe-16.04";
const VERSION: &str = "20210928";

fn stream() -> Stream {
    StreamSpec::new().scale(0.0).build()
}

/// What the default selection says where the kernel of `ga-16.04` has `value`
/// under `key`, or nothing.
fn error_with(key: &str, value: Option<Value>) -> SelectionError {
    let mut stream = stream();
    let item = stream.item_mut(GA, VERSION, "boot-kernel").unwrap();
    match value {
        Some(value) => item.insert(key.to_owned(), value),
        None => item.remove(key),
    };
    let all = documents(&stream);
    // Not selected, it is nobody's business.
    select(&all, &filtered(&["item_name!=boot-kernel"])).unwrap();
    select(&all, &Selection::default()).unwrap_err()
}

#[track_caller]
fn assert_names_the_item(error: &SelectionError) {
    let text = error.to_string();
    assert!(text.contains(&format!("boot-kernel of {GA} {VERSION}")), "{text}");
}

#[test]
fn an_item_without_digest_or_size_cannot_be_verified() {
    for missing in ["sha256", "size"] {
        for value in [None, Some(Value::Null), Some(json!([]))] {
            let error = error_with(missing, value);
            assert!(matches!(error, SelectionError::Unverifiable { key, .. } if key == missing));
            assert_names_the_item(&error);
            let path = "xenial/amd64/20210928/ga-16.04/generic/boot-kernel";
            assert!(error.to_string().contains(path), "{error}");
        }
    }
}

#[test]
fn an_md5_does_not_stand_in_for_a_sha256() {
    let mut stream = stream();
    let item = stream.item_mut(GA, VERSION, "boot-kernel").unwrap();
    item.remove("sha256");
    item.insert("md5".into(), json!("d41d8cd98f00b204e9800998ecf8427e"));
    let error = select(&documents(&stream), &Selection::default()).unwrap_err();
    assert!(matches!(error, SelectionError::Unverifiable { key: "sha256", .. }), "{error:?}");
}

#[test]
fn a_digest_that_is_none_is_named() {
    for digest in [json!(""), json!("abc"), json!("g".repeat(64)), json!(12)] {
        let error = error_with("sha256", Some(digest));
        assert!(matches!(error, SelectionError::Digest { .. }), "{error:?}");
        assert_names_the_item(&error);
    }
}

#[test]
fn a_size_that_is_no_number_of_bytes_is_named() {
    let sizes =
        [json!(""), json!("big"), json!(-1), json!(1.5), json!(1e300), json!("0x10"), json!(true)];
    for size in sizes {
        let error = error_with("size", Some(size.clone()));
        assert!(matches!(error, SelectionError::Size { .. }), "{size}: {error:?}");
        assert_names_the_item(&error);
    }
}

#[test]
fn a_size_as_text_is_a_size() {
    let mut stream = stream();
    let item = stream.item_mut(GA, VERSION, "boot-kernel").unwrap();
    let size = item["size"].to_string();
    item.insert("size".into(), json!(format!(" {size} ")));
    assert_eq!(
        paths(&stream, &Selection::default()),
        paths(&self::stream(), &Selection::default())
    );
}

#[test]
fn one_path_with_two_contents_names_both_items() {
    let changes = [("sha256", json!("0".repeat(64))), ("size", json!(1))];
    for (key, value) in changes {
        let mut stream = stream();
        let squashfs = stream.item_mut(HWE, VERSION, "squashfs").unwrap();
        squashfs.insert(key.to_owned(), value);
        let error = select(&documents(&stream), &Selection::default()).unwrap_err();
        let SelectionError::Conflict { path, first, second } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(path.as_str(), "xenial/amd64/20210928/squashfs");
        assert_eq!(*first, format!("squashfs of {GA} {VERSION}"));
        assert_eq!(*second, format!("squashfs of {HWE} {VERSION}"));
        // Apart, each is consistent.
        select(&documents(&stream), &of(&["xenial"], &["amd64"], &["ga-16.04"])).unwrap();
        select(&documents(&stream), &of(&["xenial"], &["amd64"], &["hwe-16.04"])).unwrap();
    }
}

#[test]
fn a_conflict_between_two_files_of_the_stream_is_found() {
    let spec = StreamSpec::new().kernels(&[Kernel::Ga]).bootloaders(false).scale(0.0);
    let (one, two) = (documents(&spec.clone().seed(1).build()), documents(&spec.seed(2).build()));
    let error = select(&[one, two].concat(), &Selection::default()).unwrap_err();
    assert!(matches!(error, SelectionError::Conflict { .. }), "{error:?}");
}

#[test]
fn an_item_without_a_path_is_no_file() {
    let mut stream = stream();
    stream.item_mut(GA, VERSION, "boot-kernel").unwrap().remove("path");
    stream.item_mut(GA, VERSION, "boot-initrd").unwrap().insert("path".into(), json!(""));
    let found = paths(&stream, &Selection::default());
    assert!(!found.iter().any(|path| path.contains("ga-16.04/generic")), "{found:?}");
}

#[test]
fn a_path_is_not_inherited() {
    let mut stream = stream();
    stream.item_mut(GA, VERSION, "boot-kernel").unwrap().remove("path");
    stream.product_mut(GA).unwrap().insert("path".into(), json!("xenial/other"));
    assert!(!paths(&stream, &Selection::default()).contains("xenial/other"));
}

/// Each abbreviation stands for keys that the selection then sees.
#[test]
fn aliases_are_expanded_before_anything_is_selected() {
    let item = |path: &str| json!({"path": path, "size": 1, "sha256": "0".repeat(64)});
    let product = |alias: &str, path: &str| json!({"id": alias, "versions": {"1": {"items": {"i": item(path)}}}});
    let file = json!({
        "format": "products:1.0", "content_id": "aliased",
        "_aliases": {"id": {
            "x": {"release": "xenial", "arch": "amd64"},
            "b": {"release": "bionic", "arch": "amd64"},
        }},
        "products": {"one": product("x", "a"), "two": product("b", "b")},
    });
    let selected = select(&[products(&file)], &Selection::default()).unwrap();
    let names: Vec<_> = selected.iter().map(|item| item.path.as_str()).collect();
    assert_eq!(names, ["a"]);

    let unknown = file.to_string().replace(r#""id":"x""#, r#""id":"z""#);
    let error = Document::parse(unknown.as_bytes()).unwrap_err();
    assert!(matches!(error, DocumentError::Alias { .. }), "{error:?}");
}
