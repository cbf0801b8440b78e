//! What a selection and its filters take from streams of maas.io's shape.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test says where it failed by panicking"
)]

mod errors;
mod filters;
mod releases;
mod versions;

use std::collections::BTreeSet;

use fixtures::Stream;
use maas_mirror::simplestreams::{Document, Products, Selection, select};
use serde_json::Value;

/// The products files of a stream.
fn documents(stream: &Stream) -> Vec<Products> {
    stream.products.values().map(products).collect()
}

fn products(value: &Value) -> Products {
    match Document::parse(value.to_string().as_bytes()).unwrap() {
        Document::Products(products) => products,
        Document::Index(_) => panic!("an index"),
    }
}

/// The paths that `selection` takes from a stream.
fn paths(stream: &Stream, selection: &Selection) -> BTreeSet<String> {
    let selected = select(&documents(stream), selection).unwrap();
    selected.iter().map(|item| item.path.to_string()).collect()
}

/// The product ids, cut to what stands behind the stream's name.
fn product_names(stream: &Stream, selection: &Selection) -> BTreeSet<String> {
    let selected = select(&documents(stream), selection).unwrap();
    let name = |id: &str| id.splitn(3, ':').nth(2).unwrap().to_owned();
    selected.iter().map(|item| name(&item.product)).collect()
}

/// A selection by the friendly spellings.
fn of(releases: &[&str], arches: &[&str], kernels: &[&str]) -> Selection {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Selection {
        releases: owned(releases),
        arches: owned(arches),
        kernels: owned(kernels),
        ..Selection::default()
    }
}

/// A selection by filters alone.
fn filtered(filters: &[&str]) -> Selection {
    Selection {
        filters: filters.iter().map(|text| text.parse().unwrap()).collect(),
        ..of(&[], &[], &[])
    }
}

#[track_caller]
fn assert_names(found: &BTreeSet<String>, expected: &[&str]) {
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, expected);
}
