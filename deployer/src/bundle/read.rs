//! The file, read and judged.
//!
//! Everything that describes is read and checked before anything else is done:
//! names, sizes, manifests with their digests, and that all they name is there
//! with the length they say. What is left to be judged is the content of configs,
//! layers and files, by whoever copies it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oci::digest::Digest;
use oci::layout::Annotations;
use oci::layout::annotation::{REF_NAME, TITLE};
use oci::reader::{LayoutReader, ReadError};
use oci::registry::MAX_MANIFEST;
use serde::Deserialize;

use super::list::{FileKind, List, ListedChart, ListedFile, ListedImage, SCHEMA, is_file_name};
use super::manifest::{self, Link, MAX_CONFIG, Manifest};
use super::name::Place;
use super::{BESIDE, BundleError, FILE_ARTIFACT, FORMAT, LIST, annotation, chart};

/// Entries of a bundle's `index.json`: a release has some ten.
const MAX_ENTRIES: usize = 1000;

/// Bytes of all manifests.
const MAX_MANIFESTS: u64 = 64 * 1024 * 1024;

/// A bundle that is open for reading, and whose description holds.
#[derive(Debug)]
pub struct Bundle {
    reader: LayoutReader,
    /// All that its description names, with the lengths that it says.
    named: BTreeMap<Digest, u64>,
    /// What is in it.
    pub list: List,
    /// What goes into a registry: the images, then the chart.
    pub pushed: Vec<Pushable>,
}

/// An image or an artifact that goes into a registry.
#[derive(Clone, Debug)]
pub struct Pushable {
    /// Where it goes.
    pub place: Place,
    /// Its manifest or index.
    pub root: Described,
    /// The manifests that an index leads to.
    pub children: Vec<Described>,
    /// Configs and layers, each once: digest and length.
    pub blobs: Vec<(Digest, u64)>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Described {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
}

/// `index.json`, as others may have written it.
#[derive(Deserialize)]
struct Top {
    manifests: Vec<Entry>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: Annotations,
}

/// The manifest of a file, or of the chart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    #[serde(default)]
    artifact_type: String,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: Annotations,
}

impl Bundle {
    /// Opens a bundle, and judges all that describes it.
    ///
    /// # Errors
    /// [`BundleError`] says what does not hold.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let unreadable = |source| BundleError::Unreadable { path: path.to_owned(), source };
        let reader = LayoutReader::open(path, BESIDE).map_err(unreadable)?;
        let mut survey =
            Survey { path, reader: &reader, left: MAX_MANIFESTS, named: BTreeMap::new() };
        let top = survey.top()?;
        let mut found = Contents::default();
        let mut names = BTreeSet::new();
        for entry in &top.manifests {
            let name = entry.annotations.get(REF_NAME).cloned().unwrap_or_default();
            if !names.insert(name.clone()) {
                return Err(survey.wrong(format!("it has {name:.200} twice")));
            }
            survey.entry(entry, name, &mut found)?;
        }
        let chart = found.chart.ok_or_else(|| survey.wrong("it has no chart".to_owned()))?;
        let schema = SCHEMA.to_owned();
        let list = List { schema, chart, images: found.images, files: found.files };
        survey.same(&list)?;
        let named = survey.named;
        let mut pushed = found.pushed;
        pushed.extend(found.pushed_chart);
        Ok(Self { reader, named, list, pushed })
    }

    /// Where content is read from.
    #[must_use]
    pub fn reader(&self) -> &LayoutReader {
        &self.reader
    }

    /// Reads all content that the description names, and says what does not hold. What
    /// else lies there is somebody else's, as in the folder of a layout.
    ///
    /// # Errors
    /// [`BundleError`], where it cannot be read.
    pub fn damaged(&self, moved: &dyn Fn(u64)) -> Result<Vec<Digest>, BundleError> {
        let path = self.reader.path();
        let unreadable = |source| BundleError::Unreadable { path: path.to_owned(), source };
        let mut damaged = Vec::new();
        for (digest, size) in &self.named {
            let mut piece = self.reader.open_blob(digest).map_err(unreadable)?;
            let read = piece.digest().map_err(|error| BundleError::io("read", path, error))?;
            if read != *digest {
                damaged.push(*digest);
            }
            moved(*size);
        }
        Ok(damaged)
    }
}

#[derive(Default)]
struct Contents {
    images: Vec<ListedImage>,
    files: Vec<ListedFile>,
    chart: Option<ListedChart>,
    pushed: Vec<Pushable>,
    pushed_chart: Option<Pushable>,
}

struct Survey<'a> {
    path: &'a Path,
    reader: &'a LayoutReader,
    /// Bytes that manifests may still have.
    left: u64,
    /// What was named so far.
    named: BTreeMap<Digest, u64>,
}

impl Survey<'_> {
    fn wrong(&self, reason: String) -> BundleError {
        BundleError::Contradiction { path: self.path.to_owned(), reason }
    }

    fn unreadable(&self, source: ReadError) -> BundleError {
        BundleError::Unreadable { path: self.path.to_owned(), source }
    }

    fn top(&self) -> Result<Top, BundleError> {
        let bytes = self.reader.index().map_err(|error| self.unreadable(error))?;
        let top: Top = serde_json::from_slice(&bytes)
            .map_err(|error| self.wrong(format!("its index.json cannot be read: {error}")))?;
        let Some(format) = top.annotations.get(annotation::FORMAT) else {
            return Err(self.wrong("maas-deployer bundle did not write it".to_owned()));
        };
        if !format.parse::<u32>().is_ok_and(|found| found <= FORMAT) {
            let found = format.chars().take(40).collect();
            return Err(BundleError::Newer { path: self.path.to_owned(), found, known: FORMAT });
        }
        if top.manifests.len() > MAX_ENTRIES {
            return Err(self.wrong(format!("it has more than {MAX_ENTRIES} images")));
        }
        Ok(top)
    }

    fn entry(
        &mut self,
        entry: &Entry,
        name: String,
        found: &mut Contents,
    ) -> Result<(), BundleError> {
        let kind = entry.annotations.get(annotation::KIND).map(String::as_str);
        match kind {
            Some("image") => {
                let (pushable, mut listed) = self.image(entry, &name)?;
                let note = |key: &str| entry.annotations.get(key);
                listed.image = note(annotation::IMAGE).cloned().unwrap_or_default();
                listed.renamed = note(annotation::RENAMED).is_none();
                found.images.push(listed);
                found.pushed.push(pushable);
            }
            Some("chart") if found.chart.is_none() => {
                let (pushable, _) = self.image(entry, &name)?;
                let layer = self.only_layer(entry, &name)?;
                if layer.media_type != chart::CONTENT {
                    return Err(self.wrong("its chart is none".to_owned()));
                }
                let (digest, bytes) = (layer.digest, layer.size);
                found.chart = Some(ListedChart { name, digest, bytes });
                found.pushed_chart = Some(pushable);
            }
            Some("program") => found.files.push(self.file(entry, FileKind::Program, &name)?),
            Some("mirror-bundle") => {
                found.files.push(self.file(entry, FileKind::MirrorBundle, &name)?);
            }
            _ => return Err(self.wrong(format!("{name:.200} is of a kind that is not known"))),
        }
        Ok(())
    }

    /// An image, and all that it is made of.
    fn image(&mut self, entry: &Entry, name: &str) -> Result<(Pushable, ListedImage), BundleError> {
        let place: Place =
            name.parse().map_err(|_| self.wrong(format!("{name:.200} is no image's name")))?;
        if place.digest().is_some_and(|digest| *digest != entry.digest) {
            return Err(self.wrong(format!("{name:.200} has another digest")));
        }
        let (media_type, parsed) = self.manifest(&entry.digest, entry.size, name)?;
        if media_type != entry.media_type {
            return Err(self.wrong(format!("{name:.200} is of another kind than its index says")));
        }
        let mut sizes = BTreeMap::from([(entry.digest, entry.size)]);
        let (mut children, mut blobs) = (Vec::new(), Vec::new());
        let mut platforms = BTreeSet::new();
        match parsed {
            Manifest::Image { config, layers } => {
                self.content(name, &config, &layers, &mut sizes, &mut blobs)?;
                platforms.extend(self.platform(&config)?);
            }
            Manifest::Index(links) => {
                for link in links {
                    let (media_type, parsed) = self.manifest(&link.digest, link.size, name)?;
                    let Manifest::Image { config, layers } = parsed else {
                        return Err(self.wrong(format!("{name:.200} is an index of indexes")));
                    };
                    let digest = link.digest;
                    if sizes.insert(digest, link.size).is_none() {
                        children.push(Described { media_type, digest });
                    }
                    self.content(name, &config, &layers, &mut sizes, &mut blobs)?;
                    let platform = link.platform.filter(|platform| platform.os != "unknown");
                    platforms.extend(platform.map(|it| it.text()));
                }
            }
        }
        let listed = ListedImage {
            name: name.to_owned(),
            image: String::new(),
            renamed: true,
            digest: entry.digest,
            platforms: platforms.into_iter().collect(),
            bytes: super::total(sizes.into_values()),
        };
        let root = Described { media_type, digest: entry.digest };
        Ok((Pushable { place, root, children, blobs }, listed))
    }

    fn manifest(
        &mut self,
        digest: &Digest,
        size: u64,
        of: &str,
    ) -> Result<(String, Manifest), BundleError> {
        if size > MAX_MANIFEST || size > self.left {
            return Err(self.wrong(format!("the manifests of {of:.200} are too large")));
        }
        self.left -= size;
        let bytes = self.reader.manifest(digest).map_err(|error| self.unreadable(error))?;
        if bytes.len() as u64 != size {
            return Err(self.wrong(format!("a manifest of {of:.200} has another length")));
        }
        self.named.insert(*digest, size);
        manifest::parse(&bytes).map_err(|error| self.wrong(format!("{of:.200}: {error}")))
    }

    /// Notes config and layers, which must be there with the length that they are
    /// said to have.
    fn content(
        &mut self,
        of: &str,
        config: &Link,
        layers: &[Link],
        sizes: &mut BTreeMap<Digest, u64>,
        blobs: &mut Vec<(Digest, u64)>,
    ) -> Result<(), BundleError> {
        for link in std::iter::once(config).chain(layers) {
            self.named.insert(link.digest, link.size);
            match self.reader.size(&link.digest) {
                None => return Err(self.unreadable(ReadError::NoBlob(link.digest))),
                Some(size) if size != link.size => {
                    return Err(self.wrong(format!("a file of {of:.200} has another length")));
                }
                Some(size) if sizes.insert(link.digest, size).is_none() => {
                    blobs.push((link.digest, size));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn platform(&self, config: &Link) -> Result<Option<String>, BundleError> {
        if config.size > MAX_CONFIG {
            return Ok(None);
        }
        let bytes = self.reader.blob(&config.digest, MAX_CONFIG);
        let bytes = bytes.map_err(|error| self.unreadable(error))?;
        Ok(manifest::platform(&bytes).map(|platform| platform.text()))
    }

    fn file(
        &mut self,
        entry: &Entry,
        kind: FileKind,
        name: &str,
    ) -> Result<ListedFile, BundleError> {
        let (_, parsed) = self.manifest(&entry.digest, entry.size, name)?;
        let layer = self.only_layer(entry, name)?;
        let title = layer.annotations.get(TITLE).cloned().unwrap_or_default();
        if !is_file_name(&title) || *name != format!("{}/{title}", kind.name()) {
            return Err(self.wrong(format!("{title:?} cannot be the name of a file in it")));
        }
        let Manifest::Image { config, layers } = parsed else {
            return Err(self.wrong(format!("{name:.200} is not one file")));
        };
        self.content(name, &config, &layers, &mut BTreeMap::new(), &mut Vec::new())?;
        Ok(ListedFile { kind, name: title, digest: layer.digest, bytes: layer.size })
    }

    fn only_layer(&self, entry: &Entry, name: &str) -> Result<Layer, BundleError> {
        let bytes = self.reader.manifest(&entry.digest).map_err(|error| self.unreadable(error))?;
        let artifact: Artifact = serde_json::from_slice(&bytes)
            .map_err(|error| self.wrong(format!("the manifest of {name:.200}: {error}")))?;
        let is_known = artifact.artifact_type == FILE_ARTIFACT || artifact.artifact_type.is_empty();
        let mut layers = artifact.layers.into_iter();
        match (layers.next(), layers.next()) {
            (Some(layer), None) if is_known => Ok(layer),
            _ => Err(self.wrong(format!("{name:.200} is not one file"))),
        }
    }

    /// That `bundle.json` says the same.
    fn same(&self, list: &List) -> Result<(), BundleError> {
        let Some(bytes) = self.reader.other(LIST).map_err(|error| self.unreadable(error))? else {
            // Other tools leave it out.
            return Ok(());
        };
        let said: List = serde_json::from_slice(&bytes)
            .map_err(|error| self.wrong(format!("its {LIST} cannot be read: {error}")))?;
        if said == *list {
            return Ok(());
        }
        Err(self.wrong(format!("its {LIST} says otherwise than its index.json")))
    }
}
