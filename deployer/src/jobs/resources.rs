//! How far the images are that MAAS is to have.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::maas::{BootFile, BootResource, BootSet, Client, MaasError};
use crate::settings::Images;

/// A release for an architecture, and the images of it that MAAS has.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// `ubuntu/noble amd64`.
    pub(crate) name: String,
    pub(crate) images: Vec<Image>,
}

/// An image: one of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Image {
    /// `ubuntu/noble amd64/ga-24.04`.
    #[serde(rename = "image")]
    pub(crate) name: String,
    #[serde(rename = "held_bytes")]
    pub(crate) held: u64,
    #[serde(rename = "size_bytes")]
    pub(crate) size: u64,
    /// Whether every version is there, and there is one.
    #[serde(rename = "complete")]
    pub(crate) is_complete: bool,
    /// The files of all versions.
    #[serde(rename = "files")]
    pub(crate) parts: Vec<Part>,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Part {
    /// `squashfs 20260101`: its name, and its version.
    pub(crate) name: String,
    #[serde(rename = "held_bytes")]
    pub(crate) held: u64,
    #[serde(rename = "size_bytes")]
    pub(crate) size: u64,
    #[serde(rename = "complete")]
    pub(crate) is_complete: bool,
}

impl Wanted {
    pub(crate) fn is_complete(&self) -> bool {
        !self.images.is_empty() && self.images.iter().all(|image| image.is_complete)
    }

    /// What is not there, in words.
    pub(crate) fn lacks(&self) -> Vec<String> {
        if self.images.is_empty() {
            return vec![format!("{}: MAAS has not begun it", self.name)];
        }
        self.images
            .iter()
            .filter(|image| !image.is_complete)
            .flat_map(Image::all_that_lacks)
            .collect()
    }
}

impl Image {
    pub(crate) fn new(resource: &BootResource) -> Self {
        let sum =
            |of: fn(&BootSet) -> u64| resource.sets.values().map(of).fold(0, u64::saturating_add);
        let files = resource.sets.iter().flat_map(|(version, set)| {
            set.files.iter().map(move |(name, file)| Part::new(name, version, file))
        });
        Self {
            name: format!("{} {}", resource.name, resource.architecture),
            held: sum(BootSet::held),
            size: sum(|set| set.size),
            is_complete: !resource.sets.is_empty()
                && resource.sets.values().all(|set| set.complete),
            parts: files.collect(),
        }
    }

    /// What a file of it lacks, in words.
    pub(crate) fn lacks(&self, part: &Part) -> String {
        format!("{}: {}: {}", self.name, part.name, shown(part.held, part.size, part.percent()))
    }

    /// What it lacks, file by file where MAAS tells, in words.
    fn all_that_lacks(&self) -> Vec<String> {
        let lacking: Vec<String> =
            self.parts.iter().filter(|part| !part.is_complete).map(|p| self.lacks(p)).collect();
        match lacking.as_slice() {
            [] if self.size == 0 => vec![format!("{}: MAAS has no version of it", self.name)],
            [] => {
                let percent = percent(self.held, self.size).min(99);
                vec![format!("{}: {}", self.name, shown(self.held, self.size, percent))]
            }
            _ => lacking,
        }
    }
}

impl Part {
    fn new(name: &str, version: &str, file: &BootFile) -> Self {
        Self {
            name: format!("{name} {version}"),
            held: file.held(),
            size: file.size,
            is_complete: file.complete,
        }
    }

    /// How much of it is there, in percent; below 100 until it is complete.
    pub(crate) fn percent(&self) -> u64 {
        if self.is_complete { 100 } else { percent(self.held, self.size).min(99) }
    }
}

fn percent(held: u64, size: u64) -> u64 {
    let percent = u128::from(held) * 100 / u128::from(size.max(1));
    u64::try_from(percent).unwrap_or(100).min(100)
}

fn shown(held: u64, size: u64, percent: u64) -> String {
    format!("{held} of {size} bytes, {percent} %")
}

/// How far each wanted release is, for each architecture.
pub(crate) async fn look(maas: &Client, images: &Images) -> Result<Vec<Wanted>, MaasError> {
    let listed = maas.boot_resources().await?;
    let mut found: BTreeMap<u64, Image> = BTreeMap::new();
    let mut all = Vec::new();
    for release in images.wanted() {
        for arch in &images.arches {
            let name = format!("{}/{release}", images.os);
            let of = |resource: &&BootResource| {
                resource.name == name && resource.architecture.split('/').next() == Some(arch)
            };
            let mut wanted = Wanted { name: format!("{name} {arch}"), images: Vec::new() };
            for resource in listed.iter().filter(of) {
                let image = match found.get(&resource.id) {
                    Some(image) => image.clone(),
                    None => match maas.boot_resource(resource.id).await {
                        Ok(whole) => Image::new(&whole),
                        // Removed since it was listed.
                        Err(error) if error.is_not_found() => continue,
                        Err(error) => return Err(error),
                    },
                };
                found.insert(resource.id, image.clone());
                wanted.images.push(image);
            }
            all.push(wanted);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(sets: &serde_json::Value) -> Image {
        let json = json!({"id": 1, "name": "ubuntu/noble", "architecture": "amd64/ga-24.04",
            "sets": sets});
        Image::new(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn only_what_is_whole_in_every_version_is_complete() {
        let whole = json!({"complete": true, "size": 10, "progress": 100});
        let half = json!({"complete": false, "size": 10, "progress": 50});
        assert!(image(&json!({"1": whole})).is_complete);
        assert!(!image(&json!({"1": whole, "2": half})).is_complete);
        assert!(!image(&json!({})).is_complete);
        let wanted = |sets: &serde_json::Value| {
            Wanted { name: String::new(), images: vec![image(sets)] }.lacks()
        };
        let name = "ubuntu/noble amd64/ga-24.04";
        assert_eq!(wanted(&json!({"1": half})), [format!("{name}: 5 of 10 bytes, 50 %")]);
        assert_eq!(wanted(&json!({})), [format!("{name}: MAAS has no version of it")]);
        let files = json!({"squashfs": {"size": 8, "progress": 50}, "boot-kernel": {"size": 2,
            "complete": true}});
        let by_file = json!({"7": {"complete": false, "size": 10, "files": files}});
        assert_eq!(wanted(&by_file), [format!("{name}: squashfs 7: 4 of 8 bytes, 50 %")]);
    }

    #[test]
    fn a_hundred_percent_is_kept_for_what_is_complete() {
        // All bytes there, not yet verified.
        let files = json!({"squashfs": {"size": 10, "progress": 100}});
        let all = image(&json!({"1": {"complete": false, "size": 10, "files": files}}));
        assert_eq!(all.parts[0].percent(), 99);
    }

    #[test]
    fn a_release_without_an_image_is_not_complete() {
        let wanted = Wanted { name: "ubuntu/noble amd64".into(), images: Vec::new() };
        assert!(!wanted.is_complete());
        assert_eq!(wanted.lacks(), ["ubuntu/noble amd64: MAAS has not begun it"]);
    }
}
