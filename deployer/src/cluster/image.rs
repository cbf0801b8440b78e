//! Images that containers run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

/// The image of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// As the pod names it.
    pub name: String,
    /// The digest of what the node took for that name, once the container has started: a tag may
    /// have moved since. `None` where the image came from no registry.
    pub digest: Option<String>,
}

impl Image {
    /// Whether both have the same name and, where that is known of both, the same digest.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let moved = self.digest.is_some() && other.digest.is_some() && self.digest != other.digest;
        self.name == other.name && !moved
    }
}

/// The images of a pod's containers, by the containers' names.
pub(super) fn of(pod: &Pod) -> BTreeMap<String, Image> {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let digest = |container: &str| {
        let status = status.unwrap_or_default().iter().find(|one| one.name == container)?;
        digest(&status.image_id).map(str::to_owned)
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let images = containers.map(|one| {
        let name = one.image.clone().unwrap_or_default();
        (one.name.clone(), Image { name, digest: digest(&one.name) })
    });
    images.collect()
}

/// `sha256:…` of `registry/name@sha256:…`. A bare digest is that of the image's configuration,
/// which cannot be compared with a manifest's.
fn digest(id: &str) -> Option<&str> {
    id.rsplit_once('@').map(|(_, digest)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, id: &str) -> Image {
        Image { name: name.to_owned(), digest: digest(id).map(str::to_owned) }
    }

    #[test]
    fn a_tag_that_moved_is_another_image() {
        let here = image("r/maas:1", "r/maas@sha256:aa");
        assert!(here.is_same(&image("r/maas:1", "docker-pullable://r/maas@sha256:aa")));
        assert!(!here.is_same(&image("r/maas:1", "r/maas@sha256:bb")));
        assert!(!here.is_same(&image("r/maas:2", "r/maas@sha256:aa")));
        // Not started yet; or loaded into the node by hand.
        assert!(here.is_same(&image("r/maas:1", "")));
        assert!(here.is_same(&image("r/maas:1", "sha256:cc")));
    }
}
