//! Where each image comes from, and what it is made of.
//!
//! Nothing is fetched here but manifests, and configs where they say which
//! machines an image is for: afterwards it is known what the bundle will hold,
//! how large it is, and what cannot be had, all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci::client::{FetchError, Options};
use oci::digest::Digest;
use oci::reader::{LayoutReader, Piece};
use oci::registry::{MAX_MANIFEST, Registry, Version};

use super::archive::{Found, ImageFile};
use super::error::{BundleError, Missing, Why};
use super::manifest::{self, KINDS};
use super::name::ImageName;
use super::search::{Search, layout};
use super::wanted::Wanted;
use super::{Event, Observer};

/// An archive that was named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromArchive {
    /// For which image; without one, for all that it has by name.
    pub image: Option<String>,
    /// The archive or the layout.
    pub path: PathBuf,
}

/// Where content comes from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A repository of a registry.
    Registry(Arc<Registry>),
    /// An image layout.
    Layout(Arc<LayoutReader>),
    /// Pieces of an archive.
    Pieces(Arc<BTreeMap<Digest, Piece>>),
    /// It is at hand.
    Bytes(Arc<Vec<u8>>),
}

/// Content that goes into a bundle.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Where it comes from.
    pub origin: Origin,
}

impl Blob {
    /// Content that is at hand.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Self { digest, size, origin: Origin::Bytes(Arc::new(bytes)) }
    }
}

/// An image, and all that it is made of.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it is called, and where it goes.
    pub wanted: Wanted,
    /// The media type of its manifest or index.
    pub media_type: String,
    /// Its manifest or index, then the manifests that an index leads to.
    pub manifests: Vec<Blob>,
    /// Configs and layers.
    pub blobs: Vec<Blob>,
    /// Which machines it is for, for people.
    pub platforms: BTreeSet<String>,
}

/// Where images are looked for.
#[derive(Debug)]
pub struct Finder {
    options: Options,
    http: reqwest::Client,
    pub(super) archs: Vec<String>,
    /// By what the release calls the image.
    files: BTreeMap<String, Arc<ImageFile>>,
    /// For whatever they have by name.
    any: Vec<Arc<ImageFile>>,
}

impl Finder {
    /// Looks in `archives` first, then in the registries that the names say.
    ///
    /// # Errors
    /// [`BundleError::NoSuchImage`] where an archive is for an image that is not
    /// wanted, [`BundleError::NotWanted`] where it has none that is.
    pub fn new(
        wanted: &[Wanted],
        archives: &[FromArchive],
        archs: &[String],
        options: &Options,
    ) -> Result<Self, BundleError> {
        let http = oci::client::http_client(options)?;
        let (options, archs) = (options.clone(), archs.to_vec());
        let (mut files, mut any, mut bad) = (BTreeMap::new(), Vec::new(), Vec::new());
        for FromArchive { image, path } in archives {
            // By its whole name, or by what is left of it under a registry.
            let is = |image: &String, one: &Wanted| {
                one.name.given() == image || one.place.to_string() == *image
            };
            let known = |image: &String| wanted.iter().find(|one| is(image, one));
            let image = match image.as_ref().map(|image| (image, known(image))) {
                Some((image, None)) => return Err(BundleError::NoSuchImage(image.clone())),
                Some((_, Some(one))) => Some(one.name.given().to_owned()),
                None => None,
            };
            let file = match ImageFile::open(path) {
                Ok(file) => Arc::new(file),
                Err(why) => {
                    let image = image.unwrap_or_else(|| path.display().to_string());
                    bad.push(Missing { image, why });
                    continue;
                }
            };
            match image {
                Some(image) => drop(files.insert(image, file)),
                None => any.push(file),
            }
        }
        if !bad.is_empty() {
            return Err(BundleError::Missing(bad));
        }
        for file in &any {
            let has = |one: &Wanted| file.named(&one.name).is_ok_and(|found| found.is_some());
            if !wanted.iter().any(has) {
                let (path, holds) = (file.path().to_owned(), manifest::list(file.names()));
                return Err(BundleError::NotWanted { path, holds });
            }
        }
        Ok(Self { options, http, archs, files, any })
    }

    /// Finds all images, or says which cannot be had, all of them.
    ///
    /// # Errors
    /// [`BundleError::Missing`].
    pub async fn find(
        &self,
        wanted: &[Wanted],
        observer: &dyn Observer,
    ) -> Result<Vec<Image>, BundleError> {
        let looked = wanted.iter().map(|one| async {
            let found = self.image(one, observer).await;
            found.map_err(|why| Missing { image: one.name.given().to_owned(), why })
        });
        let (mut images, mut missing) = (Vec::new(), Vec::new());
        for found in futures_util::future::join_all(looked).await {
            match found {
                Ok(image) => images.push(image),
                Err(one) => missing.push(one),
            }
        }
        if missing.is_empty() { Ok(images) } else { Err(BundleError::Missing(missing)) }
    }

    async fn image(&self, wanted: &Wanted, observer: &dyn Observer) -> Result<Image, Why> {
        let name = &wanted.name;
        let given = match self.files.get(name.given()) {
            Some(file) => Some(file.given_for(name)?),
            None => {
                let mut named = self.any.iter().map(|file| file.named(name));
                named.find_map(Result::transpose).transpose()?
            }
        };
        let (root, origin) = match given {
            Some(Found::Layout(reader, digest)) => {
                let root = reader.manifest(&digest).map_err(|source| layout(&reader, source))?;
                (root, Origin::Layout(reader))
            }
            Some(Found::Docker(root, pieces)) => (root, Origin::Pieces(Arc::new(pieces))),
            None => self.in_registry(wanted, observer).await?,
        };
        if let Some(digest) = name.digest()
            && Digest::of(&root) != *digest
        {
            return Err(Why::Digest(*digest));
        }
        let search = Search { finder: self, of: name.given(), origin, observer };
        search.run(wanted, root).await
    }

    async fn in_registry(
        &self,
        wanted: &Wanted,
        observer: &dyn Observer,
    ) -> Result<(Vec<u8>, Origin), Why> {
        let reference = wanted.name.reference()?;
        let registry = Registry::new(self.http.clone(), &reference, &self.options)?;
        let registry = Arc::new(registry.accepting(KINDS));
        let version = reference.version();
        let fetch = || registry.manifest(&version, MAX_MANIFEST);
        let bytes = self.retrying(wanted.name.given(), observer, fetch).await;
        let bytes = bytes.map_err(|error| absent(error, &wanted.name))?;
        match reference.wanted() {
            Version::Digest(digest) if Digest::of(&bytes) != *digest => Err(Why::Digest(*digest)),
            _ => Ok((bytes, Origin::Registry(registry))),
        }
    }

    pub(super) async fn retrying<T, F: Future<Output = Result<T, FetchError>>>(
        &self,
        of: &str,
        observer: &dyn Observer,
        attempt: impl Fn() -> F,
    ) -> Result<T, FetchError> {
        let on_retry = |error: &FetchError, pause: Duration| {
            observer.event(&Event::Retrying { of, error, pause });
        };
        self.options.retry.run(on_retry, attempt).await
    }
}

/// That nothing is there, of the name by which it was looked for.
fn absent(error: FetchError, name: &ImageName) -> Why {
    match error {
        FetchError::Status { status: http::StatusCode::NOT_FOUND, .. } => {
            let whole = name.whole();
            if whole == name.given() { Why::Absent } else { FetchError::NoSuchTag(whole).into() }
        }
        other => other.into(),
    }
}
