//! Pods and pod templates.

use serde_json::Value;

use crate::Object;

/// A pod, or the template of pods, and the object that it is in.
#[derive(Clone, Copy, Debug)]
pub struct Pod<'a> {
    /// What holds it.
    pub owner: &'a Object,
    /// `metadata` and `spec`.
    pub json: &'a Value,
}

/// The items of a list; none where there is no list.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl<'a> Pod<'a> {
    pub(crate) fn new(owner: &'a Object, json: &'a Value) -> Self {
        Self { owner, json }
    }

    /// Of its `spec`.
    #[must_use]
    pub fn spec(&self, key: &str) -> &'a Value {
        &self.json["spec"][key]
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &'a Value {
        &self.json["metadata"]["labels"]
    }

    /// Init containers, then containers.
    pub fn containers(&self) -> impl Iterator<Item = &'a Value> {
        items(self.spec("initContainers")).chain(items(self.spec("containers")))
    }

    /// The container of that name.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn container(&self, name: &str) -> &'a Value {
        self.containers()
            .find(|container| container["name"] == name)
            .unwrap_or_else(|| panic!("{} has no container {name}", self.owner.id()))
    }

    /// Names of the init containers, in order.
    #[must_use]
    pub fn inits(&self) -> Vec<&'a str> {
        items(self.spec("initContainers")).map(|one| one["name"].as_str().unwrap()).collect()
    }

    /// Command and arguments of a container.
    #[must_use]
    pub fn argv(&self, container: &str) -> Vec<&'a str> {
        let container = self.container(container);
        items(&container["command"])
            .chain(items(&container["args"]))
            .map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is no text")))
            .collect()
    }

    /// Its volumes; not those of a StatefulSet's claims.
    pub fn volumes(&self) -> impl Iterator<Item = &'a Value> {
        items(self.spec("volumes"))
    }

    /// Names of the claims of the StatefulSet that it is a template of.
    #[must_use]
    pub fn claims(&self) -> Vec<&'a str> {
        items(self.owner.at("/spec/volumeClaimTemplates")).map(crate::name_of).collect()
    }

    /// The volume mounts of a container.
    pub fn mounts(container: &'a Value) -> impl Iterator<Item = &'a Value> {
        items(&container["volumeMounts"])
    }

    /// The volume of a name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&'a Value> {
        self.volumes().find(|volume| volume["name"] == name)
    }

    /// The environment of a container, as given by plain values.
    #[must_use]
    pub fn env(container: &'a Value, name: &str) -> Option<&'a str> {
        items(&container["env"]).find(|one| one["name"] == name)?["value"].as_str()
    }
}
