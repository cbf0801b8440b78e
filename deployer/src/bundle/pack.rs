//! The file, written.
//!
//! ```text
//! plan: what goes in, in which order, how large  ─  refused here, or:
//! write: each blob hashed on its way; the name comes last
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::client::{FetchError, Options, Resume};
use oci::digest::{Digest, Hasher};
use oci::layout::annotation::REF_NAME;
use oci::layout::{self, Annotations, Descriptor, Index};
use oci::reader::{LayoutReader, Piece};
use oci::registry::Registry;
use oci::tar;
use serde_json::Value;

use super::find::{Blob, Image, Origin};
use super::list::{FileKind, List, ListedChart, ListedFile, ListedImage, SCHEMA, is_file_name};
use super::new_file::{NewFile, folder_of};
use super::{
    BESIDE, BundleError, Event, FILE_ARTIFACT, FORMAT, LIST, Observer, README, annotation, chart,
    readme,
};

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// A try that got this much further starts the count of tries anew: less of a layer in one try
/// is no way to have it.
const PROGRESS: u64 = 64 * 1024;

/// A file that goes into a bundle as it is.
#[derive(Clone, Debug)]
pub struct PlainFile {
    /// What it is.
    pub kind: FileKind,
    /// What it is called in the bundle.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl PlainFile {
    /// A file under the last part of its path.
    ///
    /// # Errors
    /// [`BundleError::FileName`].
    pub fn new(kind: FileKind, path: &Path) -> Result<Self, BundleError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if is_file_name(&name) {
            Ok(Self { kind, name, path: path.to_owned() })
        } else {
            Err(BundleError::FileName(name))
        }
    }
}

impl PlainFile {
    /// What `maas-mirror export` wrote.
    ///
    /// # Errors
    /// [`BundleError::NotAMirrorBundle`], or where it cannot be read.
    pub fn mirror_bundle(path: &Path) -> Result<Self, BundleError> {
        let index = LayoutReader::open(path, BESIDE).and_then(|reader| reader.index());
        let index =
            index.map_err(|source| BundleError::Unreadable { path: path.to_owned(), source })?;
        let index: Value = serde_json::from_slice(&index).unwrap_or_default();
        if index.pointer("/annotations/dev.maas-mirror.bundle").is_none() {
            return Err(BundleError::NotAMirrorBundle(path.to_owned()));
        }
        Self::new(FileKind::MirrorBundle, path)
    }
}

/// What a bundle will be.
#[derive(Debug)]
pub struct Plan {
    /// What is in it.
    pub list: List,
    readme: String,
    index: Vec<u8>,
    listing: Vec<u8>,
    /// In the order in which they are written, each once, with what it is of.
    blobs: Vec<(Blob, String)>,
}

impl Plan {
    /// Images, the chart and files. Reads each file through, for its digest.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn new(images: Vec<Image>, files: &[PlainFile]) -> Result<Self, BundleError> {
        let mut draft = Draft::default();
        let mut listed = Vec::new();
        for image in images {
            listed.push(draft.image(image));
        }
        let chart = draft.chart(chart::pack()?);
        let mut names = BTreeSet::new();
        let mut listed_files = Vec::new();
        for file in files {
            if !names.insert((file.kind, &file.name)) {
                return Err(BundleError::TwoFiles(file.name.clone()));
            }
            listed_files.push(draft.file(file)?);
        }
        let schema = SCHEMA.to_owned();
        let list = List { schema, chart, images: listed, files: listed_files };
        Ok(draft.finish(list))
    }

    /// Files in it, and their bytes.
    #[must_use]
    pub fn content(&self) -> (usize, u64) {
        (self.blobs.len(), super::total(self.blobs.iter().map(|(blob, _)| blob.size)))
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn size(&self) -> u64 {
        let small = [self.readme.len(), layout::LAYOUT.len(), self.index.len(), self.listing.len()];
        let small = small.into_iter().map(|size| size as u64);
        let sizes = small.chain(self.blobs.iter().map(|(blob, _)| blob.size)).map(tar::packed);
        super::total(sizes).saturating_add(tar::END.len() as u64)
    }

    /// Writes it, and gives it its name when it is whole. Returns its digest.
    ///
    /// # Errors
    /// [`BundleError`]; then nothing is left of it.
    pub async fn write(
        &self,
        path: &Path,
        options: &Options,
        observer: &dyn Observer,
    ) -> Result<Digest, BundleError> {
        self.check_space(path)?;
        let (name, file) = NewFile::create(path)?;
        let tar = tar::Writer::new(file);
        let mut out = Out { tar, path, options, observer };
        out.small(README, self.readme.as_bytes())?;
        out.small("oci-layout", layout::LAYOUT.as_bytes())?;
        out.small("index.json", &self.index)?;
        out.small(LIST, &self.listing)?;
        let (files, bytes) = self.content();
        observer.event(&Event::Planned { files, bytes });
        for (blob, of) in &self.blobs {
            out.blob(blob, of).await?;
        }
        let (file, digest, _) =
            out.tar.finish().map_err(|error| BundleError::io("write", path, error))?;
        name.keep(file).await?;
        Ok(digest)
    }

    fn check_space(&self, path: &Path) -> Result<(), BundleError> {
        let folder = folder_of(path);
        let stat = rustix::fs::statvfs(&folder)
            .map_err(|error| BundleError::io("look at", &folder, error.into()))?;
        let (free, needed) = (stat.f_bavail.saturating_mul(stat.f_frsize), self.size());
        if needed > free { Err(BundleError::Space { folder, free, needed }) } else { Ok(()) }
    }
}

/// A plan that is being made.
#[derive(Default)]
struct Draft {
    entries: Vec<Descriptor>,
    manifests: Vec<(Blob, String)>,
    content: Vec<(Blob, String)>,
}

impl Draft {
    fn image(&mut self, image: Image) -> ListedImage {
        let Image { wanted, media_type, manifests, blobs, platforms } = image;
        let name = wanted.place.to_string();
        let mut notes: Annotations = [
            (REF_NAME.to_owned(), name.clone()),
            (annotation::KIND.to_owned(), "image".to_owned()),
            (annotation::IMAGE.to_owned(), wanted.name.given().to_owned()),
            (annotation::CONTAINERD.to_owned(), wanted.name.whole()),
        ]
        .into();
        if !wanted.is_renamed {
            notes.insert(annotation::RENAMED.to_owned(), "false".to_owned());
        }
        let (digest, size) =
            manifests.first().map_or((Digest::of(b""), 0), |it| (it.digest, it.size));
        self.entries.push(Descriptor { media_type, digest, size, annotations: notes });
        let bytes = distinct(manifests.iter().chain(&blobs));
        let named = |blob: Blob| (blob, name.clone());
        self.manifests.extend(manifests.into_iter().map(named));
        self.content.extend(blobs.into_iter().map(named));
        ListedImage {
            image: wanted.name.given().to_owned(),
            renamed: wanted.is_renamed,
            digest,
            platforms: platforms.into_iter().collect(),
            bytes,
            name,
        }
    }

    fn chart(&mut self, packed: chart::Packed) -> ListedChart {
        let name = chart::place();
        let (digest, bytes) = packed.archive;
        self.entry("chart", name.clone(), packed.manifest);
        self.content.extend(packed.blobs.into_iter().map(|blob| (blob, name.clone())));
        ListedChart { name, digest, bytes }
    }

    fn file(&mut self, file: &PlainFile) -> Result<ListedFile, BundleError> {
        let PlainFile { kind, name, path } = file;
        let failed = |error| BundleError::io("read", path, error);
        let opened = Arc::new(File::open(path).map_err(failed)?);
        let size = opened.metadata().map_err(failed)?.len();
        let piece = Piece::new(opened, tar::Place { offset: 0, size });
        let digest = piece.clone().digest().map_err(failed)?;
        let layers = vec![Descriptor::file(name, digest, size)];
        let manifest = layout::Manifest::new(FILE_ARTIFACT, layers, Annotations::new());
        let of = format!("{}/{name}", kind.name());
        self.entry(kind.name(), of.clone(), Blob::of(layout::to_bytes(&manifest)));
        self.content.push((Blob::of(layout::EMPTY_CONFIG.to_vec()), of.clone()));
        let origin = Origin::Pieces(Arc::new(BTreeMap::from([(digest, piece)])));
        self.content.push((Blob { digest, size, origin }, of));
        Ok(ListedFile { kind: *kind, name: name.clone(), digest, bytes: size })
    }

    fn entry(&mut self, kind: &str, name: String, manifest: Blob) {
        let annotations =
            [(REF_NAME.to_owned(), name.clone()), (annotation::KIND.to_owned(), kind.to_owned())];
        let (digest, size) = (manifest.digest, manifest.size);
        let media_type = layout::MANIFEST.to_owned();
        let annotations = annotations.into();
        self.entries.push(Descriptor { media_type, digest, size, annotations });
        self.manifests.push((manifest, name));
    }

    fn finish(self, list: List) -> Plan {
        let format = [(annotation::FORMAT.to_owned(), FORMAT.to_string())];
        let index = layout::to_bytes(&Index::new(self.entries, format.into()));
        let mut seen = BTreeSet::new();
        let mut blobs = self.manifests;
        blobs.extend(self.content);
        blobs.retain(|(blob, _)| seen.insert(blob.digest));
        let readme = readme::text(&list);
        let mut listing = serde_json::to_vec_pretty(&list).unwrap_or_default();
        listing.push(b'\n');
        Plan { list, readme, index, listing, blobs }
    }
}

/// The bytes of different content.
pub(super) fn distinct<'a>(blobs: impl Iterator<Item = &'a Blob>) -> u64 {
    let mut seen = BTreeSet::new();
    super::total(blobs.filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size))
}

/// The archive that is being written.
struct Out<'a> {
    tar: tar::Writer<File>,
    path: &'a Path,
    options: &'a Options,
    observer: &'a dyn Observer,
}

impl Out<'_> {
    fn failed(&self, error: std::io::Error) -> BundleError {
        BundleError::io("write", self.path, error)
    }

    fn small(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        self.tar.file(name, bytes).map_err(|error| BundleError::io("write", self.path, error))
    }

    /// Writes a blob. Its length and its digest must hold.
    async fn blob(&mut self, blob: &Blob, of: &str) -> Result<(), BundleError> {
        let Blob { digest, size, origin } = blob;
        self.observer.event(&Event::Started { digest: *digest, of, size: *size });
        let begun = self.tar.begin(&format!("blobs/sha256/{digest}"), *size);
        begun.map_err(|error| self.failed(error))?;
        let mut copy = Copy { out: self, blob, of, hasher: Hasher::default(), done: 0 };
        match origin {
            Origin::Bytes(bytes) => copy.put(bytes)?,
            Origin::Pieces(pieces) => {
                let piece = pieces.get(digest).cloned();
                copy.all(piece.ok_or_else(|| damaged(of, digest))?).await?;
            }
            Origin::Layout(reader) => {
                let path = reader.path().to_owned();
                let piece = reader.open_blob(digest);
                let piece = piece.map_err(|source| BundleError::Unreadable { path, source })?;
                copy.all(piece).await?;
            }
            Origin::Registry(registry) => copy.fetched(registry).await?,
        }
        let Copy { hasher, done, .. } = copy;
        if done != *size || hasher.finish() != *digest {
            return Err(damaged(of, digest));
        }
        self.tar.end().map_err(|error| self.failed(error))?;
        self.observer.event(&Event::Finished { digest: *digest });
        Ok(())
    }
}

fn damaged(of: &str, digest: &Digest) -> BundleError {
    BundleError::Damaged { of: of.to_owned(), digest: *digest }
}

/// One blob on its way.
struct Copy<'a, 'o> {
    out: &'a mut Out<'o>,
    blob: &'a Blob,
    of: &'a str,
    hasher: Hasher,
    done: u64,
}

impl Copy<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        let done = self.done.saturating_add(bytes.len() as u64);
        if done > self.blob.size {
            return Err(damaged(self.of, &self.blob.digest));
        }
        self.out.tar.write(bytes).map_err(|error| self.out.failed(error))?;
        self.hasher.update(bytes);
        self.done = done;
        let digest = self.blob.digest;
        self.out.observer.event(&Event::Moved { digest, done });
        Ok(())
    }

    /// What a file holds.
    async fn all(&mut self, mut from: impl Read) -> Result<(), BundleError> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).map_err(|_| damaged(self.of, &self.blob.digest))?;
            match buffer.get(..read) {
                Some([]) | None => return Ok(()),
                Some(bytes) => self.put(bytes)?,
            }
            // A signal is heard between two pieces.
            tokio::task::yield_now().await;
        }
    }

    /// What a registry has, over as many tries as it may take: each goes on
    /// where the one before was cut off.
    async fn fetched(&mut self, registry: &Registry) -> Result<(), BundleError> {
        let mut backoff = self.out.options.retry.start();
        loop {
            let before = self.done;
            let error = match self.fetch(registry).await? {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if self.done >= before.saturating_add(PROGRESS) {
                backoff.progressed();
            }
            let Some(pause) = backoff.next(&error) else {
                return Err(BundleError::fetch(self.of, error));
            };
            self.out.observer.event(&Event::Retrying { of: self.of, error: &error, pause });
            tokio::time::sleep(pause).await;
        }
    }

    async fn fetch(&mut self, registry: &Registry) -> Result<Result<(), FetchError>, BundleError> {
        let resume = Resume { from: self.done, etag: None };
        let Blob { digest, size, .. } = self.blob;
        let mut body = match registry.blob(digest, &resume, Some(*size)).await {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        // A server that knows no ranges begins anew: what is there is passed over.
        let mut skip = self.done.saturating_sub(body.start());
        loop {
            let mut chunk = match body.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
            skip -= passed as u64;
            self.put(&chunk.split_off(passed))?;
        }
    }
}
