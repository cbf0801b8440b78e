//! Values: their leaves, and values without one.

use serde_json::{Map, Value};

/// Every leaf that is not a map, or is an empty one, by its path.
#[must_use]
pub fn leaves(value: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    collect(value, &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(key.clone());
                collect(value, path, found);
                path.pop();
            }
        }
        _ => found.push(path.clone()),
    }
}

/// What stands at a path.
#[must_use]
pub fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The same without what stands at a path, nor maps that this empties.
#[must_use]
pub fn without(value: &Value, path: &[String]) -> Value {
    let Some((key, rest)) = path.split_first() else { return Value::Object(Map::new()) };
    let mut map = value.as_object().cloned().unwrap_or_default();
    if rest.is_empty() {
        map.remove(key);
    } else if let Some(inner) = map.get(key) {
        let smaller = without(inner, rest);
        if smaller.as_object().is_some_and(Map::is_empty) {
            map.remove(key);
        } else {
            map.insert(key.clone(), smaller);
        }
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leaf_goes_and_takes_empty_maps_with_it() {
        let values = json!({"a": {"b": {"c": 1}}, "d": [1], "e": {}});
        let paths: Vec<_> = leaves(&values).iter().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["a.b.c", "d", "e"]);
        let path: Vec<_> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(at(&values, &path), Some(&json!(1)));
        assert_eq!(without(&values, &path), json!({"d": [1], "e": {}}));
    }
}
