//! How far the images are that MAAS is to have.

use std::collections::BTreeMap;

use crate::maas::{BootResource, Client, MaasError};
use crate::settings::Images;

/// A release for an architecture, and the images of it that MAAS has.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// `ubuntu/noble amd64`.
    pub(crate) name: String,
    pub(crate) images: Vec<Image>,
}

/// An image: one of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// `ubuntu/noble amd64/ga-24.04`.
    pub(crate) name: String,
    pub(crate) held: u64,
    pub(crate) size: u64,
    /// Whether every version is there, and there is one.
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
        let parts = self.images.iter().filter(|image| !image.is_complete);
        parts.map(Image::shown).collect()
    }
}

impl Image {
    fn new(resource: &BootResource) -> Self {
        let sum = |of: fn(&crate::maas::BootSet) -> u64| {
            resource.sets.values().map(of).fold(0, u64::saturating_add)
        };
        Self {
            name: format!("{} {}", resource.name, resource.architecture),
            held: sum(crate::maas::BootSet::held),
            size: sum(|set| set.size),
            is_complete: !resource.sets.is_empty()
                && resource.sets.values().all(|set| set.complete),
        }
    }

    /// How much of it is there, in percent; below 100 until it is complete.
    pub(crate) fn percent(&self) -> u64 {
        if self.is_complete {
            return 100;
        }
        let percent = u128::from(self.held) * 100 / u128::from(self.size.max(1));
        u64::try_from(percent).unwrap_or(99).min(99)
    }

    pub(crate) fn shown(&self) -> String {
        format!("{}: {} of {} bytes, {} %", self.name, self.held, self.size, self.percent())
    }
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
        let part = image(&json!({"1": half}));
        assert_eq!(part.shown(), "ubuntu/noble amd64/ga-24.04: 5 of 10 bytes, 50 %");
    }

    #[test]
    fn a_hundred_percent_is_kept_for_what_is_complete() {
        // All bytes there, not yet verified.
        let all = image(&json!({"1": {"complete": false, "size": 10, "progress": 100}}));
        assert_eq!(all.percent(), 99);
    }

    #[test]
    fn a_release_without_an_image_is_not_complete() {
        let wanted = Wanted { name: "ubuntu/noble amd64".into(), images: Vec::new() };
        assert!(!wanted.is_complete());
        assert_eq!(wanted.lacks(), ["ubuntu/noble amd64: MAAS has not begun it"]);
    }
}
