//! How many versions of each product are taken, and which are the newest.

use std::collections::BTreeSet;

use fixtures::{Kernel, Stream, StreamSpec};
use maas_mirror::simplestreams::{MaxVersions, Selection, select};

use super::{documents, filtered};

const GA: &str = "com.ubuntu.maas.stable:v3:boot:16.04:amd64:ga-16.04";

fn stream(versions: &[&str]) -> Stream {
    let spec = StreamSpec::new().kernels(&[Kernel::Ga]).bootloaders(false).scale(0.0);
    spec.versions(versions).build()
}

/// The versions taken, in the order of the selection.
fn versions(stream: &Stream, selection: &Selection) -> Vec<String> {
    let selected = select(&documents(stream), selection).unwrap();
    let mut names: Vec<_> = selected.into_iter().map(|item| item.version).collect();
    names.dedup();
    names
}

fn newest(count: &str) -> Selection {
    Selection { max_versions: count.parse().unwrap(), ..Selection::default() }
}

#[test]
fn serials_count_as_numbers_whatever_their_order_in_the_file() {
    let names = ["20210928.9", "20210928", "20210901", "20210928.10", "20210928.1"];
    let stream = stream(&names);
    let sorted = ["20210928.10", "20210928.9", "20210928.1", "20210928", "20210901"];
    assert_eq!(versions(&stream, &newest("1")), &sorted[..1]);
    assert_eq!(versions(&stream, &newest("2")), &sorted[..2]);
    assert_eq!(versions(&stream, &newest("4")), &sorted[..4]);
    assert_eq!(versions(&stream, &newest("99")), sorted);
    assert_eq!(versions(&stream, &newest("all")), sorted);
}

#[test]
fn versions_are_counted_for_each_product() {
    let mut stream = StreamSpec::new().version_count(2).scale(0.0).build();
    let versions = stream.product_mut(GA).unwrap()["versions"].as_object_mut().unwrap();
    versions.remove("20210928");
    let selected = select(&documents(&stream), &newest("1")).unwrap();
    let taken: BTreeSet<_> = selected
        .iter()
        .filter(|item| item.product.contains(":boot:"))
        .map(|item| (item.product.rsplit(':').next().unwrap(), item.version.as_str()))
        .collect();
    assert_eq!(taken, [("ga-16.04", "20210914.1"), ("hwe-16.04", "20210928")].into());
}

/// As in `sstream-mirror`: filters first, counting after.
#[test]
fn the_newest_version_is_the_newest_with_an_item_left() {
    let mut stream = stream(&["20210101", "20210201"]);
    stream.item_mut(GA, "20210201", "squashfs").unwrap()["ftype"] = "other".into();
    assert_eq!(versions(&stream, &filtered(&["ftype=squashfs"])), ["20210101"]);
    assert_eq!(versions(&stream, &filtered(&["version_name~^202101"])), ["20210101"]);
    assert_eq!(versions(&stream, &filtered(&[])), ["20210201"]);
}

#[test]
fn a_count_is_a_number_from_one_or_all() {
    for text in ["0", "-1", "", "1.5", "ALL", "many", "99999999999999999999999"] {
        assert!(text.parse::<MaxVersions>().is_err(), "{text}");
    }
    for text in ["1", "2", "all"] {
        assert_eq!(text.parse::<MaxVersions>().unwrap().to_string(), text);
    }
}

#[test]
fn a_selection_is_told_in_words() {
    let mut selection = newest("2");
    assert_eq!(selection.to_string(), "release xenial, arch amd64, newest 2 versions");
    selection.bootloaders = false;
    selection.max_versions = MaxVersions::All;
    selection.filters = filtered(&["os~(a|b)"]).filters;
    let expected = "release xenial, arch amd64, 'os~(a|b)', no bootloaders, all versions";
    assert_eq!(selection.to_string(), expected);
}
