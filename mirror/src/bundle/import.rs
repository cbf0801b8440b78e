//! A bundle on its way into a store.
//!
//! 1. What describes the bundle is read, and its signed files are judged with
//!    the importer's keyring; every item must be listed by them. Until here
//!    nothing was written.
//! 2. Items that the store lacks go through the store's partials, each under
//!    its digest; ranges of items that were cut, through an assembly.
//! 3. Where the snapshot is whole now, it is published, as a sync would. Where
//!    it is not, what was brought is kept, and what is still to come is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cargo::Cargo;
use super::trust::Judge;
use super::{Base, BundleError, Contents, Part, Piece, Progress, Source};
use crate::signature::Keyring;
use crate::simplestreams::Digest;
use crate::store::{Collected, Content, IMPORTS, Store, Writer};
use crate::sync::Limits;
use crate::total;

/// What an import accepts.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Accepts metadata older than what was accepted before.
    pub allow_older: bool,
    /// How long replaced snapshots are kept.
    pub grace: Duration,
    /// What a bundle may make large.
    pub limits: Limits,
}

/// An import into one store.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// The store.
    pub writer: &'a Writer,
    /// Whose signatures count.
    pub keyring: &'a Keyring,
    /// What is accepted.
    pub options: Options,
}

/// What came of one bundle, or part of one.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The snapshot that it is of, as it is published here.
    pub snapshot: Digest,
    /// What the store has of it now.
    pub state: State,
    /// Items of the snapshot, each content once.
    pub items: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Items, or ranges of items, that this brought.
    pub added: usize,
    /// Their bytes.
    pub added_bytes: u64,
    /// What was removed after the publish.
    pub collected: Collected,
    /// Why old snapshots could not be removed, where that is so.
    pub not_collected: Option<String>,
}

/// What a store has of a bundle's snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum State {
    /// All of it, and it is current now.
    Published,
    /// All of it, and it was current before.
    Unchanged,
    /// Some parts are still to come.
    Waiting {
        /// Names the bundle.
        set: Digest,
        /// How many parts it has.
        count: u32,
        /// The parts that did not come yet.
        missing: Vec<u32>,
    },
    /// Every part came, and the base that they build on is not here.
    MissingBase {
        /// That base.
        base: Base,
    },
    /// Every part came, and something that earlier ones brought is gone.
    Lost,
}

/// A bundle of which some parts came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Names the bundle.
    pub set: Digest,
    /// The snapshot that it is of.
    pub snapshot: Digest,
    /// How many parts it has.
    pub count: u32,
    /// The parts that came.
    pub came: BTreeSet<u32>,
}

impl Pending {
    /// The bundles of which parts are still to come. One whose snapshot the
    /// store has by now, from a sync or another bundle, waits for nothing.
    #[must_use]
    pub fn of(store: &Store) -> Vec<Self> {
        let mut pending: Vec<Self> = store.kept(IMPORTS).unwrap_or_default();
        let held = store.snapshots().unwrap_or_default();
        pending.retain(|pending| held.iter().all(|held| held.digest != pending.snapshot));
        pending
    }

    /// The parts that did not come yet.
    #[must_use]
    pub fn missing(&self) -> Vec<u32> {
        // The count is as the part gave it, and limited there.
        (1..=self.count).filter(|number| !self.came.contains(number)).collect()
    }
}

impl Import<'_> {
    /// Takes one bundle, or one part of one.
    ///
    /// # Errors
    /// [`BundleError`]; the snapshot that was current stays so.
    pub fn take(
        &self,
        source: &mut Source,
        progress: Progress<'_>,
    ) -> Result<Imported, BundleError> {
        let store = self.writer.store();
        let contents = Contents::read(source, Some(store))?;
        let known = store.newest_updated()?;
        let Options { allow_older, limits, .. } = self.options;
        let judge = Judge { keyring: self.keyring, known: &known, allow_older, limits };
        let proof = judge.judge(&contents)?;

        let lacking = self.lacking(&contents);
        let mut cargo = Cargo::new(self.writer, &contents, &lacking)?;
        cargo.check(&lacking)?;
        cargo.unload(source, progress)?;
        let (added, added_bytes) = (cargo.came.len(), cargo.bytes);
        drop(cargo);

        let content = Content { updated: proof.updated, ..contents.content.clone() };
        let items = contents.items();
        let mut imported = Imported {
            snapshot: content.encode().digest(),
            state: State::Unchanged,
            items: items.len(),
            bytes: total(items.iter().map(|item| item.size)),
            added,
            added_bytes,
            collected: Collected::default(),
            not_collected: None,
        };
        if let Some(state) = self.waits(&contents)? {
            imported.state = state;
        } else {
            self.publish(&contents, &content, &mut imported)?;
        }
        Ok(imported)
    }

    /// The items that the store lacks.
    fn lacking(&self, contents: &Contents) -> BTreeMap<Digest, Piece> {
        let held = |piece: &Piece| self.writer.store().has_blob(&piece.digest, piece.size);
        let items = contents.items().into_iter().filter(|piece| !held(piece));
        items.map(|piece| (piece.digest, piece)).collect()
    }

    /// Notes a part that came. What the snapshot still waits for; `None` where
    /// it is whole.
    fn waits(&self, contents: &Contents) -> Result<Option<State>, BundleError> {
        let mut pending = Pending::of(self.writer.store());
        let before = pending.len();
        let lacks = !self.lacking(contents).is_empty();
        let state = match &contents.part {
            Some(part) if lacks => Some(note(&mut pending, part)),
            _ => {
                pending.retain(|pending| pending.snapshot != contents.snapshot);
                None
            }
        };
        if state.is_some() || pending.len() != before {
            self.writer.keep(IMPORTS, &pending)?;
        }
        Ok(state)
    }

    fn publish(
        &self,
        contents: &Contents,
        content: &Content,
        imported: &mut Imported,
    ) -> Result<(), BundleError> {
        self.writer.put_all(contents.metadata.values().map(Vec::as_slice))?;
        let now = jiff::Timestamp::now();
        let published = self.writer.publish(content, now)?;
        imported.snapshot = published.digest;
        if published.changed {
            imported.state = State::Published;
        }
        // It is served by now: what cannot be removed is no failure.
        match self.writer.collect(self.options.grace, now) {
            Ok(collected) => imported.collected = collected,
            Err(error) => imported.not_collected = Some(crate::chain(&error)),
        }
        Ok(())
    }
}

/// Adds a part to those that came; what is still to come.
fn note(pending: &mut Vec<Pending>, part: &Part) -> State {
    let Part { number, count, set, snapshot, .. } = *part;
    if !pending.iter().any(|pending| pending.set == set && pending.count == count) {
        pending.push(Pending { set, snapshot, count, came: BTreeSet::new() });
    }
    let at = pending.iter().position(|pending| pending.set == set && pending.count == count);
    let missing: Vec<u32> = match at.and_then(|at| pending.get_mut(at)) {
        Some(pending) => {
            pending.came.insert(number);
            pending.missing()
        }
        None => Vec::new(),
    };
    if !missing.is_empty() {
        return State::Waiting { set, count, missing };
    }
    pending.retain(|pending| pending.set != set);
    match &part.base {
        Some(base) => State::MissingBase { base: base.clone() },
        None => State::Lost,
    }
}
