//! One after the other, each within its bound.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::archive::{Archive, Contents};
use super::secrets::{self, Found, is_forbidden};
use super::{Options, SupportError, logs, objects, record};
use crate::apply::ApplyError;
use crate::cluster::{Cluster, ClusterError, Listed, Place};
use crate::release::{Holder, Release, Store, Stored};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of what is left out where not all secrets are known.
const UNKNOWN: &str = "not all secrets are known that would have to be struck out of it";

/// A bundle that is being made.
pub struct Gathering<'a, W: Write> {
    cluster: &'a Cluster,
    name: String,
    namespace: String,
    options: Options,
    archive: Archive<W>,
    found: Found,
    records: Vec<Stored>,
    end: Instant,
}

impl<'a, W: Write> Gathering<'a, W> {
    /// Reads the release's record and its Secrets, of which the rest must have nothing.
    ///
    /// # Errors
    /// [`SupportError`]; [`ApplyError::Absent`] where there is no such release.
    pub async fn begin(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
        options: Options,
        to: W,
    ) -> Result<Self, Begin> {
        let end = Instant::now() + options.timeout;
        let (records, unread) = records(cluster, name, namespace, end).await;
        if records.is_empty() && unread.is_empty() {
            let (name, namespace) = (name.to_owned(), namespace.to_owned());
            return Err(Begin::Absent(ApplyError::Absent { name, namespace }));
        }
        let releases: Vec<Release> = records.iter().map(|one| one.release.clone()).collect();
        let spaces = BTreeSet::from([namespace.to_owned()]);
        let keys = api_keys(&releases);
        let work = secrets::look(cluster, &spaces, &keys, &releases);
        let late = || Found { unknown: vec!["no answer in time".to_owned()], ..Found::default() };
        let mut found = within(end, work).await.unwrap_or_else(late);
        found.unknown.extend(unread.iter().cloned());
        let strike = found.secrets.strike();
        let strike = strike.map_err(|error| SupportError::Strike(error.to_string()))?;
        let mut archive = Archive::new(to, strike, options.bytes);
        for reason in &unread {
            archive.left("release", reason);
        }
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Ok(Self { cluster, name, namespace, options, archive, found, records, end })
    }

    /// What is left out as not all secrets are known, and why.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.found.warning()
    }

    /// Whether that is left out.
    fn is_bare(&self) -> bool {
        !self.found.unknown.is_empty() && !self.options.unstruck
    }

    /// Gathers all that the cluster tells.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub async fn gather(&mut self) -> Result<(), SupportError> {
        self.versions().await?;
        self.record()?;
        self.archive.json("secrets.json", &Value::Array(self.found.described.clone()))?;
        self.objects().await?;
        self.events().await?;
        self.nodes().await?;
        self.logs().await
    }

    /// Adds what the caller made.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, path: &str, text: &str) -> Result<(), SupportError> {
        if self.is_bare() {
            self.archive.left(path, UNKNOWN);
            return Ok(());
        }
        self.archive.text(path, text)
    }

    /// As [`Self::add`], of JSON.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add_json(&mut self, path: &str, value: &Value) -> Result<(), SupportError> {
        if self.is_bare() {
            self.archive.left(path, UNKNOWN);
            return Ok(());
        }
        self.archive.json(path, value)
    }

    /// Notes what the caller could not make.
    pub fn left(&mut self, what: &str, reason: &str) {
        self.archive.left(what, reason);
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(self) -> Result<(Contents, W), SupportError> {
        let about = json!({
            "release": self.name,
            "namespace": self.namespace,
            "made": jiff::Timestamp::now().to_string(),
            "by": concat!("maas-deployer ", env!("CARGO_PKG_VERSION")),
            "secrets_struck_out": self.found.secrets.count(),
            "secrets_unknown": self.found.unknown,
            "unstruck": self.options.unstruck && !self.found.unknown.is_empty(),
            "public": "names of users and certificates are no secrets, and stay",
        });
        self.archive.finish(&about)
    }

    async fn versions(&mut self) -> Result<(), SupportError> {
        let work = self.cluster.version();
        let kubernetes = match within(self.end, work).await {
            Some(Ok(version)) => json!(version),
            Some(Err(error)) => json!({"unknown": crate::chain(&error)}),
            None => json!({"unknown": "no answer in time"}),
        };
        let chart = crate::chart::metadata();
        let release = self.records.last().map(|stored| &stored.release);
        let versions = json!({
            "maas_deployer": env!("CARGO_PKG_VERSION"),
            "its_chart": format!("{}-{}", chart.name, chart.version),
            "chart": release.map(Release::chart_name),
            "maas": release.map(Release::app_version),
            "kubernetes": kubernetes,
        });
        self.archive.json("versions.json", &versions)
    }

    fn record(&mut self) -> Result<(), SupportError> {
        let history: Vec<Value> = self.records.iter().map(record::described).collect();
        self.archive.json("release/history.json", &Value::Array(history))?;
        let Some(last) = self.records.pop() else { return Ok(()) };
        let release = &last.release;
        let values = record::values(release, self.archive.strike());
        self.archive.text("release/values.yaml", &values)?;
        let texts = [
            ("release/manifest.yaml", record::manifest(release, self.archive.strike())),
            ("release/hooks.yaml", record::hooks(release, self.archive.strike())),
        ];
        for (path, text) in texts {
            match text {
                Ok(text) => self.archive.text(path, &text)?,
                Err(reason) => self.archive.left(path, &reason),
            }
        }
        self.records.push(last);
        Ok(())
    }

    async fn objects(&mut self) -> Result<(), SupportError> {
        for kind in objects::KINDS {
            let (_, plural) = kind;
            let what = format!("objects/{plural}");
            if plural == "configmaps" && self.is_bare() {
                self.archive.left(&what, UNKNOWN);
                continue;
            }
            let work = objects::of_kind(self.cluster, &self.namespace, &self.name, kind);
            let asked = within(self.end, work).await;
            let Some(found) = self.answered(&what, asked) else { continue };
            if found.is_cut {
                let most = objects::MOST;
                let left = format!("of more than {most}, those beyond without the release's label");
                self.archive.left(&what, &left);
            }
            for object in found.items {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                let path = format!("{what}/{}.yaml", name.unwrap_or_default());
                let text = objects::shown(object, self.archive.strike(), self.is_bare());
                self.archive.text(&path, &text)?;
            }
        }
        Ok(())
    }

    async fn events(&mut self) -> Result<(), SupportError> {
        if self.is_bare() {
            self.archive.left("events.json", UNKNOWN);
            return Ok(());
        }
        let place = Place::list("/api/v1", Some(&self.namespace), "events");
        let doing = format!("list the events in {}", self.namespace);
        let work = self.cluster.list_up_to(&doing, &place, objects::MOST);
        let asked = within(self.end, work).await;
        let Some(found) = self.all("events.json", asked) else { return Ok(()) };
        let mut events: Vec<Value> = found.iter().map(objects::event).collect();
        events.sort_by_key(|event| event.get("last").and_then(Value::as_str).map(str::to_owned));
        self.archive.json("events.json", &Value::Array(events))
    }

    async fn nodes(&mut self) -> Result<(), SupportError> {
        let place = Place::list("/api/v1", None, "nodes");
        let work = self.cluster.list_up_to("list the nodes", &place, objects::MOST);
        let asked = within(self.end, work).await;
        let Some(found) = self.all("nodes.json", asked) else { return Ok(()) };
        self.archive.json("nodes.json", &found.iter().map(objects::node).collect())
    }

    async fn logs(&mut self) -> Result<(), SupportError> {
        if self.is_bare() {
            self.archive.left("logs", UNKNOWN);
            return Ok(());
        }
        let place = Place::list("/api/v1", Some(&self.namespace), "pods");
        let selector = format!("app.kubernetes.io/instance={}", self.name);
        let doing = format!("list the pods in {}", self.namespace);
        let work = self.cluster.list(&doing, &place, ("labelSelector", &selector));
        let asked = within(self.end, work).await;
        let pods = self.answered("logs", asked).unwrap_or_default();
        let pods = pods.into_iter().filter_map(|pod| serde_json::from_value::<Pod>(pod).ok());
        let logs: Vec<logs::Log> = pods.flat_map(|pod| logs::of(&pod)).collect();
        for log in logs {
            let work = log.read(self.cluster, &self.namespace, self.options);
            let asked = within(self.end, work).await;
            if let Some(text) = self.answered(&log.path(), asked) {
                self.archive.text(&log.path(), &text)?;
            }
        }
        Ok(())
    }

    /// What was listed; that there is more is noted.
    fn all(
        &mut self,
        what: &str,
        asked: Option<Result<Listed, ClusterError>>,
    ) -> Option<Vec<Value>> {
        let found = self.answered(what, asked)?;
        if found.is_cut {
            let left = format!("of more than {} those beyond", found.items.len());
            self.archive.left(what, &left);
        }
        Some(found.items)
    }

    /// What was answered; else why not is noted.
    fn answered<T>(&mut self, what: &str, asked: Option<Result<T, ClusterError>>) -> Option<T> {
        let reason = match asked {
            Some(Ok(found)) => return Some(found),
            // A kind that the cluster does not know has no objects.
            Some(Err(error)) if error.code() == Some(404) => return None,
            Some(Err(error)) if is_forbidden(&error) => {
                format!("your account has no right to it: {error}")
            }
            Some(Err(error)) => crate::chain(&error),
            None => "no answer in time".to_owned(),
        };
        self.archive.left(what, &reason);
        None
    }
}

/// Why a bundle cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum Begin {
    /// There is no such release.
    #[error(transparent)]
    Absent(ApplyError),
    /// It cannot be made.
    #[error(transparent)]
    Support(#[from] SupportError),
}

/// What comes of `work` in time.
async fn within<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    let until = end.min(Instant::now() + PATIENCE);
    timeout_at(until, Box::pin(work)).await.ok()
}

/// All revisions that can be read, without their charts' files; and why others cannot.
async fn records(
    cluster: &Cluster,
    name: &str,
    namespace: &str,
    end: Instant,
) -> (Vec<Stored>, Vec<String>) {
    let store = Store::new(cluster.clone(), namespace, name, Holder::new("nobody"));
    let mut unread = Vec::new();
    let keys = match within(end, store.keys()).await {
        Some(Ok(keys)) => keys,
        Some(Err(error)) => {
            unread.push(crate::chain(&error));
            Vec::new()
        }
        None => {
            unread.push("the revisions: no answer in time".to_owned());
            Vec::new()
        }
    };
    let mut records = Vec::new();
    for key in keys {
        match within(end, store.get(key.revision)).await {
            Some(Ok(Some(mut stored))) => {
                let metadata = stored.release.chart.get("metadata").cloned();
                stored.release.chart = json!({ "metadata": metadata });
                records.push(stored);
            }
            Some(Ok(None)) => {}
            Some(Err(error)) => unread.push(crate::chain(&error)),
            None => unread.push(format!("revision {}: no answer in time", key.revision)),
        }
    }
    (records, unread)
}

/// Where jobs were told to write MAAS's API key.
fn api_keys(releases: &[Release]) -> Vec<(String, String)> {
    let mut keys = BTreeSet::new();
    for release in releases {
        let documents = crate::apply::documents(&release.manifest).unwrap_or_default();
        keys.extend(documents.iter().filter_map(|one| crate::apply::api_key_of(&one.object)));
    }
    keys.into_iter().collect()
}
