//! Secrets.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::error::ClusterError;
use super::mask::Mask;
use super::{Cluster, MANAGED_BY, Patience, patiently, persistently};
use crate::secret::Secret;

/// What a Secret holds. Values that are no text are left out.
pub type SecretData = BTreeMap<String, Secret>;

/// What became of a Secret that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    New,
    /// Somebody made it before.
    Before,
}

impl Cluster {
    /// What a Secret holds; `None` where there is none.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<SecretData>, ClusterError> {
        let api = self.secrets(namespace);
        let doing = format!("read the Secret {namespace}/{name}");
        let found = patiently(&doing, async || api.get_opt(name).await).await?;
        Ok(found.map(|secret| {
            let data = secret.data.unwrap_or_default().into_iter();
            data.filter_map(|(key, ByteString(value))| {
                Some((key, Secret::new(String::from_utf8(value).ok()?)))
            })
            .collect()
        }))
    }

    /// Makes a Secret, unless there is one.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn make_secret(
        &self,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        data: &SecretData,
    ) -> Result<Made, ClusterError> {
        let labels = labels.iter().chain([&MANAGED_BY]);
        let secret = KubeSecret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            data: Some(bytes(data)),
            ..KubeSecret::default()
        };
        let api = self.secrets(namespace);
        let doing = format!("make the Secret {namespace}/{name}");
        let parameters = PostParams::default();
        let create = async || api.create(&parameters, &secret).await;
        match persistently(&doing, Patience::default(), &Mask::of_data(data), create).await {
            Ok(_) => Ok(Made::New),
            Err(error) if error.code() == Some(409) => Ok(Made::Before),
            Err(error) => Err(error),
        }
    }

    /// Sets keys of a Secret that is there; its other keys stay.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn set_in_secret(
        &self,
        namespace: &str,
        name: &str,
        data: &SecretData,
    ) -> Result<(), ClusterError> {
        let patch = Patch::Merge(json!({ "data": bytes(data) }));
        let api = self.secrets(namespace);
        let doing = format!("change the Secret {namespace}/{name}");
        let parameters = PatchParams::default();
        let change = async || api.patch(name, &parameters, &patch).await;
        persistently(&doing, Patience::default(), &Mask::of_data(data), change).await.map(drop)
    }

    fn secrets(&self, namespace: &str) -> Api<KubeSecret> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn bytes(data: &SecretData) -> BTreeMap<String, ByteString> {
    data.iter()
        .map(|(key, value)| (key.clone(), ByteString(value.expose().as_bytes().to_vec())))
        .collect()
}
