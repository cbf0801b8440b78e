use serde_json::{Value, json};

use super::*;

fn source() -> Arc<Source> {
    Arc::new(Source::File("values.yaml".to_owned()))
}

fn json(text: &str) -> Value {
    read(text, &source()).unwrap().to_json()
}

#[track_caller]
fn error(text: &str, expected: &str) {
    assert_eq!(read(text, &source()).unwrap_err().to_string(), expected);
}

#[test]
fn words_are_those_of_version_1_1() {
    let text = "[yes, no, on, Off, y, N, ~, null, True, 012, 0x1F, 0b11, 0o17, 08, 1_000, +3, -4, \
                .5, 1e3, 1., 1.5e-3, '012', \"yes\", 1:20, 2024-01-01, 0x, ., -x, 1.2.3, e3]";
    assert_eq!(
        json(text),
        json!([
            true,
            false,
            true,
            false,
            true,
            false,
            null,
            null,
            true,
            10,
            31,
            3,
            15,
            8,
            1000,
            3,
            -4,
            0.5,
            1000,
            1,
            0.0015,
            "012",
            "yes",
            "1:20",
            "2024-01-01",
            "0x",
            ".",
            "-x",
            "1.2.3",
            "e3"
        ])
    );
}

#[test]
fn keys_become_text() {
    assert_eq!(
        json("{yes: 1, 012: 2, 1.5: 3, a: 4}"),
        json!({"true": 1, "10": 2, "1.5": 3, "a": 4})
    );
    error("{~: 1}", "values.yaml:1:2: a key cannot be null");
    error("? [a]\n: 1", "values.yaml:1:3: a key cannot be a list");
}

#[test]
fn a_key_stands_once() {
    error(
        "a: 1\nb:\n  c: 1\n  c: 2\n",
        "values.yaml:4:3: the key `c` is here for the second time, after line 3",
    );
    error(
        "true: 1\nyes: 2",
        "values.yaml:2:1: the key `true` is here for the second time, after line 1",
    );
}

#[test]
fn aliases_and_merges_are_those_of_yaml() {
    let text = "base: &b {x: 1, w: 2}\nown: {<<: *b, w: 3}\ntwo: {<<: [{z: 1}, *b]}\nlist: [*b]";
    assert_eq!(
        json(text),
        json!({"base": {"x": 1, "w": 2}, "own": {"w": 3, "x": 1}, "two": {"z": 1, "x": 1, "w": 2},
            "list": [{"x": 1, "w": 2}]})
    );
    error("a: {<<: 1}", "values.yaml:1:9: `<<` takes maps");
}

#[test]
fn what_would_swell_is_refused() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("l{level}: &a{level} [{alias}]\n"));
    }
    let refused = read(&text, &source()).unwrap_err();
    assert!(refused.reason.contains("more than 100000 values"), "{refused}");
    let deep = read(&format!("{}{}", "[".repeat(200), "]".repeat(200)), &source()).unwrap_err();
    assert!(deep.reason.contains("nested deeper"), "{deep}");
}

#[test]
fn errors_say_where() {
    for text in ["a: [1, 2\nb: 3\n", "a:\n\t- b\n", "a: 'x\n", "a: b: c\n", "- a\nb: 1\n", "a: *x"]
    {
        let error = read(text, &source()).unwrap_err();
        assert!(error.line >= 1 && error.column >= 1, "{error:?}");
        assert!(!error.reason.is_empty());
    }
    error("a: 1\n---\nb: 2\n", "values.yaml:3:1: a second document begins here: there must be one");
}

#[test]
fn tags_are_followed() {
    assert_eq!(json("[!!str 12, !!int 12, ! 12]"), json!(["12", 12, 12]));
    assert!(read("!!binary aGk=", &source()).is_err());
}

#[test]
fn every_value_knows_its_line() {
    let node = read("a: 1\nb:\n  - c\n  - d: 2\n", &source()).unwrap();
    let Some(Data::List(list)) = node.map().unwrap().get("b").map(|b| &b.data) else { panic!() };
    assert_eq!(list[1].map().unwrap()["d"].origin.to_string(), "values.yaml:4");
}
