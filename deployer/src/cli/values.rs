//! `maas-deployer values`.

use serde_json::{Map, Value, json};

use super::args::ShowValuesArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::tree::{Data, Node};
use crate::values::{HIDDEN, is_secret, path_text};
use crate::yaml::{self, Order};

pub(super) fn run(args: &ShowValuesArgs, output: &Output) -> Result<Exit, Failure> {
    let values = args.values.load()?;
    let merged = values.merged();
    if !args.origin {
        output.data(&yaml::emit(&merged.to_json(), Order::Given));
        output.json(&json!({"schema": "maas-deployer/values/1", "values": merged.to_json()}));
        return Ok(Exit::Done);
    }
    let mut leaves = Vec::new();
    collect(merged, &mut Vec::new(), &mut leaves);
    let line = |leaf: &Leaf<'_>| format!("{}: {}  # {}\n", leaf.path, leaf.value, leaf.node.origin);
    output.data(&leaves.iter().map(line).collect::<String>());
    let entry = |leaf: &Leaf<'_>| {
        let about = json!({"value": leaf.value, "origin": leaf.node.origin.to_string()});
        (leaf.path.clone(), about)
    };
    let all: Map<String, Value> = leaves.iter().map(entry).collect();
    output.json(&json!({"schema": "maas-deployer/values-origin/1", "values": all}));
    Ok(Exit::Done)
}

/// A value that is no map, or an empty one.
struct Leaf<'a> {
    path: String,
    /// What is there; what may be a secret is hidden.
    value: Value,
    node: &'a Node,
}

fn collect<'a>(node: &'a Node, path: &mut Vec<String>, leaves: &mut Vec<Leaf<'a>>) {
    match node.map() {
        Some(map) if !map.is_empty() => {
            for (key, node) in map {
                path.push(key.clone());
                collect(node, path, leaves);
                path.pop();
            }
        }
        _ => {
            let empty = matches!(&node.data, Data::Null | Data::Bool(_))
                || matches!(node.to_json(), Value::String(text) if text.is_empty());
            let hidden = is_secret(path) && !empty;
            let value = if hidden { Value::from(HIDDEN) } else { node.to_json() };
            leaves.push(Leaf { path: path_text(path), value, node });
        }
    }
}
