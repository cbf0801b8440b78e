//! The kinds that the cluster knows.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use crate::cluster::{Cluster, ClusterError, Kind, Place, prefix};
use crate::manifest::Document;

/// The kinds of the versions that some documents are of.
#[derive(Debug)]
pub(super) struct Known(BTreeMap<String, Vec<Kind>>);

impl Known {
    /// Asks the cluster, once for each version.
    pub(super) async fn ask(
        cluster: &Cluster,
        documents: &[&Document],
    ) -> Result<Self, ClusterError> {
        let versions: BTreeSet<&str> = documents.iter().map(|one| one.api_version()).collect();
        let asked =
            versions.into_iter().filter(|version| !version.is_empty()).map(async |version| {
                Ok::<_, ClusterError>((version.to_owned(), cluster.kinds(version).await?))
            });
        Ok(Self(try_join_all(asked).await?.into_iter().collect()))
    }

    /// A document's kind.
    pub(super) fn kind(&self, document: &Document) -> Option<&Kind> {
        let kinds = self.0.get(document.api_version())?;
        kinds.iter().find(|kind| kind.kind == document.kind())
    }

    /// Where a document's object is to be.
    pub(super) fn place(&self, document: &Document, namespace: &str) -> Option<Place> {
        let kind = self.kind(document)?;
        let space = kind.is_namespaced.then(|| document.namespace().unwrap_or(namespace));
        let prefix = prefix(document.api_version());
        Place::named(&prefix, space, &kind.plural, document.kind(), document.name()).ok()
    }

    /// All that the chart has by default.
    #[cfg(test)]
    pub(super) fn of_chart() -> Self {
        let kind = |kind: &str, plural: &str| Kind {
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            is_namespaced: true,
        };
        let core = ["Secret", "ConfigMap", "Service", "ServiceAccount", "Pod"];
        let core = core.map(|name| kind(name, &format!("{}s", name.to_lowercase())));
        let roles = vec![kind("Role", "roles"), kind("RoleBinding", "rolebindings")];
        Self(BTreeMap::from([
            ("v1".to_owned(), core.to_vec()),
            ("apps/v1".to_owned(), vec![kind("StatefulSet", "statefulsets")]),
            ("batch/v1".to_owned(), vec![kind("Job", "jobs")]),
            ("rbac.authorization.k8s.io/v1".to_owned(), roles),
        ]))
    }
}
