//! Whether each object says what it is and how it is called.
//!
//! An object without a name is the whole collection of its kind to whoever builds its
//! path; and one whose name the server makes up is another at each run, which no
//! revision could find again. So nothing is begun with them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::documents::documents;
use super::error::ApplyError;
use crate::cluster::Place;
use crate::manifest::Document;
use crate::release::Candidate;

/// Checks all objects of a candidate, hooks too.
pub(super) fn check(candidate: &Candidate) -> Result<(), ApplyError> {
    let mut counted = BTreeMap::new();
    for document in documents(&candidate.manifest)? {
        one(&document, &document.source, "", &mut counted)?;
    }
    for hook in &candidate.hooks {
        for document in documents(&hook.manifest)? {
            one(&document, &hook.path, "hook ", &mut counted)?;
        }
    }
    Ok(())
}

/// Those of `documents` that can be found on a cluster; Helm records others too.
pub(super) fn named(documents: Vec<Document>) -> impl Iterator<Item = Document> {
    documents.into_iter().filter(|document| lack(document).is_none())
}

type Counted<'a> = BTreeMap<(String, &'a str, String), usize>;

fn one<'a>(
    document: &Document,
    template: &str,
    part: &'a str,
    counted: &mut Counted<'a>,
) -> Result<(), ApplyError> {
    let kind = match document.kind() {
        "" => "object",
        kind => kind,
    };
    // Of one kind, objects stand in the order of the template and of the values.
    let number = counted.entry((template.to_owned(), part, kind.to_owned())).or_default();
    *number += 1;
    match lack(document) {
        None => Ok(()),
        Some(lack) => Err(ApplyError::Incomplete {
            what: format!("{part}{kind} number {number}"),
            template: template.to_owned(),
            lack,
        }),
    }
}

fn lack(document: &Document) -> Option<String> {
    let said = |pointer: &str| document.object.pointer(pointer).and_then(Value::as_str);
    if document.kind().is_empty() || document.api_version().is_empty() {
        return Some("has no kind or no apiVersion".to_owned());
    }
    if document.name().is_empty() {
        return Some(match said("/metadata/generateName") {
            Some(prefix) => format!("has no metadata.name, but generateName '{prefix}'"),
            None => "has no metadata.name".to_owned(),
        });
    }
    let place = Place::named("", document.namespace(), "", document.kind(), document.name());
    place.err().map(|error| format!("cannot be found: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Hook;

    fn checked(manifest: &str, hook: &str) -> Option<String> {
        let hook = Hook {
            manifest: hook.to_owned(),
            path: "maas/templates/extra-objects.yaml".to_owned(),
            ..serde_json::from_str("{}").unwrap()
        };
        let candidate =
            Candidate { manifest: manifest.to_owned(), hooks: vec![hook], ..Candidate::default() };
        check(&candidate).err().map(|error| error.to_string())
    }

    const GOOD: &str = "---\n# Source: a.yaml\napiVersion: v1\nkind: Secret\nmetadata: {name: a}\n";

    #[test]
    fn what_cannot_be_found_again_is_named() {
        assert_eq!(checked(GOOD, GOOD), None);
        let none = format!("{GOOD}---\n# Source: a.yaml\napiVersion: v1\nkind: Secret\n");
        assert_eq!(checked(&none, "").unwrap(), "Secret number 2 of a.yaml has no metadata.name");
        let made_up = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: x-}\n";
        assert_eq!(
            checked(GOOD, made_up).unwrap(),
            "hook Pod number 1 of maas/templates/extra-objects.yaml has no metadata.name, but generateName 'x-'"
        );
        for metadata in ["{name: ..}", "{name: a/b}", "{name: a, namespace: ../kube-system}"] {
            let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\n");
            assert!(checked(GOOD, &text).unwrap().contains("cannot be called"), "{metadata}");
        }
        assert!(checked("a: 1\n", "").unwrap().contains("object number 1 of  has no kind"));
    }
}
