//! Whether an installation would work, before it; whether one works, after it.
//!
//! | part | judges |
//! |---|---|
//! | `report` | nothing: checks, their groups and states |
//! | `workloads`, `known` | nothing: what is to run; the kinds that the cluster knows |
//! | `server` | the API server: reachable, version, clock; the namespace |
//! | `rights` | what this account may do |
//! | `objects` | what the server says of each object |
//! | `secrets`, `certificates` | Secrets that pods mount; when certificates end |
//! | `fit`, `nodes` | nodes: labels, taints, room, ports |
//! | `storage` | storage classes, volumes that are there, their passwords |
//! | `security` | Pod Security admission |
//! | `probe` | nothing: pods that look from inside, and go |
//! | `database`, `pulls` | the database and the images, by probes |
//! | `leftovers` | what is in the way |
//! | `installed` | a release that is there |
//!
//! What judges is told what there is, and asks for nothing: [`Checking`] asks, in `gather`,
//! `inside` and `present`.

mod certificates;
mod database;
mod fit;
mod gather;
mod inside;
mod installed;
mod known;
mod leftovers;
mod nodes;
mod objects;
mod present;
mod probe;
mod pulls;
mod report;
mod rights;
mod secrets;
mod security;
mod server;
mod storage;
mod workloads;

use std::time::Duration;

use crate::cluster::{Cluster, ClusterError};
use probe::Probes;

pub use report::{Check, Group, Report, Status};

/// The release that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Its name.
    pub release: String,
    /// Its namespace.
    pub namespace: String,
}

/// How it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether pods may be made that look from inside the cluster.
    pub pods: bool,
    /// Whether such pods also look at the network of nodes.
    pub nodes: bool,
    /// How long such a pod may take.
    pub limit: Duration,
}

/// Checks of one release.
pub struct Checking<'a> {
    cluster: &'a Cluster,
    names: &'a Names,
    options: Options,
    probes: Probes<'a>,
}

impl<'a> Checking<'a> {
    /// Checks of a release on a cluster.
    #[must_use]
    pub fn new(cluster: &'a Cluster, names: &'a Names, options: Options) -> Self {
        Self { cluster, names, options, probes: Probes::new(cluster, names, options.limit) }
    }

    /// Removes what was made to look: to be called however the checks ended. Says what could not
    /// be removed; the cluster does it a little later.
    pub async fn clean(&self) -> Vec<String> {
        self.probes.clean().await
    }
}

/// The groups of `check --pre` and of `check`: names, and names for people.
const PRE: [(&str, &str); 9] = [
    ("kubernetes", "Kubernetes"),
    ("rights", "Rights"),
    ("objects", "Values and objects"),
    ("nodes", "Nodes"),
    ("storage", "Storage"),
    ("security", "Pod Security admission"),
    ("database", "Database"),
    ("images", "Images"),
    ("leftovers", "Leftovers"),
];
const PRESENT: [(&str, &str); 7] = [
    ("kubernetes", "Kubernetes"),
    ("release", "Release"),
    ("workloads", "Workloads"),
    ("secrets", "Secrets"),
    ("certificates", "Certificates"),
    ("maas", "MAAS"),
    ("drift", "Drift"),
];

/// The report where there is no cluster to ask.
#[must_use]
pub fn without_cluster(error: &ClusterError, is_pre: bool) -> Report {
    let groups = if is_pre { &PRE[..] } else { &PRESENT[..] };
    let first = Group::new("kubernetes", "Kubernetes", vec![server::unreachable(error)]);
    let others = groups.iter().skip(1).map(|(id, title)| {
        let check = Check::skip(format!("{id}.all"), *title, "there is no cluster to ask");
        Group::new(id, title, vec![check])
    });
    Report { groups: std::iter::once(first).chain(others).collect() }
}
