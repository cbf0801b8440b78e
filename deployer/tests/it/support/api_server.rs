//! A stand-in for Kubernetes' API server: objects in memory, with the calls that the jobs make.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{Answer, Asked, HttpServer};
use super::world::World;

type Objects = Arc<Mutex<BTreeMap<String, Value>>>;

/// The server.
pub(crate) struct ApiServer {
    pub(crate) http: HttpServer,
    objects: Objects,
    refusals: Arc<Mutex<Vec<(String, u16)>>>,
}

impl ApiServer {
    /// A server, which `world` uses from now on. `react` is called with every change of an object
    /// and may change others, as controllers do.
    pub(crate) fn start(world: &mut World, react: fn(&mut BTreeMap<String, Value>)) -> Self {
        let objects = Objects::default();
        let refusals: Arc<Mutex<Vec<(String, u16)>>> = Arc::default();
        let (held, refused) = (Arc::clone(&objects), Arc::clone(&refusals));
        let http = HttpServer::start(move |asked| {
            let refused = refused.lock().expect("refusals").clone();
            if let Some((_, status)) = refused.iter().find(|(part, _)| asked.target.contains(part))
            {
                return failure(*status, "no right to do that");
            }
            let mut objects = held.lock().expect("objects");
            let answer = answer(asked, &mut objects);
            react(&mut objects);
            answer
        });
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": http.url()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "users": [{"name": "c", "user": {}}]});
        let path = world.path("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).expect("kubeconfig");
        world.env("KUBECONFIG", path);
        Self { http, objects, refusals }
    }

    /// Refuses what has `part` in its URL.
    pub(crate) fn refuse(&self, part: &str, status: u16) {
        self.refusals.lock().expect("refusals").push((part.to_owned(), status));
    }

    /// Puts an object; the path is `secrets/NAME` of namespace maas, or with namespace before.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        object["metadata"]["name"] = json!(path.rsplit('/').next());
        self.objects.lock().expect("objects").insert(whole(path), object);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().expect("objects").get(&whole(path)).cloned()
    }

    /// A value of a Secret of namespace maas.
    pub(crate) fn secret(&self, name: &str, key: &str) -> Option<String> {
        self.secret_in(&format!("secrets/{name}"), key)
    }

    /// A value of a Secret at a path.
    pub(crate) fn secret_in(&self, path: &str, key: &str) -> Option<String> {
        use base64::Engine as _;
        let object = self.get(path)?;
        let data = object["data"][key].as_str()?.to_owned();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("base64");
        Some(String::from_utf8(bytes).expect("text"))
    }
}

/// `maas/secrets/x` of `secrets/x`.
fn whole(path: &str) -> String {
    if path.matches('/').count() == 2 { path.to_owned() } else { format!("maas/{path}") }
}

fn answer(asked: &Asked, objects: &mut BTreeMap<String, Value>) -> Answer {
    let Some((_, rest)) = asked.path().split_once("/namespaces/") else {
        return failure(404, "the server could not find the requested resource");
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", [namespace, kind]) => list(asked, &format!("{namespace}/{kind}/"), objects),
        ("POST", [namespace, kind]) => {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let key = format!("{namespace}/{kind}/{name}");
            if *namespace == "missing" {
                return failure(404, "namespaces \"missing\" not found");
            }
            if objects.contains_key(&key) {
                return failure(409, "already exists");
            }
            objects.insert(key, body.clone());
            Answer::json(201, &body)
        }
        (method, [namespace, kind, name, ..]) => {
            let key = format!("{namespace}/{kind}/{name}");
            let Some(object) = objects.get_mut(&key) else { return failure(404, "not found") };
            match method {
                "GET" => Answer::json(200, &object.clone()),
                "PATCH" => {
                    merge(object, &body);
                    if parts.len() == 4 {
                        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                            "metadata": {"name": name}, "spec": object["spec"]});
                        return Answer::json(200, &scale);
                    }
                    Answer::json(200, &object.clone())
                }
                "DELETE" => {
                    objects.remove(&key);
                    Answer::json(200, &json!({"kind": "Status", "status": "Success"}))
                }
                _ => failure(405, "method not allowed"),
            }
        }
        _ => failure(404, "not found"),
    }
}

fn list(asked: &Asked, below: &str, objects: &BTreeMap<String, Value>) -> Answer {
    let query = asked.query().to_owned();
    let selector = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "labelSelector")
        .map(|(_, value)| value.into_owned());
    let fits = |object: &Value| {
        selector.as_ref().is_none_or(|selector| {
            selector.split(',').all(|part| {
                let (label, value) = part.split_once('=').expect("selector");
                object["metadata"]["labels"][label] == value
            })
        })
    };
    let items: Vec<&Value> = objects
        .iter()
        .filter(|(key, object)| key.starts_with(below) && fits(object))
        .map(|(_, object)| object)
        .collect();
    Answer::json(200, &json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn failure(code: u16, message: &str) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "reason": reason, "code": code});
    Answer::json(code, &status)
}

/// JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    match (into.as_object_mut(), patch.as_object()) {
        (Some(object), Some(patch)) => {
            for (key, value) in patch {
                merge(object.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        _ => *into = patch.clone(),
    }
}
