//! Which snapshot is exported, and what the other side has of it.

use std::path::Path;

use super::plan::Held;
use super::{BundleError, Contents, Source};
use crate::signature::Keyring;
use crate::simplestreams::{Digest, Document, Products, Selection, select};
use crate::store::{Content, Description, Snapshot, Store, VersionKey};
use crate::sync::{MetadataError, Survey};

/// A snapshot to export.
#[derive(Debug)]
pub struct Chosen {
    /// What it holds.
    pub content: Content,
    /// The blobs that describe it.
    pub description: Description,
    /// Its signed files, in the order of `content`.
    pub metadata: Vec<Vec<u8>>,
}

impl Chosen {
    /// The current snapshot of a store, as it is.
    ///
    /// # Errors
    /// [`BundleError::Empty`], or what the store says.
    pub fn current(store: &Store) -> Result<Self, BundleError> {
        let Snapshot { digest, content } = store.current()?.ok_or(BundleError::Empty)?;
        let description = store.describe(&digest)?;
        let metadata = metadata(store, &content)?;
        Ok(Self { content, description, metadata })
    }

    /// What an upstream publishes, as far as it was selected.
    ///
    /// # Errors
    /// [`BundleError::Description`] where what it publishes cannot be
    /// described.
    pub fn surveyed(survey: Survey) -> Result<Self, BundleError> {
        let Survey { content, mut metadata } = survey;
        let description = content.encode();
        // In the order of the manifests, as whoever reads them has it.
        let wrong = |source| BundleError::Description { what: "the new snapshot", source };
        let content = description.content().map_err(wrong)?;
        let files = content.metadata.iter();
        let metadata = files.filter_map(|file| metadata.remove(&file.digest)).collect();
        Ok(Self { content, description, metadata })
    }

    /// What `selection` takes of the current snapshot. Of the versions that the
    /// store holds, not of all that upstream lists, the newest are counted.
    /// The signed files say what is what, so they are judged first.
    ///
    /// # Errors
    /// As [`Chosen::current`], and what a signature or the selection says.
    pub fn selected(
        store: &Store,
        keyring: &Keyring,
        selection: &Selection,
    ) -> Result<Self, BundleError> {
        let Self { content, metadata, .. } = Self::current(store)?;
        let mut documents = Vec::new();
        for (file, bytes) in content.metadata.iter().zip(&metadata) {
            let fail = |source: MetadataError| BundleError::Metadata {
                path: file.path.clone(),
                source: Box::new(source),
            };
            let verified = keyring.verify(bytes).map_err(|error| fail(error.into()))?;
            let parsed = Document::parse(&verified.plaintext);
            if let Document::Products(products) = parsed.map_err(|error| fail(error.into()))? {
                documents.push(only_held(products, &content));
            }
        }
        let mut versions = std::collections::BTreeMap::<VersionKey, Vec<_>>::new();
        let held = content.by_path();
        for item in select(&documents, selection)? {
            let key = VersionKey { product: item.product, version: item.version };
            if let Some(file) = held.get(&item.path).filter(|file| file.digest == item.sha256) {
                versions.entry(key).or_default().push((*file).clone());
            }
        }
        if versions.is_empty() {
            return Err(BundleError::NothingSelected);
        }
        let content = Content { versions, ..content.clone() };
        Ok(Self { description: content.encode(), content, metadata })
    }
}

/// A products file without the items that are not held.
fn only_held(mut products: Products, content: &Content) -> Products {
    let held: std::collections::BTreeSet<&str> =
        content.files().map(|file| file.path.as_str()).collect();
    for product in products.products.values_mut() {
        for version in product.versions.values_mut() {
            version.items.retain(|_, item| item.path().is_some_and(|path| held.contains(path)));
        }
    }
    products
}

fn metadata(store: &Store, content: &Content) -> Result<Vec<Vec<u8>>, BundleError> {
    let read = content.metadata.iter().map(|file| store.read_blob(&file.digest));
    Ok(read.collect::<Result<_, _>>()?)
}

/// What `--since` names: a bundle, or a snapshot of the store by as many of the
/// first digits of its digest as tell it from the others.
///
/// # Errors
/// [`BundleError::NoBase`], or why the bundle cannot be read.
pub fn since(store: Option<&Store>, text: &str) -> Result<Held, BundleError> {
    let path = Path::new(text);
    if path.exists() {
        let contents = Contents::read(&mut Source::open(path)?, store)?;
        return Ok(Held::of(contents.snapshot, &contents.content, &contents.described));
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_lowercase();
    let none = || BundleError::NoBase(text.chars().take(80).collect());
    let store = store.filter(|_| digits.len() >= 4).ok_or_else(none)?;
    let snapshots = store.snapshots()?;
    let mut found = snapshots.iter().map(|snapshot| snapshot.digest);
    let mut found = found.by_ref().filter(|digest| digest.to_string().starts_with(&digits));
    let (Some(digest), None) = (found.next(), found.next()) else {
        return Err(none());
    };
    held(store, digest)
}

fn held(store: &Store, digest: Digest) -> Result<Held, BundleError> {
    let snapshot = store.load(&digest)?;
    Ok(Held::of(digest, &snapshot.content, &store.description(&digest)?))
}
