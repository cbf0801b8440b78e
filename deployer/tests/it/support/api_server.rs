//! A stand-in for Kubernetes' API server: objects in memory, with the calls that the jobs and the
//! verbs on releases make. It knows no managed fields: what depends on them is tested on a real one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{Answer, Asked, HttpServer};
use super::world::World;

type Objects = Arc<Mutex<BTreeMap<String, Value>>>;

/// What is refused: which requests, and how.
#[derive(Clone)]
struct Refusal {
    method: Option<&'static str>,
    part: String,
    status: u16,
    body: Option<Value>,
    /// How often; for ever where it is none.
    left: Option<u32>,
}

/// The server.
pub(crate) struct ApiServer {
    pub(crate) http: HttpServer,
    objects: Objects,
    refusals: Arc<Mutex<Vec<Refusal>>>,
}

impl ApiServer {
    /// A server, which `world` uses from now on. `react` is called with every change of an object
    /// and may change others, as controllers do.
    pub(crate) fn start(world: &mut World, react: fn(&mut BTreeMap<String, Value>)) -> Self {
        let objects = Objects::default();
        let refusals: Arc<Mutex<Vec<Refusal>>> = Arc::default();
        let (held, refused) = (Arc::clone(&objects), Arc::clone(&refusals));
        let http = HttpServer::start(move |asked| {
            if let Some(answer) = refusal(asked, &mut refused.lock().expect("refusals")) {
                return answer;
            }
            if let Some(kinds) = kinds(asked.path()) {
                return Answer::json(200, &kinds);
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
        self.refuse_with(None, part, status, None, None);
    }

    /// Refuses `left` requests of that method, or all; a status of 0 ends the connection.
    pub(crate) fn refuse_with(
        &self,
        method: Option<&'static str>,
        part: &str,
        status: u16,
        body: Option<Value>,
        left: Option<u32>,
    ) {
        let refusal = Refusal { method, part: part.to_owned(), status, body, left };
        self.refusals.lock().expect("refusals").push(refusal);
    }

    /// Refuses nothing any more.
    pub(crate) fn allow_all(&self) {
        self.refusals.lock().expect("refusals").clear();
    }

    /// All objects, by their paths.
    pub(crate) fn objects(&self) -> BTreeMap<String, Value> {
        self.objects.lock().expect("objects").clone()
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

fn refusal(asked: &Asked, refusals: &mut [Refusal]) -> Option<Answer> {
    let fits = |one: &&mut Refusal| {
        asked.target.contains(&one.part)
            && one.method.is_none_or(|method| method == asked.method)
            && one.left != Some(0)
    };
    let refusal = refusals.iter_mut().find(fits)?;
    refusal.left = refusal.left.map(|left| left - 1);
    Some(match (refusal.status, &refusal.body) {
        (0, _) => Answer::Cut,
        (status, Some(body)) => Answer::json(status, body),
        (status, None) => failure(status, "no right to do that"),
    })
}

/// What the server says that it knows: its version, and the kinds that the chart has.
fn kinds(path: &str) -> Option<Value> {
    let version = path.strip_prefix("/apis/").or_else(|| path.strip_prefix("/api/"));
    let kinds: &[(&str, &str)] = match version {
        None if path == "/version" => {
            return Some(json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0",
            "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}));
        }
        Some("v1") => &[
            ("Secret", "secrets"),
            ("ConfigMap", "configmaps"),
            ("Service", "services"),
            ("ServiceAccount", "serviceaccounts"),
            ("Pod", "pods"),
            ("PersistentVolumeClaim", "persistentvolumeclaims"),
        ],
        Some("apps/v1") => &[("StatefulSet", "statefulsets")],
        Some("batch/v1") => &[("Job", "jobs")],
        Some("policy/v1") => &[("PodDisruptionBudget", "poddisruptionbudgets")],
        Some("networking.k8s.io/v1") => &[("Ingress", "ingresses")],
        Some("rbac.authorization.k8s.io/v1") => {
            &[("Role", "roles"), ("RoleBinding", "rolebindings")]
        }
        _ => return None,
    };
    let resources: Vec<Value> = kinds
        .iter()
        .map(
            |(kind, plural)| json!({"kind": kind, "name": plural, "namespaced": true, "verbs": []}),
        )
        .collect();
    Some(json!({"kind": "APIResourceList", "groupVersion": version, "resources": resources}))
}

fn answer(asked: &Asked, objects: &mut BTreeMap<String, Value>) -> Answer {
    let Some((_, rest)) = asked.path().split_once("/namespaces/") else {
        return of_cluster(asked, objects);
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let is_dry_run = asked.query().contains("dryRun=All");
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", [namespace]) => match objects.get(&format!("{namespace}/namespaces/{namespace}")) {
            Some(found) => Answer::json(200, found),
            None if *namespace == "missing" => failure(404, "namespaces \"missing\" not found"),
            None => Answer::json(
                200,
                &json!({"metadata": {"name": namespace}, "status": {"phase": "Active"}}),
            ),
        },
        ("GET", [namespace, kind]) => list(asked, &format!("{namespace}/{kind}/"), objects),
        ("POST", [namespace, kind]) => {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            if is_dry_run {
                return Answer::json(201, &body);
            }
            let key = format!("{namespace}/{kind}/{name}");
            if *namespace == "missing" {
                return failure(404, "namespaces \"missing\" not found");
            }
            if objects.contains_key(&key) {
                return failure(409, "already exists");
            }
            let made = with_version(body, 1);
            objects.insert(key, made.clone());
            Answer::json(201, &made)
        }
        (method, [namespace, kind, name, ..]) => {
            let key = format!("{namespace}/{kind}/{name}");
            let is_apply = asked.header("Content-Type") == Some("application/apply-patch+yaml");
            if method == "PATCH" && is_apply && !objects.contains_key(&key) {
                let made = with_version(body, 1);
                if !is_dry_run {
                    objects.insert(key, made.clone());
                }
                return Answer::json(201, &made);
            }
            let Some(object) = objects.get_mut(&key) else { return failure(404, "not found") };
            let version =
                object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok());
            let next = version.unwrap_or(1) + 1;
            match method {
                "PATCH" if is_apply => {
                    let mut merged = object.clone();
                    merge(&mut merged, &body);
                    if !is_dry_run && merged != *object {
                        *object = with_version(merged.clone(), next);
                    }
                    Answer::json(200, &merged)
                }
                "PUT" => {
                    if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"]
                    {
                        return failure(409, "the object has been modified");
                    }
                    *object = with_version(body, next);
                    Answer::json(200, &object.clone())
                }
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

/// What is of no namespace: reviews, which allow everything, and lists. Objects without a
/// namespace are put below `cluster`.
fn of_cluster(asked: &Asked, objects: &BTreeMap<String, Value>) -> Answer {
    let last = asked.path().rsplit('/').next().unwrap_or_default();
    match (asked.method.as_str(), last) {
        ("POST", "selfsubjectaccessreviews") => {
            Answer::json(201, &json!({"status": {"allowed": true}}))
        }
        ("POST", "selfsubjectreviews") => {
            Answer::json(201, &json!({"status": {"userInfo": {"username": "tester"}}}))
        }
        ("GET", "nodes" | "storageclasses") => list(asked, &format!("cluster/{last}/"), objects),
        ("GET", "pods") => {
            let items: Vec<&Value> = objects
                .iter()
                .filter(|(key, _)| key.contains("/pods/"))
                .map(|(_, object)| object)
                .collect();
            Answer::json(200, &json!({"kind": "List", "metadata": {}, "items": items}))
        }
        _ => failure(404, "the server could not find the requested resource"),
    }
}

fn with_version(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

fn list(asked: &Asked, below: &str, objects: &BTreeMap<String, Value>) -> Answer {
    let query = asked.query().to_owned();
    let selector = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "labelSelector")
        .map(|(_, value)| value.into_owned());
    let fits = |object: &Value| {
        selector.as_ref().is_none_or(|selector| {
            selector.is_empty()
                || selector.split(',').all(|part| {
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
        401 => "Unauthorized",
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
