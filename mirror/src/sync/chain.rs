//! What ties the signed files of a stream together.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::MetadataError;
use crate::simplestreams::{Document, Index, RelPath, Timestamp};

/// The way from the index to every file that it names. The caller brings the
/// files and judges their signatures; this checks what no signature covers:
///
/// - a file's `updated` is no older than what was accepted before (rollback);
/// - a products file is the stream that the index announces, and has the
///   products that the index lists (mix and match).
#[derive(Debug)]
pub struct Chain {
    known: BTreeMap<String, Timestamp>,
    allow_older: bool,
    updated: BTreeMap<String, Timestamp>,
    seen: HashSet<RelPath>,
    queue: VecDeque<Wanted>,
}

/// A file that is still to be brought, and what an index says of it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its path.
    pub path: RelPath,
    /// Content id and product ids; `None` for the entry point.
    announced: Option<(String, Vec<String>)>,
}

impl Wanted {
    /// Whether it is the file that the way starts at.
    #[must_use]
    pub fn is_entry(&self) -> bool {
        self.announced.is_none()
    }
}

impl Chain {
    /// Starts at the index `entry`. `known` is the newest `updated` accepted
    /// before, by content id; `allow_older` accepts what is older.
    #[must_use]
    pub fn new(entry: RelPath, known: BTreeMap<String, Timestamp>, allow_older: bool) -> Self {
        Self {
            updated: known.clone(),
            known,
            allow_older,
            seen: HashSet::from([entry.clone()]),
            queue: VecDeque::from([Wanted { path: entry, announced: None }]),
        }
    }

    /// The files to bring next, which do not depend on each other; none at the
    /// end of the way.
    pub fn next_round(&mut self) -> Vec<Wanted> {
        self.queue.drain(..).collect()
    }

    /// How many files were named so far.
    #[must_use]
    pub fn named(&self) -> usize {
        self.seen.len()
    }

    /// The newest `updated` accepted for each content id, up to now.
    #[must_use]
    pub fn into_updated(self) -> BTreeMap<String, Timestamp> {
        self.updated
    }

    /// Takes the file that was wanted, and notes what it names in turn.
    ///
    /// # Errors
    /// [`MetadataError`] says what does not fit.
    pub fn accept(&mut self, wanted: &Wanted, document: &Document) -> Result<(), MetadataError> {
        match (document, &wanted.announced) {
            (Document::Products(_), None) => Err(MetadataError::NotAnIndex),
            (Document::Index(index), _) => {
                // An index has no id of its own; its path names it.
                self.check_age(wanted.path.as_str(), index.updated()?)?;
                self.enqueue(index);
                Ok(())
            }
            (Document::Products(products), Some((announced, ids))) => {
                if products.content_id != *announced {
                    return Err(MetadataError::ContentId {
                        found: products.content_id.clone(),
                        announced: announced.clone(),
                    });
                }
                if let Some(product) = ids.iter().find(|id| !products.products.contains_key(*id)) {
                    return Err(MetadataError::MissingProduct { product: product.clone() });
                }
                self.check_age(announced, products.updated()?)
            }
        }
    }

    /// Refuses what is older than was accepted before under this `id`, and
    /// notes its age.
    fn check_age(&mut self, id: &str, found: Option<Timestamp>) -> Result<(), MetadataError> {
        match (found, self.known.get(id).copied()) {
            (Some(found), Some(known)) if found < known && !self.allow_older => {
                return Err(MetadataError::Older { found, known });
            }
            (None, Some(known)) if !self.allow_older => {
                return Err(MetadataError::NoAge { known });
            }
            (Some(found), _) => {
                self.updated.insert(id.to_owned(), found);
            }
            (None, _) => {}
        }
        Ok(())
    }

    fn enqueue(&mut self, index: &Index) {
        for (content_id, entry) in &index.index {
            let known = matches!(entry.format.as_deref(), Some("products:1.0" | "index:1.0"));
            // The document was parsed, so the path is one.
            let path = entry.path.as_ref().and_then(|path| RelPath::new(path.as_str()).ok());
            let Some(path) = path.filter(|_| known) else {
                continue;
            };
            if self.seen.insert(path.clone()) {
                let products = entry.products.clone().unwrap_or_default();
                let announced = Some((content_id.clone(), products));
                self.queue.push_back(Wanted { path, announced });
            }
        }
    }
}
