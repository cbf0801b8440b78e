//! Regions that are no more.
//!
//! MAAS keeps a row for each region that ever ran, and an import waits for every
//! one of them to tell its free space: after a scale-down, imports would never
//! begin. A row goes only where all of this holds: its host name is one of the
//! StatefulSet's, with a number that the StatefulSet does not want any more; no
//! pod of that name is there; and MAAS itself calls it dead.

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use crate::cluster::ClusterError;
use crate::maas::{Client, Controller};

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
    if name.is_empty() {
        return Ok(());
    }
    let regions = maas.regions().await?;
    let is_dead = |region: &&Controller| {
        !region.is_connected("regiond") && ordinal(&region.hostname, name).is_some()
    };
    let dead: Vec<&Controller> = regions.iter().filter(is_dead).collect();
    if dead.is_empty() || dead.len() == regions.len() {
        return Ok(());
    }
    let (wanted, pods) = match in_cluster(context, &release.namespace, &release.name, name).await {
        Ok(found) => found,
        Err(error) => {
            let (reason, regions) = (crate::chain(&error), dead.len());
            tracing::warn!(regions, reason, "cannot tell whether dead regions are no more");
            return Ok(());
        }
    };
    for region in dead.into_iter().filter(|region| is_gone(&region.hostname, name, wanted, &pods)) {
        maas.delete_region(&region.system_id).await?;
        report.changed(format!("removed the region {}, which is no more", region.hostname));
    }
    Ok(())
}

async fn in_cluster(
    context: &Context,
    namespace: &str,
    release: &str,
    statefulset: &str,
) -> Result<(i32, Vec<String>), JobError> {
    let cluster = context.cluster().await?;
    let selector = format!("app.kubernetes.io/instance={release}");
    let pods = cluster.pods_of(namespace, &selector, statefulset).await?;
    let scale = cluster.scale(namespace, statefulset).await?.ok_or_else(|| {
        ClusterError::Config(format!("there is no StatefulSet {namespace}/{statefulset}"))
    })?;
    Ok((scale.wanted, pods.into_iter().map(|pod| pod.name).collect()))
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
