//! An object that is to be there.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::error::ApplyError;
use super::phase::Phase;
use crate::cluster::{Cluster, Kind, Place, prefix};
use crate::manifest::Document;

/// What marks objects as a release's; Helm looks at it before it takes one over.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "Helm");
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";
/// An object that Helm leaves where it is.
const POLICY: &str = "helm.sh/resource-policy";

/// A release's name and namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
}

/// An object of a release, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where.
    pub(crate) place: Place,
    /// What it is to say, with the marks of its release.
    pub(crate) object: Value,
    /// Its phase.
    pub(crate) phase: Phase,
    /// Its kind.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
    /// Its namespace; none where its kind has none.
    pub(crate) namespace: Option<String>,
}

/// Which kinds the cluster knows; asked once for each version.
#[derive(Debug)]
pub(crate) struct Kinds<'a> {
    cluster: &'a Cluster,
    known: HashMap<String, Vec<Kind>>,
}

impl<'a> Kinds<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, known: HashMap::new() }
    }

    /// Asks for all versions that these documents are of, at once.
    pub(crate) async fn learn(&mut self, documents: &[&Document]) -> Result<(), ApplyError> {
        let versions: BTreeSet<&str> =
            documents.iter().map(|document| document.api_version()).collect();
        let (cluster, known) = (self.cluster, &self.known);
        let new = versions.into_iter().filter(|version| !known.contains_key(*version));
        let asked = new.map(|version| async move {
            let kinds = cluster.kinds(version).await?;
            Ok::<_, ApplyError>((version.to_owned(), kinds))
        });
        let found = futures_util::future::try_join_all(asked).await?;
        self.known.extend(found);
        Ok(())
    }

    async fn kind(&mut self, api_version: &str, kind: &str) -> Result<Option<Kind>, ApplyError> {
        if !self.known.contains_key(api_version) {
            let kinds = self.cluster.kinds(api_version).await?;
            self.known.insert(api_version.to_owned(), kinds);
        }
        let kinds = self.known.get(api_version).map(Vec::as_slice).unwrap_or_default();
        Ok(kinds.iter().find(|one| one.kind == kind).cloned())
    }

    /// Where an object is; `None` where the cluster does not know its kind.
    pub(crate) async fn place(
        &mut self,
        document: &Document,
        owner: &Owner,
    ) -> Result<Option<(Place, Option<String>)>, ApplyError> {
        let (version, kind, name) = (document.api_version(), document.kind(), document.name());
        let Some(known) = self.kind(version, kind).await? else { return Ok(None) };
        let namespace = known
            .is_namespaced
            .then(|| document.namespace().unwrap_or(&owner.namespace).to_owned());
        let prefix = prefix(version);
        let place = Place::named(&prefix, namespace.as_deref(), &known.plural, kind, name)?;
        Ok(Some((place, namespace)))
    }

    /// An object of a manifest, with the marks of its release; `None` where the
    /// cluster does not know its kind.
    pub(crate) async fn target(
        &mut self,
        document: &Document,
        owner: &Owner,
    ) -> Result<Option<Target>, ApplyError> {
        let Some((place, namespace)) = self.place(document, owner).await? else { return Ok(None) };
        let mut object = document.object.clone();
        mark(&mut object, owner, namespace.as_deref());
        Ok(Some(Target {
            place,
            object,
            phase: Phase::of(document),
            kind: document.kind().to_owned(),
            name: document.name().to_owned(),
            namespace,
        }))
    }

    /// The objects of a manifest, with the marks of their release.
    pub(crate) async fn targets(
        &mut self,
        documents: &[Document],
        owner: &Owner,
    ) -> Result<Vec<Target>, ApplyError> {
        let mut targets = Vec::new();
        for document in documents {
            let Some(target) = self.target(document, owner).await? else {
                return Err(unknown(document));
            };
            targets.push(target);
        }
        Ok(targets)
    }
}

/// The error that says that the cluster does not know a kind.
pub(crate) fn unknown(document: &Document) -> ApplyError {
    ApplyError::UnknownKind {
        kind: document.kind().to_owned(),
        api_version: document.api_version().to_owned(),
        name: document.name().to_owned(),
    }
}

/// Marks an object as the release's.
fn mark(object: &mut Value, owner: &Owner, namespace: Option<&str>) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    set(metadata, "labels", &[MANAGED_BY]);
    let annotations =
        [(RELEASE_NAME, owner.name.as_str()), (RELEASE_NAMESPACE, owner.namespace.as_str())];
    set(metadata, "annotations", &annotations);
}

fn set(metadata: &mut Map<String, Value>, part: &str, pairs: &[(&str, &str)]) {
    let held = metadata.entry(part.to_owned()).or_insert_with(|| json!({}));
    if held.is_null() {
        *held = json!({});
    }
    let Some(held) = held.as_object_mut() else { return };
    for (name, value) in pairs {
        held.insert((*name).to_owned(), json!(value));
    }
}

/// Sets an annotation of an object.
pub(crate) fn annotate(object: &mut Value, name: &str, value: &str) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        set(metadata, "annotations", &[(name, value)]);
    }
}

/// An annotation of an object.
pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    text(object, "annotations", name)
}

/// A label of an object.
pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    text(object, "labels", name)
}

/// Whether an object on the cluster is the release's.
pub(crate) fn is_of(object: &Value, owner: &Owner) -> bool {
    owner_of(object).as_ref() == Some(owner)
        && text(object, "labels", MANAGED_BY.0) == Some(MANAGED_BY.1)
}

/// The release that an object on the cluster says it is of.
pub(crate) fn owner_of(object: &Value) -> Option<Owner> {
    Some(Owner {
        name: text(object, "annotations", RELEASE_NAME)?.to_owned(),
        namespace: text(object, "annotations", RELEASE_NAMESPACE)?.to_owned(),
    })
}

/// Whether an object stays when it leaves its release.
pub(crate) fn is_kept(object: &Value) -> bool {
    text(object, "annotations", POLICY)
        .is_some_and(|policy| policy.trim().eq_ignore_ascii_case("keep"))
}

fn text<'a>(object: &'a Value, part: &str, name: &str) -> Option<&'a str> {
    object.pointer("/metadata")?.get(part)?.get(name)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_helms_and_are_recognised() {
        let owner = Owner { name: "maas".into(), namespace: "ns".into() };
        let mut object = json!({"metadata": {"name": "a", "labels": {"app.kubernetes.io/managed-by": "x"},
            "annotations": null}});
        assert!(!is_of(&object, &owner));
        mark(&mut object, &owner, Some("ns"));
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
        assert_eq!(object["metadata"]["namespace"], "ns");
        assert!(is_of(&object, &owner));
        assert!(!is_of(&object, &Owner { name: "other".into(), ..owner }));
        assert!(!is_kept(&object));
        object["metadata"]["annotations"][POLICY] = json!("keep");
        assert!(is_kept(&object));
    }
}
