//! What an uninstall kept, looked for once the release's record is gone.
//!
//! The record would say what the release made. Without it labels have to do, so more of them are
//! asked for than elsewhere, and names as the chart gives them.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::belongings::INSTANCE;
use super::ended::wait_gone;
use super::error::ApplyError;
use super::target::{Owner, is_kept, is_of, label};
use super::uninstall::{CHART, Doomed, Kept, is_of_jobs};
use crate::cluster::{Cluster, MANAGED_BY, Place};

/// Volumes and Secrets of a release that is not there any more.
pub struct Leftovers<'a> {
    cluster: &'a Cluster,
    volumes: Vec<Doomed>,
    secrets: Vec<Doomed>,
}

impl<'a> Leftovers<'a> {
    /// Looks for what a release of this name left in its namespace. Nothing is changed. A Secret
    /// with an API key is found under the name that the chart gives it.
    ///
    /// # Errors
    /// [`ApplyError`]; [`ApplyError::InUse`] where something is there that may need it.
    pub async fn look(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
    ) -> Result<Self, ApplyError> {
        Self::look_at(cluster, name, namespace).await.map_err(ApplyError::before_anything)
    }

    async fn look_at(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
    ) -> Result<Self, ApplyError> {
        let owner = Owner { name: name.to_owned(), namespace: namespace.to_owned() };
        let ours = selector(name);
        let made = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let claims = ("persistentvolumeclaims", "PersistentVolumeClaim");
        let mut volumes = labelled(cluster, namespace, claims, &ours).await?;
        volumes.retain(|(object, _)| is_claim(object));
        let mut secrets = secrets_of(cluster, &owner).await?;
        let keys = labelled(cluster, namespace, ("secrets", "Secret"), &made).await?;
        secrets.extend(keys.into_iter().filter(|(object, _)| is_api_key(object, name)));
        let data: Vec<&str> =
            volumes.iter().chain(&secrets).map(|(object, _)| name_of(object)).collect();
        if let Some(by) = user_of(cluster, &owner, &data).await? {
            return Err(ApplyError::InUse { name: owner.name, by });
        }
        let doomed = |kind: &str, found: Vec<(Value, Place)>| {
            let one = |(object, place)| Doomed::new(kind, place, &object);
            found.into_iter().map(one).collect()
        };
        Ok(Self {
            cluster,
            volumes: doomed("PersistentVolumeClaim", volumes),
            secrets: doomed("Secret", secrets),
        })
    }

    /// What was found.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let shown = |list: &[Doomed]| list.iter().map(|one| one.place.shown().to_owned()).collect();
        Kept { volumes: shown(&self.volumes), secrets: shown(&self.secrets), ..Kept::default() }
    }

    /// Deletes it: the objects that were seen, and none that took their names since.
    ///
    /// # Errors
    /// [`ApplyError`]; run again, it goes on.
    pub async fn delete(&self, timeout: Duration) -> Result<(), ApplyError> {
        let end = Instant::now() + timeout;
        let cluster = &self.cluster.clone().until(end);
        let mut going = Vec::new();
        for one in self.volumes.iter().chain(&self.secrets) {
            if !one.delete(cluster).await? {
                going.push(&one.place);
            }
        }
        for place in going {
            wait_gone(cluster, place, end).await?;
        }
        Ok(())
    }
}

/// What may need what was found, in the release's namespace: a StatefulSet or a pod with its
/// labels; or, whatever their labels, a StatefulSet that would take one of the claims up, as it
/// does by name alone and when it is scaled to none too, and a pod that mounts one of the
/// objects.
async fn user_of(
    cluster: &Cluster,
    owner: &Owner,
    data: &[&str],
) -> Result<Option<String>, ApplyError> {
    let space = owner.namespace.as_str();
    let is_ours = |object: &Value| {
        label(object, "app.kubernetes.io/name") == Some(CHART)
            && label(object, INSTANCE) == Some(&owner.name)
    };
    let all = ("labelSelector", "");
    let sets = Place::list("/apis/apps/v1", Some(space), "statefulsets");
    for set in cluster.list(&format!("list the statefulsets in {space}"), &sets, all).await? {
        if is_ours(&set) || data.iter().any(|name| takes_up(&set, name)) {
            return Ok(Some(format!("the StatefulSet {space}/{}", name_of(&set))));
        }
    }
    let pods = Place::list("/api/v1", Some(space), "pods");
    for pod in cluster.list(&format!("list the pods in {space}"), &pods, all).await? {
        if is_ours(&pod) || mounts(&pod).any(|name| data.contains(&name)) {
            return Ok(Some(format!("the Pod {space}/{}", name_of(&pod))));
        }
    }
    Ok(None)
}

/// Whether a claim has a name that a StatefulSet gives to its own.
fn takes_up(set: &Value, claim: &str) -> bool {
    let templates = set.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
    templates.into_iter().flatten().any(|template| {
        let number = claim.strip_prefix(&format!("{}-{}-", name_of(template), name_of(set)));
        number.is_some_and(is_number)
    })
}

/// The claims and Secrets that are volumes of a pod.
fn mounts(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    volumes.into_iter().flatten().flat_map(|volume| {
        let text = |path: &str| volume.pointer(path).and_then(Value::as_str);
        [text("/persistentVolumeClaim/claimName"), text("/secret/secretName")].into_iter().flatten()
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The Secrets that jobs of a release made, and those that its chart made of passwords in the
/// values, also of a revision that is no longer recorded.
pub(super) async fn secrets_of(
    cluster: &Cluster,
    owner: &Owner,
) -> Result<Vec<(Value, Place)>, ApplyError> {
    let kind = ("secrets", "Secret");
    let mut secrets = labelled(cluster, &owner.namespace, kind, &selector(&owner.name)).await?;
    secrets.retain(|(one, _)| is_of_jobs(one) || (is_kept(one) && is_of(one, owner)));
    Ok(secrets)
}

/// What the chart's objects of a release bear.
fn selector(release: &str) -> String {
    format!("app.kubernetes.io/name={CHART},{INSTANCE}={release}")
}

/// Objects with these labels, without what they hold.
pub(super) async fn labelled(
    cluster: &Cluster,
    space: &str,
    (plural, kind): (&str, &str),
    selector: &str,
) -> Result<Vec<(Value, Place)>, ApplyError> {
    let place = Place::list("/api/v1", Some(space), plural);
    let doing = format!("list the {plural} in {space}");
    let found = cluster.list_metadata(&doing, &place, selector).await?;
    let mut places = Vec::new();
    for object in found {
        let place = Place::named("/api/v1", Some(space), plural, kind, name_of(&object))?;
        places.push((object, place));
    }
    Ok(places)
}

fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Whether a claim is called as those of the chart's StatefulSets: these are called after their
/// components.
fn is_claim(claim: &Value) -> bool {
    let component = label(claim, "app.kubernetes.io/component").unwrap_or_default();
    let Some((set, number)) = name_of(claim).rsplit_once('-') else { return false };
    !component.is_empty() && set.ends_with(&format!("-{component}")) && is_number(number)
}

/// Whether a Secret that a job made is called as the one with a release's API key.
fn is_api_key(secret: &Value, release: &str) -> bool {
    let is_named = name_of(secret) == format!("{}-api-key", full_name(release));
    is_of_jobs(secret) && is_named && label(secret, INSTANCE).is_none()
}

/// What the chart's objects are called after: `maas.fullname` in its `_names.tpl`.
fn full_name(release: &str) -> String {
    let full =
        if release.contains(CHART) { release.to_owned() } else { format!("{release}-{CHART}") };
    full.chars().take(39).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_and_keys_are_known_by_labels_and_names() {
        let claim = |name: &str, component: &str| {
            let labels = json!({"app.kubernetes.io/component": component});
            is_claim(&json!({"metadata": {"name": name, "labels": labels}}))
        };
        assert!(claim("data-maas-region-12", "region"));
        for (name, component) in [
            ("data-maas-region-12", "rack"),
            ("data-maas-region-x", "region"),
            ("region-0", "region"),
            ("data-maas-0", ""),
        ] {
            assert!(!claim(name, component), "{name} {component}");
        }
        let key = |name: &str, labels: Value| {
            is_api_key(&json!({"metadata": {"name": name, "labels": labels}}), "metal")
        };
        let made = json!({"app.kubernetes.io/managed-by": "maas-deployer"});
        assert!(key("metal-maas-api-key", made.clone()));
        assert!(!key("maas-api-key", made));
        assert!(!key("metal-maas-api-key", json!({})));
        assert_eq!(full_name("maas-one"), "maas-one");
        assert_eq!(full_name(&format!("{}-b", "a".repeat(38))), "a".repeat(38));
    }

    #[test]
    fn whoever_takes_up_a_claim_or_mounts_it_is_seen() {
        let set = json!({"metadata": {"name": "x-maas-region"},
            "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
        assert!(takes_up(&set, "data-x-maas-region-3"));
        assert!(!takes_up(&set, "data-x-maas-region-") && !takes_up(&set, "data-maas-region-0"));
        let pod = json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "d", "secret": {"secretName": "e"}}]}});
        assert_eq!(mounts(&pod).collect::<Vec<_>>(), ["c", "e"]);
        assert_eq!(mounts(&json!({})).count(), 0);
    }
}
