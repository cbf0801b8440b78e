//! The release record, and what it says of the rest.

use serde_json::Value;

use super::{Known, within};
use crate::apply::{ApplyError, api_key_of, documents, settings_of};
use crate::cluster::Cluster;
use crate::manifest::Document;
use crate::release::{Holder, Status, Store, StoreError, Stored};
use crate::settings::{Images, Region, Tls};

/// The newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseState {
    /// Its number.
    pub revision: u32,
    /// Its state.
    pub status: Status,
    /// When it was made, RFC 3339.
    pub updated: String,
    /// The same for people.
    pub age: String,
    /// The chart.
    pub chart: String,
    /// The version of MAAS that the chart names.
    pub app_version: String,
    /// A line about it.
    pub description: String,
}

/// What a look at a release begins with.
pub(super) struct Basis {
    pub(super) release: Known<ReleaseState>,
    pub(super) manifest: Known<String>,
    pub(super) documents: Vec<Document>,
    pub(super) region: Option<Region>,
    pub(super) tls: Tls,
    pub(super) images: Option<Images>,
    /// Namespace and name of the Secret with MAAS's API key.
    pub(super) api_key: Option<(String, String)>,
    fullname: Option<String>,
}

pub(super) async fn look(
    cluster: &Cluster,
    name: &str,
    namespace: &str,
) -> Result<Basis, ApplyError> {
    let store = Store::new(cluster.clone(), namespace, name, Holder::new("nobody"));
    let doing = "read the release record";
    let found = within(doing, async { Ok(newest(&store).await) }).await;
    match found {
        Ok(Ok(Some(stored))) => Ok(of(&stored)),
        Ok(Ok(None)) => {
            let (name, namespace) = (name.to_owned(), namespace.to_owned());
            Err(ApplyError::Absent { name, namespace })
        }
        Ok(Err(StoreError::Cluster(error))) => Ok(unknown(&super::why(&error))),
        Ok(Err(error)) => Ok(unknown(&crate::chain(&error))),
        Err(reason) => Ok(unknown(&reason)),
    }
}

async fn newest(store: &Store) -> Result<Option<Stored>, StoreError> {
    let keys = store.keys().await?;
    store.last(&keys).await
}

fn unknown(reason: &str) -> Basis {
    Basis {
        release: Err(reason.to_owned()),
        manifest: Err("the release record is not known".to_owned()),
        documents: Vec::new(),
        region: None,
        tls: Tls::default(),
        images: None,
        api_key: None,
        fullname: None,
    }
}

fn of(stored: &Stored) -> Basis {
    let release = &stored.release;
    let documents = documents(&release.manifest).unwrap_or_default();
    let settings: Vec<Value> =
        documents.iter().filter_map(|one| settings_of(&one.object)).collect();
    let section = |name: &str| settings.iter().find_map(|one| one.get(name));
    let read = |name: &str| section(name).cloned().unwrap_or_default();
    Basis {
        release: Ok(ReleaseState {
            revision: release.version,
            status: release.info.status,
            updated: release.info.last_deployed.text().to_owned(),
            age: stored.begun(),
            chart: release.chart_name(),
            app_version: release.app_version().to_owned(),
            description: release.info.description.clone(),
        }),
        manifest: Ok(release.manifest.clone()),
        region: serde_json::from_value(read("region")).ok(),
        tls: serde_json::from_value(read("tls")).unwrap_or_default(),
        images: serde_json::from_value(read("images")).ok(),
        api_key: documents.iter().find_map(|one| api_key_of(&one.object)),
        fullname: section("release")
            .and_then(|one| one.get("fullname")?.as_str())
            .map(str::to_owned),
        documents,
    }
}

impl Basis {
    /// What the names of the release's objects begin with.
    pub(super) fn prefix(&self, name: &str) -> String {
        self.fullname.clone().unwrap_or_else(|| name.to_owned())
    }
}
