//! What an image is made of: its manifests, from wherever it is, and all that they name.

use std::collections::{BTreeMap, BTreeSet};

use oci::digest::Digest;
use oci::reader::{LayoutReader, Piece};
use oci::registry::MAX_MANIFEST;

use super::Observer;
use super::error::Why;
use super::find::{Blob, Finder, Image, Origin};
use super::manifest::{self, Link, MAX_CONFIG, Manifest, ManifestError, Narrowed};
use super::wanted::Wanted;

/// The search for all that one image is made of.
pub(super) struct Search<'a> {
    pub(super) finder: &'a Finder,
    /// What the release calls the image.
    pub(super) of: &'a str,
    pub(super) origin: Origin,
    pub(super) observer: &'a dyn Observer,
}

impl Search<'_> {
    /// Follows what `root`, its manifest or index, names.
    pub(super) async fn run(&self, wanted: &Wanted, root: Vec<u8>) -> Result<Image, Why> {
        let mut image = Image {
            wanted: wanted.clone(),
            media_type: String::new(),
            manifests: Vec::new(),
            blobs: Vec::new(),
            platforms: BTreeSet::new(),
        };
        let (media_type, parsed) = manifest::parse(&root)?;
        image.media_type = media_type;
        match parsed {
            Manifest::Image { config, layers } => {
                self.single(&mut image, root, &config, &layers).await?;
                self.check_platform(&image)?;
            }
            Manifest::Index(links) if self.finder.archs.is_empty() => {
                self.index(&mut image, root, &links).await?;
            }
            Manifest::Index(links) => {
                let narrowed = manifest::narrow(&root, &links, &self.finder.archs)?;
                match narrowed {
                    Some(_) if wanted.name.digest().is_some() => {
                        return Err(ManifestError::Pinned.into());
                    }
                    None => self.index(&mut image, root, &links).await?,
                    Some(Narrowed::Several(root, links)) => {
                        self.index(&mut image, root, &links).await?;
                    }
                    Some(Narrowed::One(link)) => {
                        let root = self.manifest(&link).await?;
                        let (media_type, Manifest::Image { config, layers }) =
                            manifest::parse(&root)?
                        else {
                            return Err(ManifestError::Nested.into());
                        };
                        image.media_type = media_type;
                        self.single(&mut image, root, &config, &layers).await?;
                    }
                }
            }
        }
        Ok(image)
    }

    /// An image for one kind of machines.
    async fn single(
        &self,
        image: &mut Image,
        root: Vec<u8>,
        config: &Link,
        layers: &[Link],
    ) -> Result<(), Why> {
        image.manifests.push(Blob::of(root));
        self.content(image, config, layers)?;
        let bytes = self.config(config).await?;
        image.platforms.extend(manifest::platform(&bytes).map(|it| it.text()));
        Ok(())
    }

    /// That an image for one kind of machines is for those that are asked for.
    fn check_platform(&self, image: &Image) -> Result<(), ManifestError> {
        let archs = &self.finder.archs;
        let is = |arch: &String| {
            image.platforms.iter().any(|text| {
                let mut parts = text.splitn(3, '/').map(str::to_owned);
                let (Some(os), Some(architecture)) = (parts.next(), parts.next()) else {
                    return false;
                };
                manifest::Platform { architecture, os, variant: parts.next() }.is(arch)
            })
        };
        match archs.iter().find(|arch| !is(arch)) {
            // What does not say which machines it is for is for all.
            Some(wanted) if !image.platforms.is_empty() => Err(ManifestError::Platform {
                wanted: wanted.clone(),
                there: manifest::list(image.platforms.iter().cloned().collect()),
            }),
            _ => Ok(()),
        }
    }

    async fn index(&self, image: &mut Image, root: Vec<u8>, links: &[Link]) -> Result<(), Why> {
        image.manifests.push(Blob::of(root));
        for link in links {
            let bytes = self.manifest(link).await?;
            let (_, Manifest::Image { config, layers }) = manifest::parse(&bytes)? else {
                return Err(ManifestError::Nested.into());
            };
            image.manifests.push(Blob::of(bytes));
            self.content(image, &config, &layers)?;
            let platform = link.platform.as_ref().filter(|platform| platform.os != "unknown");
            image.platforms.extend(platform.map(manifest::Platform::text));
        }
        Ok(())
    }

    /// Config and layers, of which a file must have each.
    fn content(&self, image: &mut Image, config: &Link, layers: &[Link]) -> Result<(), Why> {
        for Link { digest, size, .. } in std::iter::once(config).chain(layers) {
            let there = match &self.origin {
                Origin::Layout(reader) => reader.size(digest),
                Origin::Pieces(pieces) => pieces.get(digest).map(Piece::left),
                Origin::Registry(_) | Origin::Bytes(_) => Some(*size),
            };
            if there != Some(*size) {
                return Err(Why::Lacks(*digest));
            }
            let (digest, size, origin) = (*digest, *size, self.origin.clone());
            image.blobs.push(Blob { digest, size, origin });
        }
        Ok(())
    }

    async fn manifest(&self, link: &Link) -> Result<Vec<u8>, Why> {
        let bytes = match &self.origin {
            Origin::Layout(reader) => {
                reader.manifest(&link.digest).map_err(|source| layout(reader, source))?
            }
            Origin::Registry(registry) => {
                let version = link.digest.to_oci();
                let fetch = || registry.manifest(&version, MAX_MANIFEST);
                self.finder.retrying(self.of, self.observer, fetch).await?
            }
            Origin::Pieces(_) | Origin::Bytes(_) => return Err(Why::Lacks(link.digest)),
        };
        let holds = Digest::of(&bytes) == link.digest;
        if holds { Ok(bytes) } else { Err(Why::Digest(link.digest)) }
    }

    /// A config; nothing where it is too large to be one.
    async fn config(&self, link: &Link) -> Result<Vec<u8>, Why> {
        if link.size > MAX_CONFIG {
            return Ok(Vec::new());
        }
        let bytes = match &self.origin {
            Origin::Layout(reader) => {
                reader.blob(&link.digest, MAX_CONFIG).map_err(|source| layout(reader, source))?
            }
            Origin::Pieces(pieces) => read_piece(pieces, &link.digest)?,
            Origin::Registry(registry) => {
                let fetch = || registry.small_blob(&link.digest, link.size);
                self.finder.retrying(self.of, self.observer, fetch).await?
            }
            Origin::Bytes(bytes) => bytes.to_vec(),
        };
        let holds = Digest::of(&bytes) == link.digest;
        if holds { Ok(bytes) } else { Err(Why::Digest(link.digest)) }
    }
}

fn read_piece(pieces: &BTreeMap<Digest, Piece>, digest: &Digest) -> Result<Vec<u8>, Why> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let mut piece = pieces.get(digest).cloned().ok_or(Why::Lacks(*digest))?;
    match piece.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Why::Lacks(*digest)),
    }
}

/// A layout that cannot be read.
pub(super) fn layout(reader: &LayoutReader, source: oci::reader::ReadError) -> Why {
    Why::Layout { path: reader.path().to_owned(), source }
}
