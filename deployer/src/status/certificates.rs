//! When certificates expire.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::basis::Basis;
use super::{Known, why};
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

/// When the first certificate of a chain that expires does so.
fn expiry(pem: &[u8]) -> Known<Timestamp> {
    let mut first: Option<Timestamp> = None;
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| format!("it cannot be read: {error}"))?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        let seconds = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        let expires = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
        let expires = expires.ok_or_else(|| "it never expires".to_owned())?;
        first = Some(first.map_or(expires, |first| first.min(expires)));
    }
    first.ok_or_else(|| "it holds no certificate".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Self-signed, until 2036-01-01T00:00:00Z.
    const PEM: &str = include_str!("../../tests/data/certificate.pem");

    #[test]
    fn a_certificates_end_is_read() {
        assert_eq!(expiry(PEM.as_bytes()).unwrap().to_string(), "2036-01-01T00:00:00Z");
        assert_eq!(expiry(b"nothing").unwrap_err(), "it holds no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(expiry(broken.as_bytes()).unwrap_err().starts_with("it is no certificate"));
    }

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
