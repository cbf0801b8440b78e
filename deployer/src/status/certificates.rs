//! When certificates expire.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::basis::Basis;
use super::{Known, why};
use crate::certificate::expiry;
use crate::cluster::Cluster;

/// A certificate in a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateState {
    /// The Secret.
    pub secret: String,
    /// Its key there: `tls.crt`, `ca.crt`.
    pub key: String,
    /// When it expires, or why that is not known.
    pub expires: Known<Timestamp>,
}

impl CertificateState {
    /// How many days it holds still; none or less where it has expired.
    #[must_use]
    pub fn days_left(&self) -> Option<i64> {
        self.expires.as_ref().ok().map(|when| days_until(*when))
    }
}

/// How many days are left; less than none where it is over.
#[must_use]
pub fn days_until(when: Timestamp) -> i64 {
    (when.as_second() - Timestamp::now().as_second()).div_euclid(86_400)
}

/// The certificates in Secrets that the release's objects name.
pub(super) async fn look(
    cluster: &Cluster,
    namespace: &str,
    basis: &Basis,
) -> Known<Vec<CertificateState>> {
    let mut names = BTreeSet::new();
    for document in &basis.documents {
        named(&document.object, &mut names);
    }
    let mut found = Vec::new();
    for name in names {
        let data = cluster.secret(namespace, &name).await.map_err(|error| why(&error))?;
        let data = data.unwrap_or_default();
        for key in ["tls.crt", "ca.crt"] {
            if let Some(text) = data.get(key).filter(|text| !text.expose().trim().is_empty()) {
                let expires = expiry(text.expose().as_bytes());
                found.push(CertificateState { secret: name.clone(), key: key.to_owned(), expires });
            }
        }
    }
    Ok(found)
}

/// Secrets that are mounted whole, or that an Ingress serves with.
fn named(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map.get("secretName").and_then(Value::as_str) {
                names.insert(name.to_owned());
            }
            map.values().for_each(|one| named(one, names));
        }
        Value::Array(list) => list.iter().for_each(|one| named(one, names)),
        _ => {}
    }
}

impl Basis {
    /// The Secret with MAAS's certificate.
    pub(super) fn tls_secret(&self) -> Option<String> {
        let volumes = self.documents.iter().filter_map(|document| {
            document.object.pointer("/spec/template/spec/volumes")?.as_array()
        });
        volumes.flatten().find_map(|volume| {
            let is_it = matches!(volume.get("name")?.as_str()?, "maas-tls" | "maas-ca");
            let name = volume.pointer("/secret/secretName")?.as_str()?;
            is_it.then(|| name.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_that_are_mounted_or_served_with_are_found() {
        let mut names = BTreeSet::new();
        named(
            &json!({"spec": {"tls": [{"secretName": "a"}], "volumes": [{"secret": {"secretName": "b"}}]}}),
            &mut names,
        );
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
