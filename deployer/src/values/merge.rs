//! Values over values, as Helm puts them.

use indexmap::IndexMap;

use crate::tree::{Data, Node};

/// A file over those before it: maps are merged, all else is replaced. A null
/// stays, to delete a default later.
pub(super) fn over(base: &mut Node, file: Node) {
    let (Data::Map(into), Data::Map(from)) = (&mut base.data, file.data) else { return };
    for (key, value) in from {
        match (into.get_mut(&key), &value.data) {
            (Some(old), Data::Map(_)) if old.map().is_some() => over(old, value),
            _ => {
                into.insert(key, value);
            }
        }
    }
}

/// What was given, over the chart's own: a null deletes the default. The order
/// is the chart's, then that of what it does not know.
pub(super) fn under(given: Node, defaults: Node) -> Node {
    let origin = given.origin;
    let (Data::Map(given), Data::Map(defaults)) = (given.data, defaults.data) else {
        return Node::empty(origin);
    };
    Node { data: Data::Map(coalesce(given, defaults, true)), origin }
}

fn coalesce(
    mut given: IndexMap<String, Node>,
    defaults: IndexMap<String, Node>,
    top: bool,
) -> IndexMap<String, Node> {
    let mut merged = IndexMap::with_capacity(defaults.len());
    for (key, default) in defaults {
        let Some(value) = given.shift_remove(&key) else {
            merged.insert(key, default);
            continue;
        };
        let value = match (value.data, default.data) {
            (Data::Null, _) => continue,
            (Data::Map(given), Data::Map(defaults)) => {
                Node { data: Data::Map(coalesce(given, defaults, false)), origin: value.origin }
            }
            (data, _) => Node { data, origin: value.origin },
        };
        merged.insert(key, value);
    }
    // Helm keeps a null that deletes nothing at the top alone.
    merged.extend(given.into_iter().filter(|(_, value)| top || value.data != Data::Null));
    merged
}
