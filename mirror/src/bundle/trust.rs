//! The importer's own judgement of a bundle's signed files.

use std::collections::BTreeMap;

use super::{BundleError, Contents};
use crate::signature::{Keyring, VerifyError};
use crate::simplestreams::{Document, RelPath, Timestamp};
use crate::store::FileRef;
use crate::sync::{Chain, Limits, MetadataError, Wanted};
use crate::verify::Listed;

/// What a judgement rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    pub(super) keyring: &'a Keyring,
    /// The newest `updated` accepted before, by content id.
    pub(super) known: &'a BTreeMap<String, Timestamp>,
    pub(super) allow_older: bool,
    pub(super) limits: Limits,
}

/// What was proved.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// The newest `updated` of each content id: what was known and what the
    /// bundle brings.
    pub(super) updated: BTreeMap<String, Timestamp>,
    /// Fingerprints of the keys that signed, by path.
    pub(super) signers: Vec<(RelPath, Vec<String>)>,
}

impl Judge<'_> {
    /// Judges each signed file, what ties them together, and that they list
    /// every item. As in a sync, one file that does not hold refuses all.
    pub(super) fn judge(&self, contents: &Contents) -> Result<Proof, BundleError> {
        let files = &contents.content.metadata;
        if files.len() > self.limits.metadata_files {
            let limit = self.limits.metadata_files;
            return Err(BundleError::Stream(format!("there are more than {limit}")));
        }
        let mut listed = Listed::for_items(&contents.content);
        let mut documents = BTreeMap::new();
        let mut signers = Vec::new();
        for file in files {
            let fail = |source: MetadataError| fail(&file.path, source);
            let bytes = contents.metadata.get(&file.digest).map_or(&[][..], Vec::as_slice);
            if bytes.len() as u64 > self.limits.metadata_bytes {
                let limit = self.limits.metadata_bytes;
                return Err(BundleError::TooLarge { what: "a signed file", limit });
            }
            let verified =
                self.keyring.verify(bytes).map_err(|error: VerifyError| fail(error.into()))?;
            let mut document =
                Document::parse(&verified.plaintext).map_err(|error| fail(error.into()))?;
            if let Document::Products(products) = &mut document {
                listed.add(products);
                // Only the names of the products are looked at from here on.
                products.products.values_mut().for_each(|product| product.versions.clear());
            }
            let keys = verified.signers.into_iter().map(|signer| signer.fingerprint);
            signers.push((file.path.clone(), keys.collect()));
            if documents.insert(file.path.clone(), document).is_some() {
                return Err(BundleError::Stream(format!("{} is there twice", file.path)));
            }
        }
        let updated = self.walk(documents)?;
        for file in contents.content.versions.values().flatten() {
            check(&listed, file)?;
        }
        Ok(Proof { updated, signers })
    }

    /// Walks from the index to every file that it names.
    fn walk(
        &self,
        mut documents: BTreeMap<RelPath, Document>,
    ) -> Result<BTreeMap<String, Timestamp>, BundleError> {
        let mut chain = Chain::new(entry(&documents)?, self.known.clone(), self.allow_older);
        loop {
            let round: Vec<Wanted> = chain.next_round();
            if round.is_empty() {
                break;
            }
            for wanted in round {
                let path = &wanted.path;
                let document = documents
                    .remove(path)
                    .ok_or_else(|| BundleError::Stream(format!("{path} is missing")))?;
                chain.accept(&wanted, &document).map_err(|source| fail(path, source))?;
            }
        }
        match documents.into_keys().next() {
            None => Ok(chain.into_updated()),
            Some(path) => Err(BundleError::Stream(format!("no index names {path}"))),
        }
    }
}

fn fail(path: &RelPath, source: MetadataError) -> BundleError {
    BundleError::Metadata { path: path.clone(), source: Box::new(source) }
}

fn check(listed: &Listed, file: &FileRef) -> Result<(), BundleError> {
    let unlisted = |source| BundleError::Unlisted { path: file.path.clone(), source };
    listed.check(file).map_err(unlisted)
}

/// The index that no other index names.
fn entry(documents: &BTreeMap<RelPath, Document>) -> Result<RelPath, BundleError> {
    let indexes = documents.iter().filter_map(|(path, document)| match document {
        Document::Index(index) => Some((path, index)),
        Document::Products(_) => None,
    });
    let named = |path: &RelPath| {
        let mut entries = indexes.clone().flat_map(|(_, index)| index.index.values());
        entries.any(|entry| entry.path.as_deref() == Some(path.as_str()))
    };
    let mut entries = indexes.clone().filter(|(path, _)| !named(path));
    match (entries.next(), entries.next()) {
        (Some((path, _)), None) => Ok(path.clone()),
        (None, _) => Err(BundleError::Stream("there is no index that leads to them".into())),
        (Some(_), Some(_)) => Err(BundleError::Stream("there are several indexes".into())),
    }
}
