//! Each object tried by itself, by server-side dry run; nothing is written.

use futures_util::{StreamExt as _, stream};

use super::error::ApplyError;
use super::plan::{Action, Planning};
use super::target::{Kinds, Owner, Target};
use crate::cluster::Cluster;
use crate::manifest::Document;

/// How many objects are tried at once.
const AT_ONCE: usize = 8;

/// An object, and what the server says of it.
#[derive(Debug)]
pub struct Trial {
    /// `StatefulSet maas-rack`.
    pub what: String,
    /// The template that it comes from.
    pub source: String,
    /// What would be done, or why it cannot be.
    pub outcome: Result<Option<Action>, ApplyError>,
}

/// Tries every object of `wanted`, where the release has had the objects `held`.
pub async fn try_each(
    cluster: &Cluster,
    name: &str,
    namespace: &str,
    wanted: &[Document],
    held: &[Document],
) -> Vec<Trial> {
    let owner = Owner { name: name.to_owned(), namespace: namespace.to_owned() };
    let mut kinds = Kinds::new(cluster);
    let all: Vec<&Document> = wanted.iter().chain(held).collect();
    // A version that could not be asked for is asked for again below, and told there.
    let _ = kinds.learn(&all).await;
    let mut trials = Vec::new();
    let mut ready: Vec<(usize, Target, Option<Target>)> = Vec::new();
    for (at, document) in wanted.iter().enumerate() {
        let is_same = |old: &&Document| {
            let key = |one: &Document| {
                (one.kind().to_owned(), one.name().to_owned(), one.namespace().map(str::to_owned))
            };
            key(old) == key(document)
        };
        let before = held.iter().find(is_same);
        let outcome = match target(&mut kinds, document, &owner).await {
            Ok(made) => {
                let before = match before {
                    Some(before) => target(&mut kinds, before, &owner).await.ok(),
                    None => None,
                };
                ready.push((at, made, before));
                Ok(None)
            }
            Err(error) => Err(error),
        };
        let what = format!("{} {}", document.kind(), document.name());
        trials.push(Trial { what, source: document.source.clone(), outcome });
    }
    let planning = Planning { cluster, owner: &owner, force: false };
    let outcomes: Vec<(usize, Result<Option<Action>, ApplyError>)> = stream::iter(ready)
        .map(|(at, target, before)| {
            let planning = &planning;
            async move { (at, tried(planning, &target, before.as_ref()).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (at, outcome) in outcomes {
        if let Some(trial) = trials.get_mut(at) {
            trial.outcome = outcome;
        }
    }
    trials
}

async fn target(
    kinds: &mut Kinds<'_>,
    document: &Document,
    owner: &Owner,
) -> Result<Target, ApplyError> {
    let targets = kinds.targets(std::slice::from_ref(document), owner).await?;
    targets.into_iter().next().ok_or_else(|| ApplyError::UnknownKind {
        kind: document.kind().to_owned(),
        api_version: document.api_version().to_owned(),
        name: document.name().to_owned(),
    })
}

async fn tried(
    planning: &Planning<'_>,
    target: &Target,
    before: Option<&Target>,
) -> Result<Option<Action>, ApplyError> {
    let old = before.map(|before| &before.object);
    let action = planning.action(target, old, before.is_some()).await?;
    if action == Some(Action::Create) {
        // A plan only looks whether it is there.
        planning.fairly(target, true).await?;
    }
    Ok(action)
}
