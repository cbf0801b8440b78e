//! Each object tried by itself, by server-side dry run; nothing is written.

use futures_util::{StreamExt as _, stream};

use super::error::{ApplyError, Conflict};
use super::plan::{AT_ONCE, Action, Looked, Planning};
use super::target::{Kinds, Owner, Target, unknown};
use crate::cluster::Cluster;
use crate::manifest::Document;

/// An object, and what the server says of it.
#[derive(Debug)]
pub struct Trial {
    /// `StatefulSet maas-rack`.
    pub what: String,
    /// The template that it comes from.
    pub source: String,
    /// What would be done, or why it cannot be.
    pub outcome: Result<Option<Action>, ApplyError>,
    /// What others set in it beside what the release says; it stays.
    pub beside: Vec<Conflict>,
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
    let planning = Planning { cluster, owner: &owner, force: false };
    let mut kinds = Kinds::new(cluster);
    let all: Vec<&Document> = wanted.iter().chain(held).collect();
    // A version that could not be asked for is asked for again below, and told there.
    let _ = kinds.learn(&all).await;
    // What cannot be placed now was not made either.
    let before = planning.before(&mut kinds, held).await.unwrap_or_default();
    let mut made: Vec<(&Document, Result<Target, ApplyError>)> = Vec::new();
    for document in wanted {
        let target = match kinds.target(document, &owner).await {
            Ok(Some(target)) => Ok(target),
            Ok(None) => Err(unknown(document)),
            Err(error) => Err(error),
        };
        made.push((document, target));
    }
    let (planning, before) = (&planning, &before);
    stream::iter(made)
        .map(async |(document, target)| {
            let looked = match target {
                Ok(target) => planning.look(&target, before.get(target.place.shown())).await,
                Err(error) => Err(error),
            };
            let (outcome, beside) = match looked {
                Ok(Looked { action, beside }) => (Ok(action), beside),
                Err(error) => (Err(error), Vec::new()),
            };
            let what = format!("{} {}", document.kind(), document.name());
            Trial { what, source: document.source.clone(), outcome, beside }
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}
