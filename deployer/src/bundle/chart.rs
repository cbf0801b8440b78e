//! The chart, as `helm package` and `helm push` make it.

use std::io::{self, Write as _};

use flate2::{Compression, GzBuilder};
use oci::digest::Digest;
use oci::layout;
use oci::tar;
use serde_json::json;

use super::BundleError;
use super::find::Blob;
use crate::chart::{self, FILES};

/// The media type of `Chart.yaml` as JSON.
pub const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";

/// The media type of a packed chart.
pub const CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// The chart as an artifact.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The manifest.
    pub manifest: Blob,
    /// Config and archive.
    pub blobs: Vec<Blob>,
    /// Digest and length of the archive.
    pub archive: (Digest, u64),
}

/// Packs the chart that the program holds. The same chart gives the same bytes:
/// there is no time in it.
///
/// # Errors
/// None in practice: it is packed in memory.
pub fn pack() -> Result<Packed, BundleError> {
    let archive = Blob::of(archive().map_err(BundleError::Chart)?);
    let metadata = chart::metadata();
    let config = Blob::of(metadata.all.to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": layout::MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.digest, "size": config.size},
        "layers": [{"mediaType": CONTENT, "digest": archive.digest, "size": archive.size,
            "annotations": {(layout::annotation::TITLE): file_name()}}],
        "annotations": {
            (layout::annotation::TITLE): metadata.name,
            "org.opencontainers.image.version": metadata.version,
        },
    });
    Ok(Packed {
        manifest: Blob::of(manifest.to_string().into_bytes()),
        archive: (archive.digest, archive.size),
        blobs: vec![config, archive],
    })
}

/// What `helm package` calls it.
#[must_use]
pub fn file_name() -> String {
    let metadata = chart::metadata();
    format!("{}-{}.tgz", metadata.name, metadata.version)
}

/// What `helm pull` calls the chart of that name under a registry, which is a
/// [`Place`](super::name::Place): no part of it leads elsewhere.
#[must_use]
pub fn file_name_of(place: &str) -> String {
    let name = place.rsplit('/').next().unwrap_or(place);
    format!("{}.tgz", name.replacen(':', "-", 1))
}

/// Name and tag under a registry. Helm writes `_` for what no tag may have.
#[must_use]
pub fn place() -> String {
    let metadata = chart::metadata();
    format!("{}/{}:{}", super::CHARTS, metadata.name, metadata.version.replace('+', "_"))
}

fn archive() -> io::Result<Vec<u8>> {
    let name = &chart::metadata().name;
    let mut tar = tar::Writer::new(Vec::new());
    // Helm reads Chart.yaml from wherever it is, and writes it first.
    let (first, others): (Vec<_>, Vec<_>) =
        FILES.iter().partition(|(path, _)| *path == "Chart.yaml");
    for (path, text) in first.into_iter().chain(others) {
        tar.file(&format!("{name}/{path}"), text.as_bytes())?;
    }
    let (bytes, _, _) = tar.finish()?;
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&bytes)?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_chart_gives_the_same_bytes() {
        let (one, two) = (pack().unwrap(), pack().unwrap());
        assert_eq!(one.manifest.digest, two.manifest.digest);
        assert_eq!(one.archive, two.archive);
        assert_eq!(file_name_of(&place()), file_name());
        assert!(FILES.iter().all(|(path, _)| path.len() + "maas/".len() <= 100));
    }
}
