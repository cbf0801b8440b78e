//! The objects in a manifest's text, as a release record holds it.

use std::sync::Arc;

use serde_json::Value;

use crate::manifest::Document;
use crate::tree::Source;
use crate::yaml::{self, ReadError};

/// A part of a manifest that is no object.
#[derive(Debug, thiserror::Error)]
#[error("document {number} of the manifest cannot be read")]
pub struct ManifestError {
    /// Which, from 1.
    number: usize,
    /// Why, and where: in the template that it comes from, as far as the text says.
    source: ReadError,
}

/// The objects in `text`: YAML documents, each with the comment `# Source: …`
/// that Helm puts before it. Lists are taken apart.
///
/// # Errors
/// [`ManifestError`].
pub fn documents(text: &str) -> Result<Vec<Document>, ManifestError> {
    let mut found = Vec::new();
    for (index, part) in split(text).into_iter().enumerate() {
        let (source, body) = headed(part);
        let from = Arc::new(Source::Rendered(source.to_owned()));
        let object = yaml::read(body, &from)
            .map_err(|source| ManifestError { number: index + 1, source })?
            .to_json();
        if object.is_null() {
            continue;
        }
        let document =
            |object| Document { source: source.to_owned(), text: body.to_owned(), object };
        let is_list = object.get("kind").and_then(Value::as_str) == Some("List");
        match object.get("items").and_then(Value::as_array) {
            Some(items) if is_list => found.extend(items.iter().cloned().map(document)),
            _ => found.push(document(object)),
        }
    }
    Ok(found)
}

/// The documents between separators, without empty ones.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "---" {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + line.len();
        }
        at += line.len();
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts.into_iter().filter(|part| !part.trim().is_empty()).collect()
}

/// Where a document comes from, and what it says.
fn headed(part: &str) -> (&str, &str) {
    let first = part.lines().next().unwrap_or_default();
    match first.strip_prefix("# Source: ") {
        Some(source) => (source.trim(), part.get(first.len()..).unwrap_or_default().trim()),
        None => ("", part.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_taken_apart() {
        let text = "---\n# Source: maas/templates/a.yaml\nkind: A\nmetadata: {name: \"1\"}\n\
            ---\n# Source: maas/templates/b.yaml\n# only a comment\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let found = documents(text).unwrap();
        let kinds: Vec<&str> = found.iter().map(Document::kind).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert_eq!((found[0].source.as_str(), found[0].name()), ("maas/templates/a.yaml", "1"));
        assert!(documents("").unwrap().is_empty());
    }

    #[test]
    fn a_separator_in_a_text_is_none() {
        let found = documents("kind: ConfigMap\ndata:\n  a: |\n    ---\n    b\n").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].object["data"]["a"], "---\nb\n");
    }

    #[test]
    fn what_is_no_yaml_is_named() {
        let error = documents("---\nkind: A\n---\n# Source: x.yaml\na: [\n").unwrap_err();
        let text = crate::chain(&error);
        assert!(text.starts_with("document 2 of the manifest cannot be read: x.yaml"), "{text}");
    }
}
