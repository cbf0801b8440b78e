//! Images in files: what `docker save` and `podman save` write, OCI archives,
//! folders of OCI image layouts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::digest::Digest;
use oci::layout::annotation::REF_NAME;
use oci::layout::{self, Annotations};
use oci::reader::{LayoutReader, Piece, ReadError};
use oci::registry::MAX_MANIFEST;
use oci::tar::{self, Place};
use serde::Deserialize;
use serde_json::json;

use super::error::Why;
use super::manifest::{self, MAX_CONFIG};
use super::name::ImageName;
use super::{BESIDE, annotation};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A file or a folder with images.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Layout(Arc<LayoutReader>, Vec<Entry>),
    Docker(Docker),
}

/// An entry of `index.json`.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    digest: Digest,
    #[serde(default)]
    annotations: Annotations,
}

/// An image of a file.
#[derive(Debug)]
pub enum Found {
    /// In an OCI layout, under this digest.
    Layout(Arc<LayoutReader>, Digest),
    /// In an archive of Docker's: its manifest, which is made anew, and where
    /// config and layers lie.
    Docker(Vec<u8>, BTreeMap<Digest, Piece>),
}

impl ImageFile {
    /// Opens it, and reads what images it holds.
    ///
    /// # Errors
    /// [`Why`] it cannot be used.
    pub fn open(path: &Path) -> Result<Self, Why> {
        let layout_error = |source| Why::Layout { path: path.to_owned(), source };
        let failed = |source| layout_error(ReadError::Io { path: path.to_owned(), source });
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            let file = File::open(path).map_err(failed)?;
            if is_gzip(&file, 0).map_err(failed)? {
                let reason = "it is compressed as a whole: unpack it with gunzip".to_owned();
                return Err(Why::Archive { path: path.to_owned(), reason });
            }
            let tar_error = |source| Why::Tar { path: path.to_owned(), source };
            let files = tar::list(&file).map_err(tar_error)?;
            if !files.contains_key("index.json") {
                let kind = Kind::Docker(Docker::open(path, file, files)?);
                return Ok(Self { path: path.to_owned(), kind });
            }
        }
        let reader = LayoutReader::open(path, BESIDE).map_err(layout_error)?;
        let entries = entries(&reader.index().map_err(layout_error)?)
            .map_err(|reason| Why::Archive { path: path.to_owned(), reason })?;
        Ok(Self { path: path.to_owned(), kind: Kind::Layout(Arc::new(reader), entries) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its images.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match &self.kind {
            Kind::Layout(_, entries) => entries.iter().flat_map(Entry::names).collect(),
            Kind::Docker(docker) => {
                docker.images.iter().flat_map(|image| image.repo_tags.clone()).collect()
            }
        }
    }

    /// The image that has that name, whatever registry it names.
    ///
    /// # Errors
    /// [`Why`] it cannot be used.
    pub fn named(&self, name: &ImageName) -> Result<Option<Found>, Why> {
        let is_it = |text: &str| text.parse().is_ok_and(|other| name.is_same_under(&other));
        match &self.kind {
            Kind::Layout(reader, entries) => {
                let found = entries.iter().find(|entry| entry.names().any(|text| is_it(&text)));
                Ok(found.map(|entry| Found::Layout(Arc::clone(reader), entry.digest)))
            }
            Kind::Docker(docker) => {
                let has = |image: &&DockerImage| image.repo_tags.iter().any(|tag| is_it(tag));
                docker
                    .images
                    .iter()
                    .find(has)
                    .map(|image| docker.found(&self.path, image))
                    .transpose()
            }
        }
    }

    /// The image that is meant by a file that was given for `name`: the one of
    /// that name, else the only one.
    ///
    /// # Errors
    /// [`Why`] it cannot be used.
    pub fn given_for(&self, name: &ImageName) -> Result<Found, Why> {
        if let Some(found) = self.named(name)? {
            return Ok(found);
        }
        match &self.kind {
            Kind::Layout(reader, entries) => {
                if let [entry] = entries.as_slice() {
                    return Ok(Found::Layout(Arc::clone(reader), entry.digest));
                }
                // docker writes the tag alone into some.
                let tag = name.tag();
                let mut tagged = entries.iter().filter(|entry| {
                    entry.annotations.get(REF_NAME).map(String::as_str) == tag && tag.is_some()
                });
                if let (Some(entry), None) = (tagged.next(), tagged.next()) {
                    return Ok(Found::Layout(Arc::clone(reader), entry.digest));
                }
            }
            Kind::Docker(docker) => {
                if let [image] = docker.images.as_slice() {
                    return docker.found(&self.path, image);
                }
            }
        }
        let reason = format!("it holds {}, and not this image", manifest::list(self.names()));
        Err(Why::Archive { path: self.path.clone(), reason })
    }
}

impl Entry {
    fn names(&self) -> impl Iterator<Item = String> {
        [annotation::CONTAINERD, REF_NAME]
            .into_iter()
            .filter_map(|key| self.annotations.get(key).cloned())
    }
}

fn entries(index: &[u8]) -> Result<Vec<Entry>, String> {
    #[derive(Deserialize)]
    struct Top {
        manifests: Vec<Entry>,
    }
    let top: Top = serde_json::from_slice(index)
        .map_err(|error| format!("its index.json cannot be read: {error}"))?;
    Ok(top.manifests)
}

/// An archive of Docker's.
#[derive(Debug)]
struct Docker {
    file: Arc<File>,
    files: BTreeMap<String, Place>,
    images: Vec<DockerImage>,
}

/// An image, as `manifest.json` of such an archive has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default, deserialize_with = "or_none")]
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Images without a name have `null`.
fn or_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What is read of the config of an image.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl Docker {
    fn open(path: &Path, file: File, files: BTreeMap<String, Place>) -> Result<Self, Why> {
        let wrong = |reason: String| Why::Archive { path: path.to_owned(), reason };
        let mut docker = Self { file: Arc::new(file), files, images: Vec::new() };
        let text = docker.small("manifest.json", MAX_MANIFEST).map_err(wrong)?;
        docker.images = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("its manifest.json cannot be read: {error}")))?;
        Ok(docker)
    }

    fn small(&self, name: &str, limit: u64) -> Result<Vec<u8>, String> {
        let Some(place) = self.files.get(name) else {
            return Err(format!(
                "it has no {name}: it is neither docker save's nor an OCI archive"
            ));
        };
        if place.size > limit {
            return Err(format!("its {name} is larger than {limit} bytes"));
        }
        let mut bytes = Vec::new();
        let read = Piece::new(Arc::clone(&self.file), *place).read_to_end(&mut bytes);
        read.map_err(|error| format!("its {name} cannot be read: {error}"))?;
        Ok(bytes)
    }

    fn found(&self, path: &Path, image: &DockerImage) -> Result<Found, Why> {
        let wrong = |reason: String| Why::Archive { path: path.to_owned(), reason };
        self.image(image).map_err(wrong)
    }

    /// The image in OCI's form. A layer's digest is that of its content where it
    /// is not compressed, which the config says; it is proved where it is copied.
    fn image(&self, image: &DockerImage) -> Result<Found, String> {
        let config = self.small(&image.config, MAX_CONFIG)?;
        let parsed: Config = serde_json::from_slice(&config)
            .map_err(|error| format!("its {} cannot be read: {error}", image.config))?;
        if parsed.rootfs.diff_ids.len() != image.layers.len() {
            return Err("its config has another number of layers than its manifest.json".to_owned());
        }
        let mut pieces = BTreeMap::new();
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.iter().zip(parsed.rootfs.diff_ids) {
            let place =
                *self.files.get(name).ok_or_else(|| format!("it lacks the layer {name}"))?;
            let piece = Piece::new(Arc::clone(&self.file), place);
            let read = |error: io::Error| format!("its layer {name} cannot be read: {error}");
            let (kind, digest) = if is_gzip(&self.file, place.offset).map_err(read)? {
                (LAYER_GZIP, piece.clone().digest().map_err(read)?)
            } else {
                (LAYER, diff_id)
            };
            layers.push(json!({"mediaType": kind, "digest": digest, "size": place.size}));
            pieces.insert(digest, piece);
        }
        let digest = Digest::of(&config);
        let size = config.len();
        if let Some(place) = self.files.get(&image.config) {
            pieces.insert(digest, Piece::new(Arc::clone(&self.file), *place));
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": layout::MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest, "size": size}, "layers": layers});
        Ok(Found::Docker(manifest.to_string().into_bytes(), pieces))
    }
}

fn is_gzip(file: &File, offset: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let mut magic = [0; 2];
    Ok(file.read_at(&mut magic, offset)? == 2 && magic == [0x1f, 0x8b])
}
