//! The Secrets that hold a release's revisions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Holder, RecordError, Release, Stamp, Status, decode, encode};
use crate::cluster::{Cluster, ClusterError, Place};

/// How many revisions are kept, as by Helm.
pub const HISTORY_LIMIT: usize = 10;
/// The type of such a Secret.
const TYPE: &str = "helm.sh/release.v1";
/// Says which run of the deployer writes a revision, for people. Helm drops it.
const BY: &str = "maas-deployer/by";
/// The annotation with the id of the run that made an object; see [`Holder`].
pub const RUN: &str = "maas-deployer/run";
/// Labels that are the record's own. Others are the user's (`helm --labels`).
const OWN_LABELS: [&str; 6] = ["name", "owner", "status", "version", "createdAt", "modifiedAt"];

/// Why revisions cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Kubernetes refused, or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A record cannot be read or written.
    #[error("revision {revision} of {name}: its Secret {secret} cannot be used")]
    Record {
        /// The release.
        name: String,
        /// Which revision.
        revision: u32,
        /// Its Secret.
        secret: String,
        /// Why.
        source: RecordError,
    },
    /// Somebody else made that revision first.
    #[error("revision {revision} of {name} is being made by {by}, begun {age}")]
    Locked {
        /// The release.
        name: String,
        /// Which revision.
        revision: u32,
        /// Who, as far as it is known.
        by: String,
        /// When, for people.
        age: String,
    },
    /// Somebody else wrote the revision that this run makes.
    #[error("revision {revision} of {name} was taken over by somebody else while it was made")]
    TakenOver {
        /// The release.
        name: String,
        /// Which revision.
        revision: u32,
    },
}

/// One revision, as its labels have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The revision.
    pub revision: u32,
    /// Its state.
    pub status: Status,
}

/// A revision and the Secret that holds it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What the Secret holds.
    pub release: Release,
    /// Who made it: `user@host`, where a deployer did.
    pub by: Option<String>,
    /// The id of the run that made it, where a deployer did.
    run: Option<String>,
    labels: BTreeMap<String, String>,
    resource_version: Option<String>,
}

impl Stored {
    /// Who made it, for people.
    #[must_use]
    pub fn maker(&self) -> String {
        self.by.clone().unwrap_or_else(|| "helm or another program".to_owned())
    }

    /// When it was begun, for people: `4 min ago (2026-…)`.
    #[must_use]
    pub fn begun(&self) -> String {
        let info = &self.release.info;
        let is_ending = info.status == Status::Uninstalling;
        age(if is_ending { &info.deleted } else { &info.last_deployed })
    }
}

/// `4 min ago (2026-01-02T03:04:05Z)`.
pub(crate) fn age(stamp: &Stamp) -> String {
    match (stamp.time(), stamp.age_s()) {
        (Some(time), Some(age_s)) => {
            let when = jiff::Timestamp::from_second(time.as_second()).unwrap_or(time);
            let ago = crate::wait::spoken(std::time::Duration::from_secs(age_s));
            format!("{ago} ago ({when})")
        }
        (Some(time), None) => format!("at {time}"),
        (None, _) => "at a time that is not recorded".to_owned(),
    }
}

/// The revisions of one release.
#[derive(Clone, Debug)]
pub struct Store {
    cluster: Cluster,
    namespace: String,
    name: String,
    holder: Holder,
}

impl Store {
    /// The revisions of `name` in `namespace`; `by` is written to those that are made.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: &str, name: &str, by: impl Into<Holder>) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { cluster, namespace, name, holder: by.into() }
    }

    /// Which run this is.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Whether this very run made a revision.
    #[must_use]
    pub fn is_own(&self, stored: &Stored) -> bool {
        stored.run.as_deref() == Some(self.holder.id())
    }

    /// Which revisions there are, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let place = Place::list("/api/v1", Some(&self.namespace), "secrets");
        let selector = format!("owner=helm,name={}", self.name);
        let doing = format!("list the revisions of {} in {}", self.name, self.namespace);
        let metadata = self.cluster.list_metadata(&doing, &place, &selector).await?;
        let label = |object: &Value, name: &str| -> String {
            let labels = object.pointer("/metadata/labels");
            let found = labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let mut keys: Vec<Key> = metadata
            .iter()
            .filter_map(|object| {
                let revision = label(object, "version").parse().ok()?;
                Some(Key { revision, status: Status::of_text(&label(object, "status")) })
            })
            .collect();
        keys.sort_by_key(|key| key.revision);
        Ok(keys)
    }

    /// One revision; `None` where it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, revision: u32) -> Result<Option<Stored>, StoreError> {
        let place = self.place(revision)?;
        let Some(secret) = self.cluster.object(&place).await? else { return Ok(None) };
        self.read(revision, &secret).map(Some)
    }

    /// The newest revision.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last(&self, keys: &[Key]) -> Result<Option<Stored>, StoreError> {
        match keys.last() {
            Some(key) => self.get(key.revision).await,
            None => Ok(None),
        }
    }

    /// The newest revision that is deployed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn deployed(&self, keys: &[Key]) -> Result<Option<Stored>, StoreError> {
        match keys.iter().rev().find(|key| key.status == Status::Deployed) {
            Some(key) => self.get(key.revision).await,
            None => Ok(None),
        }
    }

    /// Makes a revision, which nobody else can do then, and removes the oldest
    /// beyond [`HISTORY_LIMIT`]. One that is deployed stays.
    ///
    /// # Errors
    /// [`StoreError::Locked`] where somebody made it first, and others.
    pub async fn create(
        &self,
        release: Release,
        labels: BTreeMap<String, String>,
    ) -> Result<Stored, StoreError> {
        let place = self.place(release.version)?;
        let mut stored = Stored { release, by: None, run: None, labels, resource_version: None };
        self.claim(&mut stored);
        stored
            .labels
            .insert("createdAt".to_owned(), jiff::Timestamp::now().as_second().to_string());
        let secret = self.secret(&stored)?;
        match self.cluster.create(&place, &secret).await {
            Ok(made) => stored.resource_version = version_of(&made),
            Err(error) if error.code() == Some(409) => {
                let Some(other) = self.get(stored.release.version).await? else {
                    return Err(error.into());
                };
                // An answer that was lost: this very run made it.
                if !self.is_own(&other) {
                    return Err(self.locked(&other));
                }
                stored.resource_version = other.resource_version;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(stored)
    }

    /// Writes a revision that was read or made here.
    ///
    /// # Errors
    /// [`StoreError::TakenOver`] where somebody else wrote it meanwhile, and others.
    pub async fn update(&self, stored: &mut Stored) -> Result<(), StoreError> {
        let revision = stored.release.version;
        let now = jiff::Timestamp::now().as_second().to_string();
        stored.labels.insert("modifiedAt".to_owned(), now);
        let (place, secret) = (self.place(revision)?, self.secret(stored)?);
        match self.cluster.replace(&place, &secret).await {
            Ok(written) => stored.resource_version = version_of(&written),
            Err(error) if matches!(error.code(), Some(404 | 409)) => {
                // An answer that was lost: what is there is what was written here.
                let live = self.cluster.object(&place).await?;
                let Some(live) = live.filter(|live| is_same_record(live, &secret)) else {
                    return Err(StoreError::TakenOver { name: self.name.clone(), revision });
                };
                stored.resource_version = version_of(&live);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Removes a revision.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, revision: u32) -> Result<(), StoreError> {
        self.cluster.delete(&self.place(revision)?).await?;
        Ok(())
    }

    /// The error that says who holds a revision.
    #[must_use]
    pub fn locked(&self, other: &Stored) -> StoreError {
        StoreError::Locked {
            name: self.name.clone(),
            revision: other.release.version,
            by: other.maker(),
            age: other.begun(),
        }
    }

    /// The labels that the user gave a revision, which the next one has too.
    #[must_use]
    pub fn user_labels(stored: &Stored) -> BTreeMap<String, String> {
        let own = |name: &String| OWN_LABELS.contains(&name.as_str());
        let labels = stored.labels.iter().filter(|(name, _)| !own(name));
        labels.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Says that what is done with a revision now is this run's doing.
    pub fn claim(&self, stored: &mut Stored) {
        stored.by = Some(self.holder.name().to_owned());
        stored.run = Some(self.holder.id().to_owned());
    }

    /// Deletes the oldest revisions where there are too many, as Helm does.
    ///
    /// # Errors
    /// [`StoreError`]: what there is too much of does no harm.
    pub async fn forget_old(&self) -> Result<(), StoreError> {
        let keys = self.keys().await?;
        let surplus = keys.len().saturating_sub(HISTORY_LIMIT);
        let old =
            keys.iter().filter(|key| key.status != Status::Deployed && !key.status.is_under_way());
        for key in old.take(surplus) {
            self.delete(key.revision).await?;
        }
        Ok(())
    }

    fn place(&self, revision: u32) -> Result<Place, ClusterError> {
        let name = self.secret_name(revision);
        Place::named("/api/v1", Some(&self.namespace), "secrets", "Secret", &name)
    }

    fn secret_name(&self, revision: u32) -> String {
        format!("sh.helm.release.v1.{}.v{revision}", self.name)
    }

    fn secret(&self, stored: &Stored) -> Result<Value, StoreError> {
        use base64::Engine as _;
        let release = &stored.release;
        let text = encode(release).map_err(|source| self.unusable(release.version, source))?;
        let mut labels = stored.labels.clone();
        for (name, value) in [
            ("name", self.name.clone()),
            ("owner", "helm".to_owned()),
            ("status", release.info.status.text().to_owned()),
            ("version", release.version.to_string()),
        ] {
            labels.insert(name.to_owned(), value);
        }
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), json!(self.secret_name(release.version)));
        metadata.insert("namespace".to_owned(), json!(self.namespace));
        metadata.insert("labels".to_owned(), json!(labels));
        let marks = [(BY, &stored.by), (RUN, &stored.run)].into_iter();
        let marks: Map<String, Value> = marks
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect();
        if !marks.is_empty() {
            metadata.insert("annotations".to_owned(), Value::Object(marks));
        }
        if let Some(version) = &stored.resource_version {
            metadata.insert("resourceVersion".to_owned(), json!(version));
        }
        let data = base64::engine::general_purpose::STANDARD.encode(text);
        Ok(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "type": TYPE, "data": {"release": data}}))
    }

    fn read(&self, revision: u32, secret: &Value) -> Result<Stored, StoreError> {
        use base64::Engine as _;
        let data = secret.pointer("/data/release").and_then(Value::as_str).unwrap_or_default();
        let text =
            base64::engine::general_purpose::STANDARD.decode(data).map_err(RecordError::Base64);
        let release = text
            .and_then(|text| decode(&text))
            .map_err(|source| self.unusable(revision, source))?;
        let labels = secret.pointer("/metadata/labels").cloned().unwrap_or_default();
        let mark = |name: &str| -> Option<String> {
            let held = secret.pointer("/metadata/annotations")?.get(name)?;
            held.as_str().map(str::to_owned)
        };
        Ok(Stored {
            release,
            by: mark(BY),
            run: mark(RUN),
            labels: serde_json::from_value(labels).unwrap_or_default(),
            resource_version: version_of(secret),
        })
    }

    fn unusable(&self, revision: u32, source: RecordError) -> StoreError {
        let secret = self.secret_name(revision);
        StoreError::Record { name: self.name.clone(), revision, secret, source }
    }
}

/// Whether two Secrets hold one text of a record. Each text says when it was begun, and
/// no two runs begin to write the same.
fn is_same_record(live: &Value, written: &Value) -> bool {
    let parts = ["/data/release", "/metadata/labels", "/metadata/annotations"];
    parts.iter().all(|part| live.pointer(part) == written.pointer(part))
}

fn version_of(object: &Value) -> Option<String> {
    object.pointer("/metadata/resourceVersion").and_then(Value::as_str).map(str::to_owned)
}
