//! Where objects are: one, or all of a kind.
//!
//! In the API's paths a place without a name is the whole collection, and what a
//! DELETE of that removes is everything in it. So a [`Place`] is of one object and
//! cannot be made without its name; a [`Collection`] can only be listed.

use super::error::ClusterError;

/// Where an object is, and how people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: String,
    collection: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    shown: String,
}

/// All objects of a kind, in a namespace or everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    path: String,
}

impl Place {
    /// An object: `prefix` is `/api/v1` or `/apis/GROUP/VERSION`.
    ///
    /// # Errors
    /// [`ClusterError::Name`] where no object can have that name, or be in a
    /// namespace that is called so.
    pub fn named(
        prefix: &str,
        namespace: Option<&str>,
        plural: &str,
        kind: &str,
        name: &str,
    ) -> Result<Self, ClusterError> {
        let refused =
            |kind: &str, name: &str| ClusterError::Name { kind: kind.into(), name: name.into() };
        if !is_name(name) {
            return Err(refused(kind, name));
        }
        if let Some(namespace) = namespace.filter(|namespace| !is_name(namespace)) {
            return Err(refused("Namespace", namespace));
        }
        let Collection { path: collection } = Self::list(prefix, namespace, plural);
        let shown = match namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        Ok(Self {
            path: format!("{collection}/{}", encoded(name)),
            collection,
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            shown,
        })
    }

    /// All objects of a kind, in a namespace or everywhere.
    #[must_use]
    pub fn list(prefix: &str, namespace: Option<&str>, plural: &str) -> Collection {
        let path = match namespace {
            Some(namespace) => format!("{prefix}/namespaces/{}/{plural}", encoded(namespace)),
            None => format!("{prefix}/{plural}"),
        };
        Collection { path }
    }

    /// `StatefulSet maas/maas-region`.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The command that shows it: `kubectl -n maas describe statefulset maas-region`.
    #[must_use]
    pub fn describe(&self) -> String {
        let space = self.namespace.as_ref().map(|name| format!(" -n {name}")).unwrap_or_default();
        format!("kubectl{space} describe {} {}", self.kind.to_lowercase(), self.name)
    }

    /// The object's path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path that it is made at.
    pub(super) fn collection(&self) -> &str {
        &self.collection
    }
}

impl Collection {
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Whether it can be one step of a path, which is the least that Kubernetes asks of
/// every name.
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '%'])
}

/// A name as a step of a path: nothing in it begins a query or another step.
fn encoded(name: &str) -> String {
    let sign = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    name.bytes().map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(namespace: Option<&str>, name: &str) -> Result<Place, ClusterError> {
        Place::named("/api/v1", namespace, "secrets", "Secret", name)
    }

    #[test]
    fn no_place_of_an_object_is_its_collection() {
        for name in ["", ".", "..", "a/b", "../secrets", "%2e%2e"] {
            let error = place(Some("maas"), name).unwrap_err();
            assert!(matches!(error, ClusterError::Name { .. }), "{name}");
            assert!(place(Some(name), "a").is_err(), "{name}");
        }
        assert_eq!(place(None, "").unwrap_err().to_string(), "a Secret needs a name, and has none");
    }

    #[test]
    fn a_name_begins_no_query() {
        let place = place(Some("maas"), "?a=b&c#d").unwrap();
        assert_eq!(place.path(), "/api/v1/namespaces/maas/secrets/%3Fa%3Db%26c%23d");
        let role = Place::named("/apis/rbac/v1", None, "clusterroles", "ClusterRole", "system:a b");
        assert_eq!(role.unwrap().path(), "/apis/rbac/v1/clusterroles/system:a%20b");
    }
}
