//! The container images of a release.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::manifest::Rendered;
use crate::tree::{Data, Node, Origin, Source};
use crate::yaml;

/// Every image that a release pulls, hooks and the test's pod counted, sorted.
#[must_use]
pub fn of(rendered: &Rendered) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for document in rendered.documents.iter().chain(&rendered.hooks) {
        collect(&document.object, &mut found);
    }
    found
}

/// Images of containers, wherever a list of them stands.
fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if matches!(key.as_str(), "containers" | "initContainers") {
                    let all = value.as_array().into_iter().flatten();
                    let images = all.filter_map(|one| one.get("image")?.as_str());
                    found.extend(images.map(str::to_owned));
                }
                collect(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| collect(one, found)),
        _ => {}
    }
}

/// The option that names a registry for all images.
const OPTION: &str = "--registry";

/// Whether a value was set by that option.
pub(crate) fn is_of_option(node: &Node) -> bool {
    matches!(&*node.origin.source, Source::Flag(option) if option == OPTION)
}

/// Sets `images.registry`, and takes other registries off the names of
/// `images.tags`.
pub(crate) fn put_registry(given: &mut Node, defaults: &Node, registry: &str) {
    let origin = Origin::whole(Source::Flag(OPTION.to_owned()));
    let tags = |node: &Node| -> Vec<(String, Node)> {
        let tags = node.map().and_then(|map| map.get("images")?.map()?.get("tags")?.map());
        tags.into_iter().flatten().map(|(key, tag)| (key.clone(), tag.clone())).collect()
    };
    let mut all: BTreeMap<String, Node> = tags(defaults).into_iter().collect();
    all.extend(tags(given));
    let Some(images) = entry(given, "images", &origin) else { return };
    let registry = Data::Text(registry.trim_end_matches('/').to_owned());
    if let Data::Map(map) = &mut images.data {
        map.insert("registry".to_owned(), Node { data: registry, origin: origin.clone() });
    }
    for (key, tag) in all {
        let Data::Text(text) = &tag.data else { continue };
        let (Some(_), rest) = split(text) else { continue };
        let data = Data::Text(rest.to_owned());
        let Some(tags) = entry(images, "tags", &origin) else { return };
        if let Data::Map(map) = &mut tags.data {
            map.insert(key, Node { data, origin: origin.clone() });
        }
    }
}

/// The map of that key, made where there is none; none where something else is
/// there, which the schema refuses.
fn entry<'a>(node: &'a mut Node, key: &str, origin: &Origin) -> Option<&'a mut Node> {
    let Data::Map(map) = &mut node.data else { return None };
    let entry = map.entry(key.to_owned()).or_insert_with(|| Node::empty(origin.clone()));
    matches!(entry.data, Data::Map(_)).then_some(entry)
}

/// An image's registry, where its name begins with one, and the rest.
pub(crate) fn split(image: &str) -> (Option<&str>, &str) {
    match image.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            (Some(host), rest)
        }
        _ => (None, image),
    }
}

/// Forms in which other tools take a list of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// One a line.
    Text,
    /// The YAML of `skopeo sync --src yaml`.
    Skopeo,
    /// A manifest of Hauler's, of kind `Images`.
    Hauler,
    /// A component of a Zarf package.
    Zarf,
}

/// A list in a tool's form, with a line break at its end.
#[must_use]
pub fn list(images: &BTreeSet<String>, format: ListFormat) -> String {
    let value = match format {
        ListFormat::Text => return images.iter().map(|image| format!("{image}\n")).collect(),
        ListFormat::Skopeo => skopeo(images),
        ListFormat::Hauler => json!({
            "apiVersion": "content.hauler.cattle.io/v1",
            "kind": "Images",
            "metadata": {"name": "maas"},
            "spec": {"images": images.iter().map(|name| json!({"name": name})).collect::<Value>()},
        }),
        ListFormat::Zarf => json!({
            "components": [{"name": "maas", "required": true, "images": images}],
        }),
    };
    yaml::emit(&value, yaml::Order::Given)
}

/// Names by registry, tags or digests by name. Names without a registry are
/// Docker Hub's.
fn skopeo(images: &BTreeSet<String>) -> Value {
    let mut registries: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for image in images {
        let (host, rest) = split(image);
        let (name, tag) = match rest.split_once('@') {
            Some((name, digest)) => (name.split(':').next().unwrap_or(name), digest),
            None => rest.rsplit_once(':').unwrap_or((rest, "latest")),
        };
        let name = match host {
            None if !name.contains('/') => format!("library/{name}"),
            _ => name.to_owned(),
        };
        let host = host.unwrap_or("docker.io").to_owned();
        registries.entry(host).or_default().entry(name).or_default().push(tag.to_owned());
    }
    let registry = |names: BTreeMap<String, Vec<String>>| json!({"images": names});
    registries.into_iter().map(|(host, names)| (host, registry(names))).collect()
}
