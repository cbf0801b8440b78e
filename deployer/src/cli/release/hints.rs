//! Exit codes of what may go wrong with a release, and what to do next.

use super::super::failure::Exit;
use crate::apply::{ApplyError, Phase, TroubleKind};
use crate::cluster::ClusterError;
use crate::release::{RecordError, StoreError};

/// The exit code.
pub(in crate::cli) fn exit(error: &ApplyError) -> Exit {
    match error {
        ApplyError::Store(StoreError::Locked { .. } | StoreError::TakenOver { .. })
        | ApplyError::Moved { .. } => Exit::Locked,
        ApplyError::Cluster(ClusterError::Name { .. }) => Exit::Refused,
        ApplyError::NotTaken(_)
        | ApplyError::Foreign { .. }
        | ApplyError::Conflicts { .. }
        | ApplyError::Exists { .. }
        | ApplyError::Absent { .. }
        | ApplyError::InUse { .. }
        | ApplyError::NoRevision { .. }
        | ApplyError::Pending { .. }
        | ApplyError::NoNamespace(_)
        | ApplyError::NamespaceEnding(_)
        | ApplyError::UnknownKind { .. }
        | ApplyError::Incomplete { .. }
        | ApplyError::Refused { .. } => Exit::Refused,
        _ => Exit::Error,
    }
}

/// Lines that say more.
pub(in crate::cli) fn details(error: &ApplyError) -> Vec<String> {
    match error {
        ApplyError::Conflicts { conflicts, .. } => conflicts
            .iter()
            .map(|conflict| format!("{} owns {}", conflict.manager, conflict.field))
            .collect(),
        ApplyError::Trouble(trouble) => trouble.details.clone(),
        ApplyError::Midway(error) => details(error),
        ApplyError::Timeout { others, phase, .. } => {
            let phase = phase.map(|phase| format!("phase: {}", phase.word()));
            phase.into_iter().chain(others.iter().cloned()).collect()
        }
        _ => Vec::new(),
    }
}

/// What to do next.
pub(in crate::cli) fn hint(error: &ApplyError) -> String {
    match error {
        ApplyError::Cluster(error)
        | ApplyError::NotTaken(error)
        | ApplyError::Store(StoreError::Cluster(error)) => cluster(error).to_owned(),
        ApplyError::Store(error) => store(error),
        ApplyError::Midway(error) => hint(error),
        ApplyError::Mask(_) => "put passwords into Secrets, rather than into the values".into(),
        ApplyError::Manifest(_) => "correct extraObjects in the values, or what Helm recorded".into(),
        ApplyError::UnknownKind { .. } => {
            "install what defines that kind first, or turn off the value that asks for it".into()
        }
        ApplyError::Foreign { owner: Some(owner), .. } => format!(
            "use another name for this release, or uninstall {} in {}",
            owner.name, owner.namespace
        ),
        ApplyError::Foreign { owner: None, what } if what.starts_with("Secret ") => {
            "it may hold the only copy of a password that is in use: leave out the value that makes this one, and the release goes on with it; delete it only if nobody needs what it holds".into()
        }
        ApplyError::Foreign { owner: None, .. } => {
            "delete it if nobody needs it, or use another name for this release".into()
        }
        ApplyError::Conflicts { .. } => {
            "have that program leave the field alone, or set the same value; --force-conflicts takes the fields".into()
        }
        ApplyError::Pending { name, status: "uninstalling", .. } => {
            format!("wait if somebody is at it; if that run was killed, maas-deployer uninstall {name} goes on with it, and --recover here brings the release back")
        }
        ApplyError::Exists { name, .. } => {
            format!("maas-deployer upgrade {name}, with the same -n, -f and --set options, changes it")
        }
        ApplyError::Incomplete { .. } => {
            "give it kind, apiVersion and metadata.name, in extraObjects; it is to be found again under that name".into()
        }
        ApplyError::Moved { name, .. } => {
            format!("see what it was: maas-deployer history {name}; then run this again")
        }
        ApplyError::Absent { name, namespace } => {
            format!("name its namespace with -n; maas-deployer install {name} -n {namespace}, with your values, installs it")
        }
        ApplyError::InUse { .. } => {
            "nothing is deleted; if that is ending, wait and run this again; if nobody needs it, delete it first".into()
        }
        ApplyError::NoRevision { .. } => "maas-deployer history lists the revisions".into(),
        ApplyError::Pending { .. } => {
            "wait if somebody is at it; if that run was killed, run this again with --recover".into()
        }
        ApplyError::NoNamespace(_) => "make it, or have it made with --create-namespace".into(),
        ApplyError::NamespaceEnding(name) => {
            format!("wait until it is gone: kubectl get namespace {name}; then run this again")
        }
        ApplyError::Refused { hint, .. } => {
            hint.clone().unwrap_or_else(|| "mend what it says, then run this again".into())
        }
        ApplyError::Trouble(trouble) => {
            let what = match trouble.kind {
                TroubleKind::Image => "check the image's name, the registry and its pull secret",
                TroubleKind::Crashes => "mend what its log says",
                TroubleKind::NoNode => "check node labels, taints, and free cpu and memory",
                TroubleKind::Configuration => "make the Secret or ConfigMap that it names",
                TroubleKind::Job | TroubleKind::Workload => "mend what it says",
            };
            format!("{what}, then run this again; more: {}", trouble.next)
        }
        ApplyError::Timeout { next, phase: Some(Phase::Images), .. } => format!(
            "the import goes on in the cluster: run this again to wait for it, with a longer --timeout, or with --no-wait; look at: {next}"
        ),
        ApplyError::Timeout { next, .. } => {
            format!("look at: {next}; then run this again, with a longer --timeout if it only was slow")
        }
    }
}

fn store(error: &StoreError) -> String {
    match error {
        StoreError::Locked { name, .. } => {
            format!("wait until that run is done: maas-deployer history {name}")
        }
        StoreError::TakenOver { name, .. } => {
            format!("see who is at it: maas-deployer history {name}")
        }
        StoreError::Record { source: RecordError::TooLarge { .. }, .. } => {
            "make the values smaller: files in them are better put into ConfigMaps of their own"
                .into()
        }
        StoreError::Record { secret, .. } => {
            format!(
                "restore the Secret from a backup, or delete it and go on: kubectl delete secret {secret}"
            )
        }
        StoreError::Cluster(error) => cluster(error).to_owned(),
    }
}

fn cluster(error: &ClusterError) -> &'static str {
    match error {
        ClusterError::Name { .. } => "correct the name in the values",
        ClusterError::Config(_) => {
            "name a kubeconfig with KUBECONFIG, and a context of it with --kube-context"
        }
        ClusterError::Api { code: 401, .. } => {
            "the kubeconfig's credentials are wrong or have expired: log in anew"
        }
        ClusterError::Api { code: 403, message, .. } if message.contains("exceeded quota") => {
            "have the namespace's ResourceQuota raised, or ask for less in the values: pod.resources, pod.replicas"
        }
        ClusterError::Api { code: 403, message, .. } if message.contains("being terminated") => {
            "the namespace is being deleted: wait until it is gone, then run this again"
        }
        ClusterError::Api { code: 403, .. } => {
            "have your account given that right in the namespace; kubectl auth can-i shows what it has"
        }
        ClusterError::Api { code: 404, .. } => "check that the namespace exists",
        ClusterError::Api { code: 422, message, .. }
            if message.contains("updates to statefulset spec") =>
        {
            "what the volumes are like cannot be changed by an upgrade: leave storage.* as it was; maas-deployer check --pre says how a volume is made larger"
        }
        ClusterError::Api { code: 422, .. } => {
            "Kubernetes does not take that value, or does not let that field be changed: correct the values, or delete the object and run this again"
        }
        ClusterError::Api { .. } => "mend what Kubernetes says, then run this again",
        ClusterError::Transport { .. } => {
            "check the cluster's API server and the way to it, then run this again"
        }
    }
}
