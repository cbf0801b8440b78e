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
    /// with an API key in another namespace is not found: it bears no release's name.
    ///
    /// # Errors
    /// [`ApplyError`]; [`ApplyError::InUse`] where pods run that may need it.
    pub async fn look(
        cluster: &'a Cluster,
        name: &str,
        namespace: &str,
    ) -> Result<Self, ApplyError> {
        let owner = Owner { name: name.to_owned(), namespace: namespace.to_owned() };
        let ours = format!("app.kubernetes.io/name={CHART},{INSTANCE}={name}");
        let made = format!("{}={}", MANAGED_BY.0, MANAGED_BY.1);
        let pods = labelled(cluster, namespace, ("pods", "Pod"), &ours).await?;
        if let Some((_, pod)) = pods.first() {
            let (name, pod) = (owner.name, pod.shown().to_owned());
            return Err(ApplyError::InUse { name, pod });
        }
        let claims = ("persistentvolumeclaims", "PersistentVolumeClaim");
        let volumes = labelled(cluster, namespace, claims, &ours).await?;
        let mut secrets = labelled(cluster, namespace, ("secrets", "Secret"), &ours).await?;
        secrets
            .retain(|(object, _)| is_of_jobs(object) || (is_kept(object) && is_of(object, &owner)));
        let keys = labelled(cluster, namespace, ("secrets", "Secret"), &made).await?;
        secrets.extend(keys.into_iter().filter(|(object, _)| is_api_key(object, name)));
        let doomed = |kind: &str, found: Vec<(Value, Place)>| {
            let one = |(object, place)| Doomed::new(kind, place, &object);
            found.into_iter().map(one).collect()
        };
        let volumes = volumes.into_iter().filter(|(object, _)| is_claim(object)).collect();
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
        let all = || self.volumes.iter().chain(&self.secrets);
        for one in all() {
            one.delete(self.cluster).await?;
        }
        for one in all() {
            wait_gone(self.cluster, &one.place, end).await?;
        }
        Ok(())
    }
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
    !component.is_empty()
        && set.ends_with(&format!("-{component}"))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a Secret that a job made is called as the one with a release's API key.
fn is_api_key(secret: &Value, release: &str) -> bool {
    let is_named = [format!("{release}-api-key"), format!("{release}-{CHART}-api-key")]
        .iter()
        .any(|name| name_of(secret) == name);
    is_of_jobs(secret) && is_named && label(secret, INSTANCE).is_none()
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
    }
}
