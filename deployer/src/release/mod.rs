//! Releases as Helm 3 records them.
//!
//! A revision of a release is a Secret of type `helm.sh/release.v1`. What stands
//! in it is read and written here, field by field as Helm has it, so that either
//! program goes on from what the other left. What is not known here survives.

mod chart;
mod codec;
mod holder;
mod hook;
mod stamp;
mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::manifest::Rendered;

pub use chart::recorded as chart;
pub use codec::{RecordError, decode, encode};
pub use holder::Holder;
pub use hook::{DeletePolicy, Event, Hook, HookPhase, LastRun};
pub use stamp::Stamp;
pub use store::{HISTORY_LIMIT, Key, RUN, Store, StoreError, Stored};

/// One revision of a release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The release's name.
    pub name: String,
    /// State, times and notes.
    pub info: Info,
    /// The chart: metadata, templates, values, schema and files, as Helm writes them.
    #[serde(default)]
    pub chart: Value,
    /// What the user set beside the chart's own values.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "map_or_null")]
    pub config: Map<String, Value>,
    /// The rendered objects but for hooks, as one text.
    #[serde(default)]
    pub manifest: String,
    /// The rendered hooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "list_or_null")]
    pub hooks: Vec<Hook>,
    /// The revision, from 1.
    #[serde(default)]
    pub version: u32,
    /// The namespace it is installed in.
    #[serde(default)]
    pub namespace: String,
    /// What a newer Helm may write.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// State, times and notes of a revision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Info {
    /// When the release's first revision was installed.
    #[serde(default)]
    pub first_deployed: Stamp,
    /// When this revision was.
    #[serde(default)]
    pub last_deployed: Stamp,
    /// When it was uninstalled.
    #[serde(default)]
    pub deleted: Stamp,
    /// One line for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its state.
    #[serde(default)]
    pub status: Status,
    /// The text of `NOTES.txt`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// What a newer Helm may write.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// The state of a revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Status {
    /// Helm's word for what it does not know.
    #[default]
    Unknown,
    /// It is the one that is there.
    Deployed,
    /// It was removed, and its history kept.
    Uninstalled,
    /// A later one took its place.
    Superseded,
    /// It was not finished.
    Failed,
    /// It is being removed, or that was interrupted.
    Uninstalling,
    /// It is being installed, or that was interrupted.
    PendingInstall,
    /// It is upgraded to, or that was interrupted.
    PendingUpgrade,
    /// It is rolled back to, or that was interrupted.
    PendingRollback,
}

impl Status {
    /// As it stands in labels and in what Helm prints.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
        }
    }

    /// The state that a text names.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        let all = [
            Self::Deployed,
            Self::Uninstalled,
            Self::Superseded,
            Self::Failed,
            Self::Uninstalling,
            Self::PendingInstall,
            Self::PendingUpgrade,
            Self::PendingRollback,
        ];
        all.into_iter().find(|status| status.text() == text).unwrap_or_default()
    }

    /// Whether an install, upgrade or rollback is under way, or was interrupted.
    #[must_use]
    pub fn is_pending(self) -> bool {
        matches!(self, Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback)
    }

    /// Whether anything is under way, an uninstall too, or was interrupted.
    #[must_use]
    pub fn is_under_way(self) -> bool {
        self.is_pending() || self == Self::Uninstalling
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        Self::of_text(&text)
    }
}

impl From<Status> for String {
    fn from(status: Status) -> Self {
        status.text().to_owned()
    }
}

/// What is to be on the cluster: a chart, rendered with values.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// As [`Release::chart`].
    pub chart: Value,
    /// As [`Release::config`].
    pub config: Map<String, Value>,
    /// As [`Release::manifest`].
    pub manifest: String,
    /// As [`Release::hooks`].
    pub hooks: Vec<Hook>,
    /// As [`Info::notes`].
    pub notes: String,
    /// The revision that it goes on from, where it was made of that one.
    pub after: Option<u32>,
}

impl Candidate {
    /// What a renderer made, with the chart and the user's values it was made of.
    #[must_use]
    pub fn new(rendered: &Rendered, chart: Value, config: Map<String, Value>) -> Self {
        Self {
            chart,
            config,
            manifest: rendered.to_manifest(),
            hooks: rendered.hooks.iter().filter_map(Hook::of).collect(),
            notes: rendered.notes.clone(),
            after: None,
        }
    }

    /// What a revision that was recorded had.
    #[must_use]
    pub fn of_release(release: &Release) -> Self {
        Self {
            chart: release.chart.clone(),
            config: release.config.clone(),
            manifest: release.manifest.clone(),
            hooks: release.hooks.clone(),
            notes: release.info.notes.clone(),
            after: None,
        }
    }

    /// Whether `release` recorded the same. When its hooks ran is no part of that.
    #[must_use]
    pub fn is_recorded_by(&self, release: &Release) -> bool {
        fn hooks(hooks: &[Hook]) -> impl Iterator<Item = (&str, &str)> {
            hooks.iter().map(|hook| (hook.path.as_str(), hook.manifest.trim_end()))
        }
        same_documents(&self.manifest, &release.manifest)
            && self.config == release.config
            && same_chart(&self.chart, &release.chart)
            && hooks(&self.hooks).eq(hooks(&release.hooks))
    }
}

/// Manifests are the same where their documents are but for what is blank at their ends: Helm 3
/// and this program leave it out, Helm 4 records it.
fn same_documents(one: &str, other: &str) -> bool {
    let documents = |text| str::split(text, "\n---\n").map(str::trim_end);
    documents(one).eq(documents(other))
}

/// Charts are the same where all that decides what they render to is. Files that
/// only people read are not compared: packing them differs from program to program.
fn same_chart(one: &Value, other: &Value) -> bool {
    ["metadata", "values"].iter().all(|part| one.get(part) == other.get(part))
}

impl Release {
    /// The first revision of a release, or the one after `last`.
    #[must_use]
    pub fn next(
        name: &str,
        namespace: &str,
        candidate: &Candidate,
        last: Option<&Self>,
        status: Status,
        description: impl Into<String>,
    ) -> Self {
        let now = Stamp::now();
        Self {
            name: name.to_owned(),
            info: Info {
                first_deployed: last
                    .map_or_else(|| now.clone(), |one| one.info.first_deployed.clone()),
                last_deployed: now,
                deleted: Stamp::default(),
                description: description.into(),
                status,
                notes: candidate.notes.clone(),
                rest: Map::new(),
            },
            chart: candidate.chart.clone(),
            config: candidate.config.clone(),
            manifest: candidate.manifest.clone(),
            hooks: candidate.hooks.clone(),
            version: last.map_or(1, |one| one.version + 1),
            namespace: namespace.to_owned(),
            rest: Map::new(),
        }
    }

    /// `maas-0.3.0`, as Helm lists a chart.
    #[must_use]
    pub fn chart_name(&self) -> String {
        let of = |key| self.metadata(key);
        match (of("name"), of("version")) {
            ("", _) => "MISSING".to_owned(),
            (name, version) => format!("{name}-{version}"),
        }
    }

    /// The version of MAAS that the chart names.
    #[must_use]
    pub fn app_version(&self) -> &str {
        self.metadata("appVersion")
    }

    fn metadata(&self, key: &str) -> &str {
        let found = self.chart.get("metadata").and_then(|metadata| metadata.get(key));
        found.and_then(Value::as_str).unwrap_or_default()
    }
}

/// Go writes a map that is not there as null.
fn map_or_null<'de, D>(from: D) -> Result<Map<String, Value>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn list_or_null<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_here_survives() {
        let record = json!({
            "name": "maas", "apply_method": "csa",
            "info": {"first_deployed": "2026-01-02T03:04:05.678901234+02:00",
                "last_deployed": "2026-01-02T03:04:05Z", "deleted": "",
                "description": "Install complete", "status": "deployed",
                "resources": {"v1/Pod": []}},
            "chart": {"metadata": {"name": "maas", "version": "0.3.0"}, "lock": null},
            "manifest": "---\n", "version": 3, "namespace": "maas",
            "hooks": [{"name": "a", "kind": "Job", "path": "p", "manifest": "m",
                "events": ["pre-install", "post-dance"], "weight": -5, "colour": "red",
                "last_run": {"started_at": "", "completed_at": "", "phase": "", "x": 1}}]
        });
        let release: Release = serde_json::from_value(record.clone()).unwrap();
        let written = serde_json::to_value(&release).unwrap();
        for pointer in ["/apply_method", "/info", "/chart", "/hooks", "/version", "/manifest"] {
            assert_eq!(written.pointer(pointer), record.pointer(pointer), "{pointer}");
        }
        assert_eq!(release.chart_name(), "maas-0.3.0");
    }

    #[test]
    fn what_helm_4_leaves_blank_is_no_change() {
        let one = "---\n# Source: a\na: 1\n---\n# Source: b\nb: |\n  x\n\n  y\n";
        let of_helm_4 = "---\n# Source: a\na: 1\n\n---\n# Source: b\nb: |\n  x\n\n  y\n        \n";
        assert!(same_documents(one, of_helm_4));
        for other in
            [one.replace("\n\n", "\n"), one.replace("a: 1", " a: 1"), format!("{one}---\nc: 1\n")]
        {
            assert!(!same_documents(one, &other), "{other}");
        }
        let hook = |end: &str| {
            json!({"name": "a", "kind": "Job", "path": "p", "manifest": format!("m: 1{end}"),
            "events": ["pre-install"]})
        };
        let release = |end: &str| -> Release {
            serde_json::from_value(
                json!({"name": "a", "info": {}, "manifest": one, "hooks": [hook(end)]}),
            )
            .unwrap()
        };
        assert!(Candidate::of_release(&release("")).is_recorded_by(&release("\n        \n")));
        assert!(!Candidate::of_release(&release("")).is_recorded_by(&release("\nn: 2")));
    }

    #[test]
    fn states_have_helms_words() {
        for status in [Status::Deployed, Status::PendingRollback, Status::Uninstalling] {
            assert_eq!(Status::of_text(status.text()), status);
            assert_eq!(serde_json::to_value(status).unwrap(), json!(status.text()));
        }
        assert_eq!(Status::of_text("dreaming"), Status::Unknown);
        assert!(Status::PendingUpgrade.is_pending() && !Status::Failed.is_pending());
    }

    #[test]
    fn a_config_that_is_null_is_empty() {
        let record = json!({"name": "a", "info": {}, "config": null, "hooks": null});
        let release: Release = serde_json::from_value(record).unwrap();
        assert!(release.config.is_empty() && release.hooks.is_empty());
    }
}
