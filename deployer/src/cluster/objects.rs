//! Objects of any kind, as JSON.

use http::Request;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::error::ClusterError;
use super::mask::Mask;
use super::place::{Collection, Place};
use super::{Cluster, PATIENCE, persistently};

/// Who owns the fields that this program sets.
pub const FIELD_MANAGER: &str = "maas-deployer";

/// Objects that are asked for at once.
const PAGE: &str = "500";

/// A kind of object that the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `StatefulSet`.
    pub kind: String,
    /// `statefulsets`.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
}

/// What was listed of a collection.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Objects, as many as were asked for.
    pub items: Vec<Value>,
    /// Whether there are more.
    pub is_cut: bool,
}

/// How fields are applied.
#[derive(Clone, Copy, Debug, Default)]
pub struct Applying {
    /// Take fields that others own.
    pub force: bool,
    /// Only say what would be.
    pub dry_run: bool,
}

impl Cluster {
    /// The kinds of one group and version, `v1` or `apps/v1`; none where the
    /// server does not know it.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn kinds(&self, api_version: &str) -> Result<Vec<Kind>, ClusterError> {
        let doing = format!("ask for the kinds of {api_version}");
        let list = match self.ask(&doing, "GET", &prefix(api_version), None, JSON).await {
            Ok(list) => list,
            Err(error) if error.code() == Some(404) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let resources = list.get("resources").and_then(Value::as_array);
        let kinds = resources.into_iter().flatten().filter_map(|resource| {
            let plural = resource.get("name")?.as_str()?;
            // `pods/log` is part of a pod, not a kind of its own.
            (!plural.contains('/')).then_some(())?;
            Some(Kind {
                kind: resource.get("kind")?.as_str()?.to_owned(),
                plural: plural.to_owned(),
                is_namespaced: resource.get("namespaced")?.as_bool()?,
            })
        });
        Ok(kinds.collect())
    }

    /// An object; `None` where it is not there.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn object(&self, place: &Place) -> Result<Option<Value>, ClusterError> {
        let doing = format!("read the {}", place.shown());
        match self.ask(&doing, "GET", place.path(), None, JSON).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects at a place that `select` takes: `labelSelector` or
    /// `fieldSelector`, with its text.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn list(
        &self,
        doing: &str,
        place: &Collection,
        select: (&str, &str),
    ) -> Result<Vec<Value>, ClusterError> {
        let path = format!("{}?{}", place.path(), query(&[select]));
        Ok(items(self.ask(doing, "GET", &path, None, JSON).await?))
    }

    /// As [`Self::list`], page by page, and no more than about `most`.
    ///
    /// # Errors
    /// [`ClusterError`], where not even the first page can be had.
    pub async fn list_up_to(
        &self,
        doing: &str,
        place: &Collection,
        most: usize,
    ) -> Result<Listed, ClusterError> {
        let mut listed = Listed::default();
        let mut next = String::new();
        loop {
            let pairs = [("limit", PAGE), ("continue", next.as_str())];
            let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            let path = format!("{}?{}", place.path(), query(&pairs.collect::<Vec<_>>()));
            let page = match self.ask(doing, "GET", &path, None, JSON).await {
                Ok(page) => page,
                // What a page goes on from is forgotten after some minutes.
                Err(error) if error.code() == Some(410) && !next.is_empty() => {
                    listed.is_cut = true;
                    return Ok(listed);
                }
                Err(error) => return Err(error),
            };
            let token = page.pointer("/metadata/continue").and_then(Value::as_str);
            next = token.unwrap_or_default().to_owned();
            listed.items.extend(items(page));
            listed.is_cut = !next.is_empty();
            if next.is_empty() || listed.items.len() >= most {
                return Ok(listed);
            }
        }
    }

    /// As [`Self::list`], without what the objects hold.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn list_metadata(
        &self,
        doing: &str,
        place: &Collection,
        selector: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let path = format!("{}?{}", place.path(), query(&[("labelSelector", selector)]));
        Ok(items(self.ask(doing, "GET", &path, None, METADATA).await?))
    }

    /// Makes an object.
    ///
    /// # Errors
    /// [`ClusterError`], with 409 where it is there.
    pub async fn create(&self, place: &Place, object: &Value) -> Result<Value, ClusterError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", place.collection());
        self.ask(&format!("make the {}", place.shown()), "POST", &path, Some(object), JSON).await
    }

    /// Whether the server would make an object; nothing is written. One that is there
    /// and has to go first is no reason against it.
    ///
    /// # Errors
    /// [`ClusterError`] where it would not.
    pub async fn try_create(&self, place: &Place, object: &Value) -> Result<(), ClusterError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}&dryRun=All", place.collection());
        let doing = format!("try to make the {} anew", place.shown());
        match self.ask(&doing, "POST", &path, Some(object), JSON).await {
            // The server looks for another of that name last.
            Err(error) if error.code() == Some(409) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Writes a whole object, whose `resourceVersion` must still be the one it has.
    ///
    /// # Errors
    /// [`ClusterError`], with 409 where it was changed.
    pub async fn replace(&self, place: &Place, object: &Value) -> Result<Value, ClusterError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", place.path());
        self.ask(&format!("write the {}", place.shown()), "PUT", &path, Some(object), JSON).await
    }

    /// Sets the fields of `object` that others do not own, and gives back the whole.
    ///
    /// # Errors
    /// [`ClusterError`]; a conflict says whose fields they are.
    pub async fn apply(
        &self,
        place: &Place,
        object: &Value,
        how: Applying,
    ) -> Result<Value, ClusterError> {
        let mut path = format!("{}?fieldManager={FIELD_MANAGER}", place.path());
        if how.force {
            path.push_str("&force=true");
        }
        let doing = if how.dry_run {
            path.push_str("&dryRun=All");
            format!("try what would become of the {}", place.shown())
        } else {
            format!("apply the {}", place.shown())
        };
        self.ask(&doing, "PATCH", &path, Some(object), APPLY).await
    }

    /// What would become of an object that is written as a whole.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn try_replace(&self, place: &Place, object: &Value) -> Result<Value, ClusterError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}&dryRun=All", place.path());
        let doing = format!("try what would become of the {}", place.shown());
        self.ask(&doing, "PUT", &path, Some(object), JSON).await
    }

    /// Sets what `patch` names.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn merge(&self, place: &Place, patch: &Value) -> Result<Value, ClusterError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", place.path());
        self.ask(&format!("change the {}", place.shown()), "PATCH", &path, Some(patch), MERGE).await
    }

    /// Removes an object and what it made, and says whether it was there. What
    /// has to end first goes on after this returns.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn delete(&self, place: &Place) -> Result<bool, ClusterError> {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "propagationPolicy": "Background"});
        self.remove(place, &options).await
    }

    /// As [`Self::delete`], of the object with this `uid`: one that took its place and
    /// name meanwhile stays.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn delete_one(&self, place: &Place, uid: &str) -> Result<bool, ClusterError> {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "propagationPolicy": "Background", "preconditions": {"uid": uid}});
        match self.remove(place, &options).await {
            Err(error) if error.code() == Some(409) => Ok(false),
            result => result,
        }
    }

    async fn remove(&self, place: &Place, options: &Value) -> Result<bool, ClusterError> {
        let doing = format!("delete the {}", place.shown());
        match self.ask(&doing, "DELETE", place.path(), Some(options), JSON).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The last lines of a container's log; of the run before, where `previous`.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        previous: bool,
        lines: u32,
    ) -> Result<Vec<String>, ClusterError> {
        let lines = lines.to_string();
        let previous = if previous { "true" } else { "false" };
        let query = query(&[
            ("container", container),
            ("tailLines", &lines),
            ("previous", previous),
            ("limitBytes", "65536"),
        ]);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?{query}");
        let doing = format!("read the log of the pod {pod}");
        let request = request("GET", &path, None, JSON)?;
        let text = timeout(PATIENCE, self.client.request_text(request));
        match text.await {
            Ok(Ok(text)) => Ok(text.lines().map(str::to_owned).collect()),
            Ok(Err(error)) => Err(ClusterError::new(&doing, &error)),
            Err(_) => Err(ClusterError::silent(&doing)),
        }
    }

    pub(super) async fn ask(
        &self,
        doing: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
        form: Form,
    ) -> Result<Value, ClusterError> {
        let mask = Mask::of(body);
        persistently(doing, self.patience(), &mask, async || {
            let request = request(method, path, body, form)
                .map_err(|error| kube::Error::Service(Box::new(error)))?;
            match timeout(PATIENCE, self.client.request::<Value>(request)).await {
                Ok(answer) => answer,
                Err(over) => Err(kube::Error::Service(Box::new(over))),
            }
        })
        .await
    }
}

/// What a request sends, and asks for.
#[derive(Clone, Copy)]
pub(super) struct Form {
    content: &'static str,
    accept: &'static str,
}

pub(super) const JSON: Form = Form { content: "application/json", accept: "application/json" };
const APPLY: Form = Form { content: "application/apply-patch+yaml", ..JSON };
const MERGE: Form = Form { content: "application/merge-patch+json", ..JSON };
const METADATA: Form =
    Form { accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", ..JSON };

pub(super) fn request(
    method: &str,
    path: &str,
    body: Option<&Value>,
    form: Form,
) -> Result<Request<Vec<u8>>, ClusterError> {
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    Request::builder()
        .method(method)
        .uri(path)
        .header("Accept", form.accept)
        .header("Content-Type", form.content)
        .body(body)
        .map_err(|error| ClusterError::Config(error.to_string()))
}

/// `/api/v1` of `v1`, `/apis/apps/v1` of `apps/v1`.
#[must_use]
pub fn prefix(api_version: &str) -> String {
    if api_version.contains('/') {
        format!("/apis/{api_version}")
    } else {
        format!("/api/{api_version}")
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn items(list: Value) -> Vec<Value> {
    match list {
        Value::Object(mut list) => match list.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}
