//! Values as templates see them, and as `toJson` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use gotmpl::Value;
use serde_json::Value as Json;

use crate::chart::Metadata;
use crate::tree::{Data, Node, number};
use crate::yaml;

/// What templates see as `.`: `Values`, `Release`, `Chart`.
pub(super) fn root(release: &Json, chart: &Metadata, values: &Node) -> Value {
    let facts = chart.all.as_object().into_iter().flatten().map(|(key, value)| {
        let mut letters = key.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        (first.into_iter().chain(letters).collect::<String>(), of_json(value))
    });
    let root = [
        ("Chart".to_owned(), map(facts)),
        ("Release".to_owned(), of_json(release)),
        ("Values".to_owned(), of_node(values)),
    ];
    map(root.into_iter())
}

fn map(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Map(Arc::new(pairs.map(|(key, value)| (Arc::from(key), value)).collect()))
}

fn of_node(node: &Node) -> Value {
    match &node.data {
        Data::Null => Value::Nil,
        Data::Bool(value) => Value::Bool(*value),
        Data::Int(value) => Value::Int(*value),
        Data::Float(value) => Value::Float(*value),
        Data::Text(text) => Value::String(text.as_str().into()),
        Data::List(list) => Value::List(list.iter().map(of_node).collect()),
        Data::Map(entries) => map(entries.iter().map(|(key, value)| (key.clone(), of_node(value)))),
    }
}

fn of_json(value: &Json) -> Value {
    match value {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(list) => Value::List(list.iter().map(of_json).collect()),
        Json::Object(entries) => {
            map(entries.iter().map(|(key, value)| (key.clone(), of_json(value))))
        }
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Float(value) => number(*value),
        Value::String(text) => Json::from(&**text),
        Value::List(list) => list.iter().map(to_json).collect(),
        Value::Map(entries) => Json::Object(sorted(entries).collect()),
        Value::Nil | Value::Function(_) => Json::Null,
    }
}

fn sorted(entries: &BTreeMap<Arc<str>, Value>) -> impl Iterator<Item = (String, Json)> + '_ {
    entries.iter().map(|(key, value)| (key.to_string(), to_json(value)))
}

/// As `toYaml` writes it, without the last line break.
pub(super) fn yaml_text(value: &Value) -> String {
    let mut text = yaml::emit(&to_json(value), yaml::Order::Sorted);
    text.truncate(text.trim_end_matches('\n').len());
    text
}

/// As `toJson` writes it: Go's escapes, keys sorted.
pub(super) fn json_text(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value);
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::String(value) => string(text, value),
        Value::Float(value) => text.push_str(&float(*value)),
        Value::List(list) => {
            for (index, one) in list.iter().enumerate() {
                text.push(if index == 0 { '[' } else { ',' });
                write(text, one);
            }
            text.push_str(if list.is_empty() { "[]" } else { "]" });
        }
        Value::Map(entries) => {
            for (index, (key, one)) in entries.iter().enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                string(text, key);
                text.push(':');
                write(text, one);
            }
            text.push_str(if entries.is_empty() { "{}" } else { "}" });
        }
        Value::Nil | Value::Function(_) => text.push_str("null"),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// A float as Go's JSON has it: an exponent only where it is very large or small.
fn float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let exponent = yaml::exponent(&format!("{value:e}"));
        // Go takes a zero out of e-09, not out of e+21.
        return exponent.replacen("e-0", "e-", 1);
    }
    format!("{value}")
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
