//! How the objects of a release stand, phase by phase.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::documents::documents;
use super::error::ApplyError;
use super::phase::Phase;
use super::ready::{self, Readiness};
use super::target::{Kinds, Owner};
use crate::cluster::{Cluster, Place};

/// How many objects are looked at at once.
const AT_ONCE: usize = 8;

/// How an object, or a phase, stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As it should.
    Done,
    /// Not yet.
    Waiting,
    /// It is not there.
    Absent,
    /// It failed for good.
    Failed,
}

impl Standing {
    /// Its name for people and programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Waiting => "waiting",
            Self::Absent => "absent",
            Self::Failed => "failed",
        }
    }
}

/// An object of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// `StatefulSet maas/maas-region`.
    pub what: String,
    /// How it stands.
    pub standing: Standing,
    /// Why it is not done.
    pub reason: Option<String>,
}

/// A phase of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseState {
    /// Which.
    pub phase: Phase,
    /// Its objects.
    pub objects: Vec<Object>,
}

impl PhaseState {
    /// How it stands: as the worst of its objects.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.objects.iter().map(|object| object.standing).max().unwrap_or(Standing::Done)
    }
}

/// The phases of the release `name` in `namespace`, whose record has `manifest`.
///
/// # Errors
/// [`ApplyError`].
pub async fn phases(
    cluster: &Cluster,
    name: &str,
    namespace: &str,
    manifest: &str,
) -> Result<Vec<PhaseState>, ApplyError> {
    let owner = Owner { name: name.to_owned(), namespace: namespace.to_owned() };
    let documents = documents(manifest)?;
    let mut kinds = Kinds::new(cluster);
    kinds.learn(&documents.iter().collect::<Vec<_>>()).await?;
    let mut places = Vec::new();
    for document in &documents {
        let place = kinds.place(document, &owner).await?.map(|(place, _)| place);
        let shown = format!("{} {}", document.kind(), document.name());
        places.push((Phase::of(document), document.kind().to_owned(), shown, place));
    }
    let looked: Vec<(Phase, Object)> = stream::iter(places)
        .map(|(phase, kind, shown, place)| async move {
            let object = match place {
                Some(place) => look(cluster, &kind, &place).await?,
                None => absent(shown, "the cluster does not know its kind"),
            };
            Ok::<_, ApplyError>((phase, object))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let all = Phase::of_all(&documents).into_iter();
    let mut phases: BTreeMap<Phase, Vec<Object>> = all.map(|phase| (phase, Vec::new())).collect();
    for (phase, object) in looked {
        phases.entry(phase).or_default().push(object);
    }
    Ok(phases.into_iter().map(|(phase, objects)| PhaseState { phase, objects }).collect())
}

async fn look(cluster: &Cluster, kind: &str, place: &Place) -> Result<Object, ApplyError> {
    let what = place.shown().to_owned();
    let Some(live) = cluster.object(place).await? else {
        return Ok(absent(what, "it is not there"));
    };
    let (standing, reason) = match ready::of_object(kind, &live) {
        None | Some(Readiness::Ready) => (Standing::Done, None),
        Some(Readiness::Waiting(reason)) => (Standing::Waiting, Some(reason)),
        Some(Readiness::Failed(reason)) => (Standing::Failed, Some(reason)),
    };
    Ok(Object { what, standing, reason })
}

fn absent(what: String, reason: &str) -> Object {
    Object { what, standing: Standing::Absent, reason: Some(reason.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_stands_as_the_worst_of_its_objects() {
        let object = |standing| Object { what: String::new(), standing, reason: None };
        let phase = |all: &[Standing]| {
            let objects = all.iter().copied().map(object).collect();
            PhaseState { phase: Phase::Rack, objects }.standing()
        };
        assert_eq!(phase(&[]), Standing::Done);
        assert_eq!(phase(&[Standing::Done, Standing::Waiting]), Standing::Waiting);
        assert_eq!(phase(&[Standing::Failed, Standing::Absent]), Standing::Failed);
    }
}
