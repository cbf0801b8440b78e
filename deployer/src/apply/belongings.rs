//! What a release made beside its objects, by what its record says.
//!
//! Labels alone prove nothing: another chart in the namespace may bear the same ones,
//! and a release of the same name may be in another.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::target::{Owner, annotation, label};
use crate::cluster::{Cluster, ClusterError, MANAGED_BY, Place};
use crate::manifest::Document;
use crate::settings::VARIABLE;

/// The label that says which release a Secret, a pod or a volume belongs to.
pub(super) const INSTANCE: &str = "app.kubernetes.io/instance";

/// What the record names.
#[derive(Debug, Default)]
pub(super) struct Belongings {
    claims: Vec<Claims>,
    /// What makes pods: kind and name.
    makers: BTreeSet<(String, String)>,
    /// Where jobs were told to write MAAS's API key.
    api_keys: Vec<Place>,
}

/// The claims that a StatefulSet makes from one of its templates.
#[derive(Debug)]
struct Claims {
    prefix: String,
    labels: Map<String, Value>,
}

impl Belongings {
    /// Notes what an object of the release makes.
    pub(super) fn note(&mut self, document: &Document, owner: &Owner) -> Result<(), ClusterError> {
        let is_here = document.namespace().is_none_or(|space| space == owner.namespace);
        if document.kind() == "StatefulSet" && is_here {
            self.note_claims(document);
        }
        if is_here {
            self.makers.insert((document.kind().to_owned(), document.name().to_owned()));
        }
        self.note_api_key(document)
    }

    fn note_claims(&mut self, set: &Document) {
        let templates = set.object.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
        let labels = set.object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        for template in templates.into_iter().flatten() {
            let Some(name) = template.pointer("/metadata/name").and_then(Value::as_str) else {
                continue;
            };
            let prefix = format!("{name}-{}-", set.name());
            self.claims.push(Claims { prefix, labels: labels.cloned().unwrap_or_default() });
        }
    }

    /// The Secret with MAAS's API key may be anywhere, and bears no release's name:
    /// the job that writes it is told where.
    fn note_api_key(&mut self, job: &Document) -> Result<(), ClusterError> {
        if let Some((space, name)) = api_key_of(&job.object) {
            let place = Place::named("/api/v1", Some(&space), "secrets", "Secret", &name)?;
            if !self.api_keys.contains(&place) {
                self.api_keys.push(place);
            }
        }
        Ok(())
    }

    /// Whether a claim was made for one of the StatefulSets: by its name, which
    /// Kubernetes gives, and the labels that it copies from the selector.
    pub(super) fn has_claim(&self, claim: &Value) -> bool {
        let name = claim.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        self.claims.iter().any(|one| {
            let number = name.strip_prefix(&one.prefix);
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let has = |(name, value): (&String, &Value)| label(claim, name) == value.as_str();
            number.is_some_and(is_number) && one.labels.iter().all(has)
        })
    }

    /// Whether a pod was made by an object of the release.
    pub(super) fn has_pod(&self, pod: &Value) -> bool {
        let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.into_iter().flatten().any(|owner| {
            let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
            let made =
                |kind: &str, name: &str| self.makers.contains(&(kind.to_owned(), name.to_owned()));
            let (kind, name) = (text("kind"), text("name"));
            let parent = name.rsplit_once('-').map_or("", |(parent, _)| parent);
            match kind {
                "ReplicaSet" => made("Deployment", parent) || made(kind, name),
                "Job" => made("CronJob", parent) || made(kind, name),
                _ => made(kind, name),
            }
        })
    }

    /// The API keys that jobs of this program wrote, as far as this account may look.
    pub(super) async fn api_keys(&self, cluster: &Cluster, owner: &Owner) -> Vec<Place> {
        let mut found = Vec::new();
        for place in &self.api_keys {
            // An account that may not look there cannot delete it either.
            let live = cluster.object(place).await.unwrap_or_default();
            if live.is_some_and(|live| is_made_by_jobs(&live, owner)) {
                found.push(place.clone());
            }
        }
        found
    }
}

/// What a job of this program is told. None where it is none.
pub(crate) fn settings_of(job: &Value) -> Option<Value> {
    if job.get("kind")? != "Job" {
        return None;
    }
    let containers = job.pointer("/spec/template/spec/containers")?.as_array()?;
    let variables = containers.iter().filter_map(|one| one.get("env")?.as_array()).flatten();
    let is_settings = |one: &&Value| one.get("name").is_some_and(|name| name == VARIABLE);
    let mut told = variables.filter(is_settings);
    told.find_map(|one| serde_json::from_str(one.get("value")?.as_str()?).ok())
}

/// Where a job is told to write MAAS's API key: namespace and name of the Secret.
pub(crate) fn api_key_of(job: &Value) -> Option<(String, String)> {
    let settings = settings_of(job)?;
    let text = |name: &str| settings.pointer(&format!("/secrets/api_key/{name}"))?.as_str();
    Some((text("namespace")?.to_owned(), text("name")?.to_owned()))
}

/// Whether a Secret was made by a job of this program, and says nothing of another release.
fn is_made_by_jobs(secret: &Value, owner: &Owner) -> bool {
    label(secret, MANAGED_BY.0) == Some(MANAGED_BY.1)
        && label(secret, INSTANCE).is_none_or(|release| release == owner.name)
        && annotation(secret, "meta.helm.sh/release-name").is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn belongings() -> Belongings {
        let object = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "maas-region"},
            "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": "maas"}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        let owner = Owner { name: "maas".into(), namespace: "maas".into() };
        let mut held = Belongings::default();
        let document =
            |object: Value| Document { source: String::new(), text: String::new(), object };
        held.note(&document(object), &owner).unwrap();
        let cron = json!({"kind": "CronJob", "metadata": {"name": "nightly"}});
        held.note(&document(cron), &owner).unwrap();
        held
    }

    #[test]
    fn claims_are_known_by_name_and_labels() {
        let claim = |name: &str, of: &str| json!({"metadata": {"name": name, "labels": {"app.kubernetes.io/name": of}}});
        let held = belongings();
        assert!(held.has_claim(&claim("data-maas-region-12", "maas")));
        for name in [
            "data-maas-region-",
            "data-maas-region-x",
            "data-maas-region-0-1",
            "x-data-maas-region-0",
        ] {
            assert!(!held.has_claim(&claim(name, "maas")), "{name}");
        }
        assert!(!held.has_claim(&claim("data-maas-region-0", "theirs")));
    }

    #[test]
    fn the_api_keys_secret_is_found_by_the_variables_name() {
        let settings =
            json!({"secrets": {"api_key": {"namespace": "keys", "name": "maas-api-key"}}});
        let job = |kind: &str, env: Value| {
            json!({"kind": kind, "spec": {"template": {"spec": {"containers": [
                {"name": "a"}, {"name": "b", "env": env}]}}}})
        };
        let told = json!({"name": "MAAS_DEPLOYER_SETTINGS", "value": settings.to_string()});
        let env = json!([{"name": "FIRST", "value": "{}"}, told]);
        let found = Some(("keys".to_owned(), "maas-api-key".to_owned()));
        assert_eq!(api_key_of(&job("Job", env.clone())), found);
        assert_eq!(api_key_of(&job("StatefulSet", env)), None);
        let other = json!([{"name": "THEIRS", "value": settings.to_string()}]);
        assert_eq!(api_key_of(&job("Job", other)), None);
    }

    #[test]
    fn pods_are_known_by_what_made_them() {
        let pod = |kind: &str, name: &str| json!({"metadata": {"ownerReferences": [{"kind": kind, "name": name}]}});
        let held = belongings();
        assert!(held.has_pod(&pod("StatefulSet", "maas-region")));
        assert!(held.has_pod(&pod("Job", "nightly-29012345")));
        assert!(!held.has_pod(&pod("StatefulSet", "theirs")));
        assert!(!held.has_pod(&json!({"metadata": {}})));
    }
}
