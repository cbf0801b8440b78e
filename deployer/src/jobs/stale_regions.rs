//! Regions that are no more.
//!
//! MAAS keeps a row for each region that ever ran, and an import waits for every
//! one of them to tell its free space: after a scale-down, imports would never
//! begin. A row goes only where all of this holds: its host name is one of the
//! StatefulSet's, with a number that the StatefulSet does not want any more; no
//! pod of that name is there; and MAAS itself calls it dead. A pod takes a while to
//! end, and MAAS to notice: both are waited for.

use std::time::Duration;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use crate::cluster::{Cluster, ClusterError};
use crate::maas::{Client, Controller};
use crate::wait::{State, Wait};

/// How long a region that is not wanted any more may take to end, and MAAS to call it dead.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Removes them. Where the cluster cannot be asked, nothing is removed.
pub(super) async fn remove(
    context: &Context,
    maas: &Client,
    report: &mut Report,
) -> Result<(), JobError> {
    let (Ok(region), Ok(release)) = (context.settings.region(), context.settings.release()) else {
        return Ok(());
    };
    let name = region.statefulset.as_str();
    let regions = maas.regions().await?;
    if name.is_empty() || regions.len() < 2 {
        return Ok(());
    }
    let at = Place { namespace: &release.namespace, release: &release.name, statefulset: name };
    let wait = Wait::new("regions that are not wanted any more to end", context.limit(LIMIT));
    let looked = wait.next(at.pods()).until(async || at.look(context, maas, report).await).await;
    match looked {
        Err(JobError::Cluster(error)) => {
            let dead = regions.iter().filter(|region| at.is_dead(region)).count();
            if dead > 0 {
                let reason = crate::chain(&error);
                tracing::warn!(
                    regions = dead,
                    reason,
                    "cannot tell whether dead regions are no more"
                );
            }
            Ok(())
        }
        // The import shows what comes of it.
        Err(JobError::Wait(error)) => {
            tracing::warn!(reason = error.last, "regions are left that are not wanted any more");
            Ok(())
        }
        other => other,
    }
}

/// Where the regions are.
struct Place<'a> {
    namespace: &'a str,
    release: &'a str,
    statefulset: &'a str,
}

impl Place<'_> {
    /// Removes those that are no more, and says which are not wanted and there still.
    async fn look(
        &self,
        context: &Context,
        maas: &Client,
        report: &mut Report,
    ) -> Result<State<()>, JobError> {
        let (wanted, pods) = self.in_cluster(&context.cluster().await?).await?;
        let regions = maas.regions().await?;
        let is_surplus = |region: &&Controller| {
            ordinal(&region.hostname, self.statefulset).is_some_and(|at| at >= i64::from(wanted))
        };
        let surplus: Vec<&Controller> = regions.iter().filter(is_surplus).collect();
        // Of a StatefulSet that is stopped, as for a migration, all will be back.
        if wanted == 0 || surplus.len() == regions.len() {
            return Ok(State::Ready(()));
        }
        let mut left = Vec::new();
        for region in surplus {
            let host = &region.hostname;
            if !is_gone(host, self.statefulset, wanted, &pods) {
                left.push(format!("the pod of {host} has not ended"));
            } else if !self.is_dead(region) {
                left.push(format!("MAAS has not noticed yet that {host} is gone"));
            } else {
                maas.delete_region(&region.system_id).await?;
                report.changed(format!("removed the region {host}, which is no more"));
            }
        }
        Ok(if left.is_empty() { State::Ready(()) } else { State::Waiting(left.join(", ")) })
    }

    /// How many regions there are to be, and the names of the pods that are there.
    async fn in_cluster(&self, cluster: &Cluster) -> Result<(i32, Vec<String>), ClusterError> {
        let (namespace, name) = (self.namespace, self.statefulset);
        let selector = format!("app.kubernetes.io/instance={}", self.release);
        let pods = cluster.pods_of(namespace, &selector, name).await?;
        let scale = cluster.scale(namespace, name).await?.ok_or_else(|| {
            ClusterError::Config(format!("there is no StatefulSet {namespace}/{name}"))
        })?;
        Ok((scale.wanted, pods.into_iter().map(|pod| pod.name).collect()))
    }

    /// Whether MAAS calls one of the StatefulSet's regions dead.
    fn is_dead(&self, region: &Controller) -> bool {
        !region.is_connected("regiond") && ordinal(&region.hostname, self.statefulset).is_some()
    }

    fn pods(&self) -> String {
        format!(
            "kubectl get pods -n {} -l app.kubernetes.io/instance={}",
            self.namespace, self.release
        )
    }
}

/// Whether the StatefulSet has no place for it, and no pod either.
fn is_gone(hostname: &str, statefulset: &str, wanted: i32, pods: &[String]) -> bool {
    let Some(number) = ordinal(hostname, statefulset) else { return false };
    let pod = format!("{statefulset}-{number}");
    number >= i64::from(wanted) && !pods.contains(&pod)
}

/// The number of the StatefulSet's pod that has this host name.
fn ordinal(hostname: &str, statefulset: &str) -> Option<i64> {
    let host = hostname.split('.').next()?;
    let number = host.strip_prefix(statefulset)?.strip_prefix('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_that_is_not_wanted_any_more_is_gone() {
        let pods = vec!["maas-region-0".to_owned(), "maas-region-2".to_owned()];
        let gone = |host: &str| is_gone(host, "maas-region", 1, &pods);
        assert!(gone("maas-region-1") && gone("maas-region-1.maas-region-headless"));
        assert!(!gone("maas-region-0"), "it is wanted");
        assert!(!gone("maas-region-2"), "its pod is ending");
        assert!(!gone("maas-region-x") && !gone("other-region-1") && !gone("maas-region"));
        assert!(!gone("maas-region-1a") && !gone("maas-region-+1"));
    }
}
