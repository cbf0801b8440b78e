//! The images of a release, and where each goes under a registry.

use std::collections::{BTreeMap, BTreeSet};

use super::BundleError;
use super::name::{ImageName, Place};
use crate::images;
use crate::manifest::Rendered;
use crate::tree::{Data, Node};

/// An image that a release pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What its pods call it, and where it is taken from.
    pub name: ImageName,
    /// Its name under a registry, as `install --registry` makes it.
    pub place: Place,
    /// Whether `--registry` does so: not for objects that the values hold whole.
    pub is_renamed: bool,
}

/// The images of a release that is rendered with `values`, sorted.
///
/// # Errors
/// [`BundleError::Name`] where one is no image's name, [`BundleError::Clash`]
/// where two would have one name under a registry.
pub fn of(rendered: &Rendered, values: &Node) -> Result<Vec<Wanted>, BundleError> {
    let places = places(values);
    let mut taken: BTreeMap<Place, String> = BTreeMap::new();
    let mut all = Vec::new();
    for image in images::of(rendered) {
        let name: ImageName = image.parse()?;
        let (place, is_renamed) = match places.get(&image) {
            Some(rest) => (rest.parse()?, true),
            None => (name.place(), false),
        };
        if let Some(other) = taken.insert(place.clone(), image.clone()) {
            return Err(BundleError::Clash { one: other, other: image, place: place.to_string() });
        }
        all.push(Wanted { name, place, is_renamed });
    }
    Ok(all)
}

/// What the chart makes of each of `images.tags`: the image's name, and what is
/// left of it under another registry.
fn places(values: &Node) -> BTreeMap<String, String> {
    let images = values.map().and_then(|map| map.get("images")?.map());
    let text = |node: &Node| match &node.data {
        Data::Text(text) => Some(text.clone()),
        _ => None,
    };
    let registry = images.and_then(|images| images.get("registry"));
    // `--registry` has taken other registries off the tags; what is left of one may look like one.
    let is_bare = registry.is_some_and(images::is_of_option);
    let registry = registry.and_then(text).unwrap_or_default();
    let tags = images.and_then(|images| images.get("tags")?.map());
    let tags: BTreeSet<String> =
        tags.into_iter().flatten().filter_map(|(_, tag)| text(tag)).collect();
    let named = |tag: String| {
        let full = match registry.strip_suffix('/').unwrap_or(&registry) {
            "" => tag.clone(),
            registry => format!("{registry}/{tag}"),
        };
        let rest = if is_bare { tag } else { images::split(&tag).1.to_owned() };
        (full, rest)
    };
    tags.into_iter().filter(|tag| !tag.is_empty()).map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{ReleaseInfo, render};
    use crate::values::{self, Values};

    fn rendered(set: &[&str], registry: Option<&str>) -> (Rendered, Values) {
        let set = set.iter().chain(&["postgresql.enabled=true", "conf.cache.enabled=true"]);
        let set = set.map(|it| (*it).to_owned()).collect();
        let registry = registry.map(str::to_owned);
        let wanted = values::Wanted { set, registry, ..values::Wanted::default() };
        let values = Values::load(&wanted).unwrap();
        (render(&values, &ReleaseInfo::install("maas", "maas")).unwrap(), values)
    }

    /// Where a bundle puts an image is where `--registry` looks for it.
    #[test]
    fn places_are_those_that_registry_makes() {
        for set in [
            &[][..],
            &["images.registry=r.example:5000/boot"],
            &["images.registry=r.example/boot/"],
            &["images.tags.postgresql=docker.io/library/postgres:15"],
            &["images.tags.postgresql=ghcr.io/x.y/postgres:15"],
            &["images.registry=r.example", "images.tags.maas_region=other.example/a/region:1"],
            &["images.tags.maas_syslog=syslog:3"],
        ] {
            for source in [None, Some("s.example:5000/x")] {
                let (one, values) = rendered(set, source);
                let wanted = of(&one, values.merged()).unwrap();
                assert!(wanted.iter().all(|one| one.is_renamed), "{set:?}");
                let ours: BTreeSet<_> =
                    wanted.iter().map(|one| format!("d.example/m/{}", one.place)).collect();
                let (other, _) = rendered(set, Some("d.example/m"));
                assert_eq!(ours, images::of(&other), "{set:?} {source:?}");
            }
        }
    }

    #[test]
    fn two_images_of_one_name_are_refused() {
        let (rendered, values) =
            rendered(&["images.tags.maas_region=a.example/x:1", "images.tags.maas_rack=x:1"], None);
        let error = of(&rendered, values.merged()).expect_err("a clash");
        assert_eq!(error.to_string(), "a.example/x:1 and x:1 would both be x:1 under a registry");
    }
}
