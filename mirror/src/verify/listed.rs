//! What signed metadata says of the items of a snapshot.

use std::collections::HashMap;

use crate::simplestreams::{Digest, Products, flatten, parse_size};
use crate::store::{Content, FileRef};

/// What signed metadata lists for the paths of one snapshot; of other paths
/// nothing is kept, so that a large stream costs no memory.
#[derive(Debug)]
pub struct Listed {
    paths: HashMap<String, Option<Entry>>,
}

/// Digest and size that are listed; `None` for one that cannot be read.
type Entry = (Option<Digest>, Option<u64>);

/// Why an item has no place in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// Its path is not listed.
    #[error("no signed metadata lists it")]
    Unknown,
    /// Its path is listed, with another digest or size.
    #[error("the signed metadata lists other content for it")]
    Other,
}

impl Listed {
    /// Knows nothing yet of the items of `content`.
    #[must_use]
    pub fn for_items(content: &Content) -> Self {
        let items = content.versions.values().flatten();
        Self { paths: items.map(|file| (file.path.to_string(), None)).collect() }
    }

    /// Adds what a products file lists. The caller has judged its signature.
    pub fn add(&mut self, products: &Products) {
        for item in flatten(products) {
            let Some(known) = item.path().and_then(|path| self.paths.get_mut(path)) else {
                continue;
            };
            if let (Some(sha256), Some(size)) = (item.get("sha256"), item.get("size")) {
                *known = Some((sha256.parse().ok(), parse_size(&size)));
            }
        }
    }

    /// Whether `file` is listed with its path, digest and size.
    ///
    /// # Errors
    /// [`Unlisted`].
    pub fn check(&self, file: &FileRef) -> Result<(), Unlisted> {
        match self.paths.get(file.path.as_str()).copied().flatten() {
            Some((Some(digest), Some(size))) if digest == file.digest && size == file.size => {
                Ok(())
            }
            Some(_) => Err(Unlisted::Other),
            None => Err(Unlisted::Unknown),
        }
    }
}
