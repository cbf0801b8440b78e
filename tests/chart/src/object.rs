//! Rendered objects.

use std::path::Path;

use serde_json::Value;

use crate::Pod;

/// The value in a YAML file.
#[must_use]
pub fn yaml(path: &Path) -> Value {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `metadata.name` of an object.
#[must_use]
pub fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("every object has a name")
}

/// One rendered object.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// All of it.
    pub json: Value,
}

impl Object {
    /// `kind`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.json["kind"].as_str().expect("every object has a kind")
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        name_of(&self.json)
    }

    /// `KIND/NAME`, for messages.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind(), self.name())
    }

    /// The label `app.kubernetes.io/component`.
    #[must_use]
    pub fn component(&self) -> &str {
        self.json["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap_or_default()
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.json["metadata"]["annotations"][name].as_str()
    }

    /// Whether it is a hook of Helm's.
    #[must_use]
    pub fn is_hook(&self) -> bool {
        self.annotation("helm.sh/hook").is_some()
    }

    /// A value by its JSON pointer; null where there is none.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Its pod, or pod template.
    #[must_use]
    pub fn pod(&self) -> Option<Pod<'_>> {
        let pod = match self.kind() {
            "Pod" => &self.json,
            "StatefulSet" | "Job" => &self.json["spec"]["template"],
            "CronJob" => &self.json["spec"]["jobTemplate"]["spec"]["template"],
            _ => return None,
        };
        Some(Pod::new(self, pod))
    }
}

/// All objects of one rendering, hooks too.
#[derive(Clone, Debug)]
pub struct Objects(pub Vec<Object>);

impl Objects {
    /// Of YAML as Helm prints it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .unwrap_or_else(|error| panic!("Helm printed what is no YAML: {error}"));
        let objects = documents.into_iter().filter(|document| !document.is_null());
        Self(objects.map(|json| Object { json }).collect())
    }

    /// Those of a kind.
    pub fn kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.0.iter().filter(move |object| object.kind() == kind)
    }

    /// The one of a kind and a name, where there is one.
    #[must_use]
    pub fn get(&self, kind: &str, name: &str) -> Option<&Object> {
        self.0.iter().find(|object| object.kind() == kind && object.name() == name)
    }

    /// The one of a kind and a name.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn one(&self, kind: &str, name: &str) -> &Object {
        self.get(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The job of a component, whatever its name ends in.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn job(&self, component: &str) -> &Object {
        self.kind("Job")
            .find(|job| job.component() == component)
            .unwrap_or_else(|| panic!("there is no job {component}"))
    }

    /// Every pod and pod template.
    pub fn pods(&self) -> impl Iterator<Item = Pod<'_>> {
        self.0.iter().filter_map(Object::pod)
    }

    /// The pod template of the StatefulSet of that name.
    #[must_use]
    pub fn pod_of(&self, name: &str) -> Pod<'_> {
        self.one("StatefulSet", name).pod().expect("a StatefulSet has a pod template")
    }
}
