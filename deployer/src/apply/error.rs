//! Why a release cannot be brought to the cluster.

use std::time::Duration;

use super::documents::ManifestError;
use super::phase::Phase;
use super::target::Owner;
use super::trouble::Trouble;
use crate::cluster::ClusterError;
use crate::release::StoreError;
use crate::wait::spoken;

/// A field that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who, by the name it writes with.
    pub manager: String,
    /// Which field.
    pub field: String,
}

/// Why a release cannot be brought to the cluster, or taken from it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Kubernetes refused, or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Kubernetes refused before anything was changed: mostly a dry run.
    #[error(transparent)]
    NotTaken(ClusterError),
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A manifest is not what it should be.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The cluster does not know a kind.
    #[error("the cluster knows no {kind} of {api_version}, which {name} is to be")]
    UnknownKind {
        /// The kind.
        kind: String,
        /// Its group and version.
        api_version: String,
        /// The object.
        name: String,
    },
    /// An object does not say what it is, or how it is called.
    #[error("{what} of {template} {lack}")]
    Incomplete {
        /// The object: `hook Secret number 2`.
        what: String,
        /// The template that it comes from.
        template: String,
        /// What it lacks.
        lack: String,
    },
    /// An object is there that another made.
    #[error("the {what} is there already, and {}", of(owner.as_ref()))]
    Foreign {
        /// The object.
        what: String,
        /// The release it is of.
        owner: Option<Owner>,
    },
    /// Fields belong to others.
    #[error("others own fields of the {what} that the release sets")]
    Conflicts {
        /// The object.
        what: String,
        /// Which fields, and whose.
        conflicts: Vec<Conflict>,
    },
    /// Passwords of the values cannot be looked for.
    #[error("cannot hide the passwords that the values hold: {0}")]
    Mask(String),
    /// The release is there already.
    #[error("the release {name} is there already: revision {revision}, {status}")]
    Exists {
        /// Its name.
        name: String,
        /// Its newest revision.
        revision: u32,
        /// That revision's state.
        status: &'static str,
    },
    /// The release is not there.
    #[error("there is no release {name} in the namespace {namespace}")]
    Absent {
        /// Its name.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// The record of a release is gone, while something needs what it left.
    #[error("there is no record of the release {name}, but what needs its data: {by}")]
    InUse {
        /// Its name.
        name: String,
        /// What: `the StatefulSet maas/maas-region`.
        by: String,
    },
    /// A revision is not there.
    #[error("the release {name} has no revision {revision}; it has {there}")]
    NoRevision {
        /// The release.
        name: String,
        /// What was asked for.
        revision: u32,
        /// What is there.
        there: String,
    },
    /// A revision that was never finished.
    #[error("revision {revision} of {name} is {status} since {age}, begun by {by}")]
    Pending {
        /// The release.
        name: String,
        /// The revision.
        revision: u32,
        /// Its state.
        status: &'static str,
        /// When it was begun, for people.
        age: String,
        /// By whom.
        by: String,
    },
    /// Somebody else changed the release while this run looked at it.
    #[error("somebody else made revision {revision} of {name} just now")]
    Moved {
        /// The release.
        name: String,
        /// Its newest revision.
        revision: u32,
    },
    /// The namespace is not there.
    #[error("the namespace {0} is not there")]
    NoNamespace(String),
    /// The namespace is being removed.
    #[error("the namespace {0} is being deleted")]
    NamespaceEnding(String),
    /// A hook refused; it had changed nothing.
    #[error("the hook {hook} refuses: {reason}")]
    Refused {
        /// The hook's object.
        hook: String,
        /// What it said.
        reason: String,
        /// What it advised.
        hint: Option<String>,
    },
    /// A workload or a hook cannot become what it should.
    #[error(transparent)]
    Trouble(Box<Trouble>),
    /// Others are in the way, after a part was changed.
    #[error(transparent)]
    Midway(Box<ApplyError>),
    /// The time is over.
    #[error("waited {} in all for {what}; the last state was: {last}", spoken(*waited))]
    Timeout {
        /// What for.
        what: String,
        /// In which phase; none where it is no workload's.
        phase: Option<Phase>,
        /// How long, in all.
        waited: Duration,
        /// How it stood.
        last: String,
        /// What else is known: events, the end of a log, what else was not ready.
        others: Vec<String>,
        /// The command that shows more.
        next: String,
    },
}

impl ApplyError {
    /// The same before anything was changed: what the server says then is its verdict on what
    /// is wanted.
    pub(super) fn before_anything(self) -> Self {
        match self {
            Self::Cluster(error) | Self::Store(StoreError::Cluster(error))
                if error.is_verdict() =>
            {
                Self::NotTaken(error)
            }
            other => other,
        }
    }

    /// The same once a part was changed: what is a refusal before is a failure then. A hook
    /// that refuses has changed nothing, whenever it runs.
    pub(super) fn midway(self) -> Self {
        match self {
            Self::Conflicts { .. } | Self::Foreign { .. } => Self::Midway(Box::new(self)),
            other => other,
        }
    }
}

fn of(owner: Option<&Owner>) -> String {
    match owner {
        Some(owner) => format!("is of the release {} in {}", owner.name, owner.namespace),
        None => "is of no release".to_owned(),
    }
}
