//! Numbers. A whole number in a file of values is a fraction to Helm, and prints as `1e+06` where a
//! template does not look after it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chart_tests::{Helm, Objects, files};
use serde_json::{Map, Value, json};

/// Large enough to print otherwise.
const LARGE: u64 = 1_000_000;

/// The schema of a value, with what it refers to.
fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    reference.map_or(schema, |pointer| root.pointer(pointer).expect("a definition"))
}

fn takes(schema: &Value, kinds: &[&str]) -> bool {
    let is = |one: &Value| kinds.iter().any(|kind| one == kind);
    is(&schema["type"]) || schema["type"].as_array().is_some_and(|all| all.iter().any(is))
}

/// Values with a large number wherever the schema takes one; `None` where it takes none.
fn large(schema: &Value, root: &Value, count: &mut usize) -> Option<Value> {
    let schema = resolved(schema, root);
    if takes(schema, &["integer", "number"]) {
        let small = schema["maximum"].as_u64().is_some_and(|most| most < LARGE);
        *count += usize::from(!small);
        return (!small).then(|| json!(LARGE));
    }
    let mut map = Map::new();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        map.extend(large(property, root, count).map(|value| (key.clone(), value)));
    }
    let any = &schema["additionalProperties"];
    if any.is_object() {
        map.extend(large(any, root, count).map(|value| ("number".to_owned(), value)));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

/// Texts and numbers of objects; what Secrets hold as it is.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let plain = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            found.push(plain.unwrap_or_else(|| text.clone()));
        }
        Value::Array(all) => all.iter().for_each(|one| texts(one, found)),
        Value::Object(all) => all.values().for_each(|one| texts(one, found)),
        other => found.push(other.to_string()),
    }
}

/// No number is written as a fraction, nor as Go tells of a wrong directive.
#[track_caller]
fn whole(objects: &Objects) -> usize {
    let mut found = Vec::new();
    objects.0.iter().for_each(|object| texts(&object.json, &mut found));
    for text in &found {
        let fraction = ["1e+06", "2e+06", "000000.0"].iter().any(|one| text.contains(one));
        assert!(!fraction && !text.contains("%!"), "{text}");
    }
    found.iter().filter(|text| text.contains("1000000")).count()
}

#[test]
fn every_number_of_the_values_prints_as_one() {
    let Some(helm) = Helm::find() else { return };
    let text = std::fs::read_to_string(files::chart().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut count = 0;
    let mut values = large(&schema, &schema, &mut count).expect("numbers");
    assert!(count > 30, "{count}");
    values["conf"]["cache"]["enabled"] = json!(true);
    values["postgresql"]["enabled"] = json!(true);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.json");
    std::fs::write(&path, values.to_string()).unwrap();
    let shown = whole(&helm.objects(&[&path]));
    assert!(shown > 30, "{shown} of {count} are to be seen");
    // As YAML has them, and where values are the user's own maps.
    whole(&helm.objects(&[&files::named("numbers")]));
    let notes = helm.notes(&[&path]);
    assert!(!notes.contains("e+0"), "{notes}");
}
