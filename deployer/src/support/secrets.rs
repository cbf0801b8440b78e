//! What is to be struck out, and whether all of it is known.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError, Place};
use crate::release::Release;
use crate::strike::Secrets;

/// The type of Secrets that hold a release's record.
const RECORD: &str = "helm.sh/release.v1";

/// The Secrets of a release.
#[derive(Default)]
pub(super) struct Found {
    /// What they hold.
    pub(super) secrets: Secrets,
    /// What they are: names, keys, sizes.
    pub(super) described: Vec<Value>,
    /// Why some are not known.
    pub(super) unknown: Vec<String>,
}

/// All Secrets in these namespaces, and those of the API key. `records` are the release's
/// revisions: their values may hold passwords too.
pub(super) async fn look(
    cluster: &Cluster,
    spaces: &BTreeSet<String>,
    keys: &[(String, String)],
    records: &[Release],
) -> Found {
    let mut found = Found::default();
    for space in spaces {
        let place = Place::list("/api/v1", Some(space), "secrets");
        let doing = format!("list the Secrets in {space}");
        // No selector: whether all are known must not hang on how a server reads one.
        let select = ("timeoutSeconds", "20");
        match cluster.list(&doing, &place, select).await {
            Ok(secrets) => secrets.iter().for_each(|secret| found.add(secret, space)),
            Err(error) => found.unknown.push(crate::chain(&error)),
        }
    }
    for (space, name) in keys.iter().filter(|(space, _)| !spaces.contains(space)) {
        let place = Place::named("/api/v1", Some(space), "secrets", "Secret", name);
        let found_there = match place {
            Ok(place) => cluster.object(&place).await,
            Err(error) => Err(error),
        };
        match found_there {
            Ok(Some(secret)) => found.add(&secret, space),
            Ok(None) => {}
            Err(error) => found.unknown.push(crate::chain(&error)),
        }
    }
    for record in records {
        found.secrets.add_values(&Value::Object(record.config.clone()));
        for document in crate::apply::documents(&record.manifest).unwrap_or_default() {
            if document.kind() == "Secret" {
                found.secrets.add_object(&document.object);
            }
        }
    }
    found
}

impl Found {
    fn add(&mut self, secret: &Value, space: &str) {
        let kind = secret.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == RECORD {
            return;
        }
        self.secrets.add_object(secret);
        let data = secret.get("data").and_then(Value::as_object);
        let sizes: serde_json::Map<String, Value> = data
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), json!(size(value))))
            .collect();
        let metadata = |name: &str| secret.pointer(&format!("/metadata/{name}")).cloned();
        self.described.push(json!({
            "namespace": space,
            "name": metadata("name"),
            "type": kind,
            "created": metadata("creationTimestamp"),
            "labels": metadata("labels"),
            "bytes_of_keys": sizes,
        }));
    }

    /// What is left out for it, and what that means; none where all is known.
    pub(super) fn warning(&self) -> Option<String> {
        (!self.unknown.is_empty()).then(|| {
            let why = self.unknown.join("; ");
            format!(
                "the Secrets cannot all be read, so that what they hold cannot be struck out: {why}"
            )
        })
    }
}

/// How many bytes a value has that is in base64.
fn size(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()
}

/// Whether an account has no right to something.
pub(super) fn is_forbidden(error: &ClusterError) -> bool {
    matches!(error.code(), Some(401 | 403))
}
