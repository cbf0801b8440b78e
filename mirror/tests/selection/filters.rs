//! The filters of `sstream-mirror`.

use maas_mirror::simplestreams::{Filter, FilterError, Products, SelectionError, flatten, select};
use proptest::prelude::*;
use serde_json::json;

use super::{filtered, products};

/// One item, with a key of its own at each level and one that all set.
fn levels() -> Products {
    products(&json!({
        "format": "products:1.0", "content_id": "stream", "datatype": "image-ids",
        "tree": "t", "all": "tree", "updated": "Tue, 22 Jul 2025 11:01:49 +0000",
        "products": {"prod": {
            "product": "p", "all": "product", "arch": "amd64", "a|b": "bar", "a-b": "dash",
            "versions": {"20210928": {
                "version": "v", "all": "version",
                "items": {"squashfs": {
                    "item": "i", "all": "item", "ftype": "squashfs", "size": 1234, "float": 1.5,
                    "yes": true, "no": false, "none": null, "empty": "", "list": ["a"],
                    "map": {"a": "b"}, "arch": ["hidden"], "space": "x ", "path": "p/q",
                }},
            }},
        }},
    }))
}

fn try_matches(products: &Products, filter: &str) -> Result<bool, FilterError> {
    let item = flatten(products).next().unwrap();
    filter.parse::<Filter>().unwrap().matches(&item)
}

#[track_caller]
fn assert_matches(products: &Products, cases: &[(&str, bool)]) {
    for (filter, expected) in cases {
        assert_eq!(try_matches(products, filter).unwrap(), *expected, "{filter}");
    }
}

#[test]
fn the_four_operators() {
    let cases = [
        ("ftype=squashfs", true),
        ("ftype=squash", false),
        ("ftype=", false),
        ("ftype!=squashfs", false),
        ("ftype!=squash", true),
        ("ftype~squash", true),
        ("ftype~uash", true),
        ("ftype~^uash", false),
        ("ftype~SQUASH", false),
        ("ftype~(?i)SQUASH", true),
        ("ftype~", true),
        ("ftype!~uash", false),
        ("ftype!~^uash", true),
    ];
    assert_matches(&levels(), &cases);
}

#[test]
fn a_missing_key_is_the_empty_string() {
    let cases = [
        ("missing=", true),
        ("missing=x", false),
        ("missing!=", false),
        ("missing!=x", true),
        ("missing~^$", true),
        ("missing~.", false),
        ("missing!~.", true),
        ("empty=", true),
    ];
    assert_matches(&levels(), &cases);
}

#[test]
fn keys_are_inherited_and_the_nearest_wins() {
    let cases = [
        ("tree=t", true),
        ("product=p", true),
        ("version=v", true),
        ("item=i", true),
        ("all=item", true),
        ("datatype=image-ids", true),
        ("format=products:1.0", true),
        ("updated~^Tue, 22 Jul", true),
    ];
    assert_matches(&levels(), &cases);
    for (below, expected) in [("version", "version"), ("product", "product"), ("tree", "tree")] {
        let mut products = levels();
        let product = products.products.get_mut("prod").unwrap();
        let version = product.versions.get_mut("20210928").unwrap();
        version.items.get_mut("squashfs").unwrap().0.remove("all");
        if below != "version" {
            version.other.remove("all");
        }
        if below == "tree" {
            product.other.remove("all");
        }
        assert_matches(&products, &[(&format!("all={expected}"), true)]);
    }
}

#[test]
fn computed_keys_are_there_and_win_at_their_level_and_above() {
    let cases = [
        ("content_id=stream", true),
        ("product_name=prod", true),
        ("version_name=20210928", true),
        ("item_name=squashfs", true),
    ];
    assert_matches(&levels(), &cases);

    let mut products = levels();
    let forged = |map: &mut serde_json::Map<String, serde_json::Value>, keys: &[&str]| {
        map.extend(keys.iter().map(|key| ((*key).to_owned(), json!("forged"))));
    };
    let names = ["product_name", "version_name", "item_name"];
    forged(&mut products.other, &names);
    let product = products.products.get_mut("prod").unwrap();
    forged(&mut product.other, &names);
    let version = product.versions.get_mut("20210928").unwrap();
    forged(&mut version.other, &names[1..]);
    forged(&mut version.items.get_mut("squashfs").unwrap().0, &names[2..]);
    assert_matches(&products, &cases);
}

/// `sstream-mirror` lets a key below a computed one replace it.
#[test]
fn a_key_below_a_computed_one_replaces_it() {
    let mut products = levels();
    let product = products.products.get_mut("prod").unwrap();
    let item = product.versions.get_mut("20210928").unwrap().items.get_mut("squashfs").unwrap();
    item.0.insert("product_name".into(), json!("other"));
    item.0.insert("content_id".into(), json!("other"));
    assert_matches(&products, &[("product_name=other", true), ("content_id=other", true)]);
}

#[test]
fn numbers_and_truth_values_are_seen_as_python_writes_them() {
    let cases = [
        ("size=1234", true),
        ("size~^12", true),
        ("float=1.5", true),
        ("yes=True", true),
        ("no=False", true),
        ("yes=true", false),
    ];
    assert_matches(&levels(), &cases);
}

/// They neither match nor hide a value above them.
#[test]
fn lists_maps_and_null_are_not_seen() {
    let cases = [("list=", true), ("map=", true), ("none=", true), ("arch=amd64", true)];
    assert_matches(&levels(), &cases);
}

#[test]
fn spaces_around_the_operator_go_and_at_the_end_belong_to_the_value() {
    let cases = [
        ("ftype = squashfs", true),
        ("ftype   !=   squashfs", false),
        ("ftype ~ ^squashfs$", true),
        ("ftype !~ squashfs", false),
        ("ftype=squashfs ", false),
        ("space=x ", true),
        ("space=x", false),
        ("space~x $", true),
    ];
    assert_matches(&levels(), &cases);
}

#[test]
fn a_key_may_hold_bars_and_dashes() {
    assert_matches(&levels(), &[("a|b=bar", true), ("a-b=dash", true), ("a|c=", true)]);
}

#[test]
fn a_value_may_hold_operators() {
    let filters = ["path==p", "path=!p", "path=~p", "path~=", "ftype!=a=b", "ftype!~a~b"];
    let expected = [false, false, false, false, true, true];
    for (filter, expected) in filters.into_iter().zip(expected) {
        assert_matches(&levels(), &[(filter, expected)]);
    }
}

#[test]
fn python_only_regular_expressions_work() {
    let cases = [
        ("ftype~^(?!root).*fs$", true),
        ("ftype~squash(?=fs)", true),
        ("ftype~(?<=squash)fs", true),
        ("ftype~^(s).*\\1$", true),
        ("ftype!~^(?!squash)", true),
    ];
    assert_matches(&levels(), &cases);
}

#[test]
fn what_is_no_filter_is_refused_and_shown() {
    for text in
        ["", "ftype", "=x", "~x", " ftype=x", "ftype!x", "ftype! =x", "f.t=x", "f t=x", "a=b\nc"]
    {
        let error = text.parse::<Filter>().unwrap_err();
        assert!(matches!(error, FilterError::Syntax(_)), "{text:?}: {error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
    for text in ["ftype~(", "ftype~*", "ftype!~["] {
        let error = text.parse::<Filter>().unwrap_err();
        assert!(matches!(error, FilterError::Regex { .. }), "{text:?}: {error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn an_expression_that_backtracks_without_end_is_an_error() {
    let mut products = levels();
    products.other.insert("tree".into(), json!("a".repeat(60) + "!"));
    let filter = "tree~^(a|a)+\\1$";
    let error = try_matches(&products, filter).unwrap_err();
    assert!(matches!(error, FilterError::TooSlow { .. }), "{error:?}");
    let error = select(&[products], &filtered(&[filter])).unwrap_err();
    assert!(matches!(error, SelectionError::Filter(FilterError::TooSlow { .. })), "{error:?}");
    assert!(error.to_string().contains(filter), "{error}");
}

/// Refused, too slow or not found: but answered.
#[test]
fn a_repetition_of_huge_counts_does_not_hang() {
    let mut products = levels();
    products.other.insert("tree".into(), json!("a".repeat(5000)));
    for regex in [
        "a{99999}{99999}",
        "(?:a{999}){999}",
        "(?:(?:a{99}){99}){99}",
        "((a*)*)*\\1b",
        "(?:){4294967295}x",
    ] {
        if let Ok(filter) = format!("tree~{regex}").parse::<Filter>() {
            let item = flatten(&products).next().unwrap();
            assert!(!matches!(filter.matches(&item), Ok(true)), "{regex}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_accepted_prints_as_it_was_and_parses_again(
        text in "[a-z_|é-]{0,4} {0,2}[!=~]{0,3} {0,2}\\PC{0,8}",
    ) {
        if let Ok(filter) = text.parse::<Filter>() {
            prop_assert_eq!(filter.to_string(), text.clone());
            prop_assert!(text.parse::<Filter>().is_ok());
        }
    }

    #[test]
    fn any_text_is_taken_or_refused_without_a_panic(text in any::<String>()) {
        let _ = text.parse::<Filter>();
    }

    /// An operator and its negation never agree.
    #[test]
    fn negation_is_the_opposite(value in "[a-z0-9.^$]{0,6}", op in "[=~]", key in "ftype|all|missing") {
        let products = levels();
        let plain = try_matches(&products, &format!("{key}{op}{value}")).unwrap();
        let negated = try_matches(&products, &format!("{key}!{op}{value}")).unwrap();
        prop_assert_ne!(plain, negated);
    }
}
