//! Manifests as registries have them: OCI's and Docker's, images and indexes.

use oci::digest::Digest;
use oci::layout;
use serde::Deserialize;
use serde_json::Value;

/// Docker's manifest of an image.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What registries are asked for.
pub const KINDS: &[&str] = &[layout::INDEX, layout::MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// Bytes of an image's config; those of images with hundreds of layers have some
/// hundred thousand.
pub const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON that it must be.
    #[error("its manifest cannot be read: {0}")]
    Json(String),
    /// Of a kind that is not known, such as Docker's first.
    #[error("its manifest is of a kind that is not supported: {0}")]
    Kind(String),
    /// An index within an index.
    #[error("it is an index of indexes")]
    Nested,
    /// No image for the architectures that are asked for.
    #[error("it is not there for {wanted}, only for {there}")]
    Platform {
        /// What was asked for.
        wanted: String,
        /// What is there.
        there: String,
    },
    /// A digest of an index that would no longer hold.
    #[error(
        "it is named by the digest of an index, which must stay whole: --arch cannot narrow it"
    )]
    Pinned,
}

/// What a manifest leads to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// Its media type.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// Which machines it is for.
    pub platform: Option<Platform>,
}

/// Which machines an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `linux`.
    pub os: String,
    /// Such as `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// Whether it is one of those that `arch` names, by Go's name for it or
    /// Debian's, with or without a variant.
    #[must_use]
    pub fn is(&self, arch: &str) -> bool {
        let (arch, variant) = match arch.split_once('/') {
            Some((arch, variant)) => (arch, Some(variant)),
            None => (arch, None),
        };
        let arch = match arch {
            "i386" => "386",
            "armhf" | "armel" => "arm",
            "ppc64el" => "ppc64le",
            other => other,
        };
        self.os == "linux"
            && self.architecture == arch
            && variant.is_none_or(|variant| self.variant.as_deref() == Some(variant))
    }

    /// As people write it: `linux/arm64/v8`.
    #[must_use]
    pub fn text(&self) -> String {
        let variant = self.variant.as_deref().map(|it| format!("/{it}")).unwrap_or_default();
        let text = format!("{}/{}{variant}", self.os, self.architecture);
        text.chars().take(60).collect()
    }
}

/// A manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image {
        /// Its config.
        config: Link,
        /// Its layers.
        layers: Vec<Link>,
    },
    /// One image for several kinds of machines.
    Index(Vec<Link>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Link>>,
    config: Option<Link>,
    layers: Option<Vec<Link>>,
}

/// What a manifest says, and its media type.
///
/// # Errors
/// [`ManifestError`].
pub fn parse(bytes: &[u8]) -> Result<(String, Manifest), ManifestError> {
    let raw: Raw =
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Json(error.to_string()))?;
    let named = raw.media_type.as_deref();
    let kind = |text: &str| ManifestError::Kind(text.chars().take(100).collect());
    if raw.schema_version != 2 {
        return Err(kind(&format!("schema version {}", raw.schema_version)));
    }
    // One shape alone: a text that is both would be read otherwise elsewhere.
    match (raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) => match named {
            None | Some(layout::INDEX | DOCKER_LIST) => {
                Ok((named.unwrap_or(layout::INDEX).to_owned(), Manifest::Index(manifests)))
            }
            Some(other) => Err(kind(other)),
        },
        (None, Some(config), Some(layers)) => match named {
            None | Some(layout::MANIFEST | DOCKER_MANIFEST) => Ok((
                named.unwrap_or(layout::MANIFEST).to_owned(),
                Manifest::Image { config, layers },
            )),
            Some(other) => Err(kind(other)),
        },
        _ => Err(kind("neither an image nor an index")),
    }
}

/// Which machines an image is for, as its config says; `None` for what has no
/// such config, such as an artifact.
#[must_use]
pub fn platform(config: &[u8]) -> Option<Platform> {
    serde_json::from_slice(config).ok()
}

/// An index that holds no more than what `archs` ask for: the manifest itself
/// where that is one, else an index of them. `None` where that is all there is.
///
/// # Errors
/// [`ManifestError::Platform`] where one of `archs` is not there.
pub fn narrow(
    bytes: &[u8],
    links: &[Link],
    archs: &[String],
) -> Result<Option<Narrowed>, ManifestError> {
    let is_wanted =
        |link: &Link| link.platform.as_ref().is_some_and(|it| archs.iter().any(|arch| it.is(arch)));
    let has = |arch: &&String| {
        links.iter().filter_map(|link| link.platform.as_ref()).any(|platform| platform.is(arch))
    };
    if let Some(wanted) = archs.iter().find(|arch| !has(arch)) {
        let there = links.iter().filter_map(|link| link.platform.as_ref());
        let there = there.filter(|it| it.os != "unknown").map(Platform::text);
        let (wanted, there) = (wanted.clone(), list(there.collect()));
        return Err(ManifestError::Platform { wanted, there });
    }
    let kept: Vec<Link> = links.iter().filter(|link| is_wanted(link)).cloned().collect();
    match kept.as_slice() {
        all if all.len() == links.len() => Ok(None),
        [one] => Ok(Some(Narrowed::One(one.clone()))),
        several => Ok(Some(Narrowed::Several(without_others(bytes, several)?, kept))),
    }
}

/// What is left of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowed {
    /// One manifest, which needs no index.
    One(Link),
    /// An index of several: its bytes, and what it leads to.
    Several(Vec<u8>, Vec<Link>),
}

/// The same text with fewer manifests; all else of it stays as it is.
fn without_others(bytes: &[u8], kept: &[Link]) -> Result<Vec<u8>, ManifestError> {
    let wrong = |error: serde_json::Error| ManifestError::Json(error.to_string());
    let mut index: Value = serde_json::from_slice(bytes).map_err(wrong)?;
    if let Some(Value::Array(manifests)) = index.get_mut("manifests") {
        manifests.retain(|entry| {
            serde_json::from_value(entry.clone()).is_ok_and(|link: Link| kept.contains(&link))
        });
    }
    serde_json::to_vec(&index).map_err(wrong)
}

/// Texts for people: `a, b and 3 more`.
#[must_use]
pub fn list(mut texts: Vec<String>) -> String {
    texts.sort();
    texts.dedup();
    if texts.is_empty() {
        return "nothing".to_owned();
    }
    let more = texts.len().saturating_sub(8);
    texts.truncate(8);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index(archs: &[&str]) -> (Vec<u8>, Vec<Link>) {
        let entries: Vec<Value> = archs
            .iter()
            .map(|arch| {
                let digest = Digest::of(arch.as_bytes()).to_oci();
                json!({"mediaType": layout::MANIFEST, "size": 2, "digest": digest, "x": "kept",
                    "platform": {"architecture": arch, "os": "linux"}})
            })
            .collect();
        let bytes = json!({"schemaVersion": 2, "mediaType": layout::INDEX, "manifests": entries});
        let bytes = bytes.to_string().into_bytes();
        let (_, Manifest::Index(links)) = parse(&bytes).expect("index") else { panic!("an index") };
        (bytes, links)
    }

    #[test]
    fn an_index_is_narrowed_to_one_or_to_several() {
        let (bytes, links) = index(&["amd64", "arm64", "s390x"]);
        let archs = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let one = narrow(&bytes, &links, &archs(&["arm64"])).expect("narrowed");
        assert_eq!(one, Some(Narrowed::One(links[1].clone())));
        let two = narrow(&bytes, &links, &archs(&["amd64", "s390x"])).expect("narrowed");
        let Some(Narrowed::Several(bytes, kept)) = two else { panic!("{two:?}") };
        assert_eq!(parse(&bytes).expect("index").1, Manifest::Index(kept));
        assert!(String::from_utf8_lossy(&bytes).contains("kept"));
        let all = narrow(&bytes, &links, &archs(&["amd64", "arm64", "s390x"]));
        assert_eq!(all.expect("narrowed"), None);
        let none = narrow(&bytes, &links, &archs(&["amd64", "riscv64"])).expect_err("not there");
        assert!(none.to_string().contains("not there for riscv64, only for linux/amd64"), "{none}");
    }

    #[test]
    fn debians_names_and_variants() {
        let arm = Platform {
            architecture: "arm64".into(),
            os: "linux".into(),
            variant: Some("v8".into()),
        };
        assert!(arm.is("arm64") && arm.is("arm64/v8") && !arm.is("arm64/v9") && !arm.is("arm"));
        let power = Platform { architecture: "ppc64le".into(), os: "linux".into(), variant: None };
        assert!(power.is("ppc64el"));
    }

    #[test]
    fn what_is_neither_image_nor_index_is_refused() {
        let link = json!({"mediaType": "x", "size": 1, "digest": Digest::of(b"").to_oci()});
        for text in [
            json!([]),
            json!({"schemaVersion": 1, "name": "a", "fsLayers": []}),
            json!({"schemaVersion": 2}),
            json!({"schemaVersion": 2, "manifests": [], "config": link, "layers": []}),
            json!({"schemaVersion": 2, "mediaType": layout::INDEX, "config": link, "layers": []}),
            json!({"schemaVersion": 2, "config": {"size": 1, "digest": "sha512:00"}, "layers": []}),
            json!({"schemaVersion": 2, "config": {"size": -1, "digest": Digest::of(b"").to_oci()},
                "layers": []}),
        ] {
            assert!(parse(text.to_string().as_bytes()).is_err(), "{text}");
        }
    }
}
