//! What is to be installed: the chart, rendered with the user's values.

use serde_json::{Map, Value};

use super::super::failure::Failure;
use super::args::{KeepArgs, SourceArgs};
use crate::release::{Candidate, Release};
use crate::render::{ReleaseInfo, render};
use crate::tree::Source;
use crate::values::Values;

/// The chart with the values that were given.
pub(super) fn first(args: &SourceArgs, name: &str, namespace: &str) -> Result<Candidate, Failure> {
    rendered(&args.values.load()?, &ReleaseInfo::install(name, namespace))
}

/// The chart with the values that were given, or those of the last revision, or both.
pub(super) fn after(
    last: &Release,
    args: &SourceArgs,
    keep: &KeepArgs,
    namespace: &str,
) -> Result<Candidate, Failure> {
    let mut given = args.values.load()?;
    let held = || Value::Object(last.config.clone());
    let source = || Source::File(format!("the values of revision {}", last.version));
    let new = given.given().to_json();
    let is_none = new.as_object().is_none_or(Map::is_empty);
    let reused = match (keep.reuse_values, keep.reset_values) {
        (true, _) => Some(over(held(), new)),
        (false, false) if is_none && !last.config.is_empty() => Some(held()),
        _ => None,
    };
    if let Some(reused) = reused {
        given = Values::from_json(reused, source()).map_err(|error| Failure::values(&error))?;
    }
    let info = ReleaseInfo {
        revision: u64::from(last.version) + 1,
        is_upgrade: true,
        ..ReleaseInfo::install(&last.name, namespace)
    };
    rendered(&given, &info)
}

fn rendered(values: &Values, info: &ReleaseInfo) -> Result<Candidate, Failure> {
    let rendered = render(values, info).map_err(|error| Failure::render(&error))?;
    let chart =
        crate::release::chart().map_err(|error| Failure::new("cannot read the chart", &error))?;
    let config = match values.given().to_json() {
        Value::Object(config) => config,
        _ => Map::new(),
    };
    Ok(Candidate::new(&rendered, chart, config))
}

/// `new` over `old`, map by map.
fn over(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Object(mut old), Value::Object(new)) => {
            for (key, value) in new {
                let held = old.remove(&key).unwrap_or_default();
                old.insert(key, over(held, value));
            }
            Value::Object(old)
        }
        (_, new) => new,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_values_go_over_old_ones() {
        let old = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
        let new = json!({"a": {"c": [3]}, "e": null, "d": {"f": 1}});
        let merged = json!({"a": {"b": 1, "c": [3]}, "d": {"f": 1}, "e": null});
        assert_eq!(over(old, new), merged);
    }
}
