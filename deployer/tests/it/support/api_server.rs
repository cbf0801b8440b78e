//! A stand-in for Kubernetes' API server: objects in memory, with the calls that the jobs and the
//! verbs on releases make. It knows no managed fields: what depends on them is tested on a real one.
//! A watch tells no changes: it ends as soon as there are some, and whoever watches lists anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::PATIENCE;
use super::http::{Answer, Asked, HttpServer};
use super::world::World;

type Objects = Arc<Mutex<BTreeMap<String, Value>>>;

/// How long a watch that sees nothing lasts.
const WATCH: Duration = Duration::from_millis(500);

/// What goes wrong: with which requests, and how.
#[derive(Clone)]
pub(crate) struct Fault {
    method: Option<&'static str>,
    part: String,
    /// Only dry runs, or only what is meant.
    is_dry: Option<bool>,
    how: How,
    /// How many pass before.
    skip: u32,
    /// How often; for ever where it is none.
    left: Option<u32>,
}

#[derive(Clone)]
enum How {
    /// The connection ends, nothing is done.
    Cut,
    /// It is done, and the answer does not arrive.
    Lost,
    Refused(u16, Option<Value>),
}

impl Fault {
    fn new(method: &'static str, part: &str, how: How) -> Self {
        let method = Some(method).filter(|method| !method.is_empty());
        Self { method, part: part.to_owned(), is_dry: Some(false), how, skip: 0, left: None }
    }

    /// The connection ends at what has `part` in its URL; dry runs are not meant.
    pub(crate) fn cut(method: &'static str, part: &str) -> Self {
        Self::new(method, part, How::Cut)
    }

    /// It is done, and its answer lost.
    pub(crate) fn lost(method: &'static str, part: &str) -> Self {
        Self { left: Some(1), ..Self::new(method, part, How::Lost) }
    }

    /// It is refused.
    pub(crate) fn refused(method: &'static str, part: &str, status: u16) -> Self {
        Self::new(method, part, How::Refused(status, None))
    }

    /// With this answer.
    pub(crate) fn with(self, body: Value) -> Self {
        let status = body["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        Self { how: How::Refused(status.expect("code"), Some(body)), ..self }
    }

    /// So many times, and then no more.
    pub(crate) fn times(self, left: u32) -> Self {
        Self { left: Some(left), ..self }
    }

    /// Only after so many have passed.
    pub(crate) fn after(self, skip: u32) -> Self {
        Self { skip, ..self }
    }

    /// Dry runs too.
    pub(crate) fn dry_too(self) -> Self {
        Self { is_dry: None, ..self }
    }

    fn fits(&self, asked: &Asked) -> bool {
        let is_dry = asked.query().contains("dryRun=All");
        asked.target.contains(&self.part)
            && self.method.is_none_or(|method| method == asked.method)
            && self.is_dry.is_none_or(|dry| dry == is_dry)
            && self.left != Some(0)
    }
}

/// Requests that wait for each other.
struct Gate {
    method: &'static str,
    part: String,
    wanted: usize,
    there: usize,
}

/// The gate, if there is one, and who waits at it.
type Gates = Arc<(Mutex<Option<Gate>>, Condvar)>;

/// The server.
pub(crate) struct ApiServer {
    pub(crate) http: HttpServer,
    objects: Objects,
    faults: Arc<Mutex<Vec<Fault>>>,
    gate: Gates,
}

impl ApiServer {
    /// A server, which `world` uses from now on. `react` is called with every change of an object
    /// and may change others, as controllers do.
    pub(crate) fn start(world: &mut World, react: fn(&mut BTreeMap<String, Value>)) -> Self {
        let objects = Objects::default();
        let faults: Arc<Mutex<Vec<Fault>>> = Arc::default();
        let gate = Gates::default();
        let (held, wrong, waiting) = (Arc::clone(&objects), Arc::clone(&faults), Arc::clone(&gate));
        let http = HttpServer::start(move |asked| {
            pass(asked, &waiting);
            let is_lost = match fault(asked, &mut wrong.lock().expect("faults")) {
                Some(How::Cut) => return Answer::Cut,
                Some(How::Refused(status, Some(body))) => return Answer::json(status, &body),
                Some(How::Refused(status, None)) => return failure(status, "no right to do that"),
                Some(How::Lost) => true,
                None => false,
            };
            if let Some(kinds) = kinds(asked.path()) {
                return Answer::json(200, &kinds);
            }
            if asked.query().contains("watch=true") {
                return watch(&held);
            }
            let mut objects = held.lock().expect("objects");
            let answer = answer(asked, &mut objects);
            react(&mut objects);
            if is_lost { Answer::Cut } else { answer }
        });
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": http.url()}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "users": [{"name": "c", "user": {}}]});
        let path = world.path("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).expect("kubeconfig");
        world.env("KUBECONFIG", path);
        Self { http, objects, faults, gate }
    }

    /// Refuses what has `part` in its URL.
    pub(crate) fn refuse(&self, part: &str, status: u16) {
        self.refuse_with(None, part, status, None, None);
    }

    /// Refuses `left` requests of that method, or all; a status of 0 ends the connection. Dry runs
    /// too.
    pub(crate) fn refuse_with(
        &self,
        method: Option<&'static str>,
        part: &str,
        status: u16,
        body: Option<Value>,
        left: Option<u32>,
    ) {
        let how = if status == 0 { How::Cut } else { How::Refused(status, body) };
        self.go_wrong(Fault {
            left,
            ..Fault::new(method.unwrap_or_default(), part, how).dry_too()
        });
    }

    /// From now on, this goes wrong.
    pub(crate) fn go_wrong(&self, fault: Fault) {
        self.faults.lock().expect("faults").push(fault);
    }

    /// Refuses nothing any more.
    pub(crate) fn allow_all(&self) {
        self.faults.lock().expect("faults").clear();
    }

    /// Has the next `wanted` requests of that kind wait until all of them are there.
    pub(crate) fn gather(&self, method: &'static str, part: &str, wanted: usize) {
        let gate = Gate { method, part: part.to_owned(), wanted, there: 0 };
        *self.gate.0.lock().expect("gate") = Some(gate);
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

    /// Takes an object away.
    pub(crate) fn remove(&self, path: &str) {
        self.objects.lock().expect("objects").remove(&whole(path));
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

fn fault(asked: &Asked, faults: &mut [Fault]) -> Option<How> {
    let fault = faults.iter_mut().find(|fault| fault.fits(asked))?;
    if fault.skip > 0 {
        fault.skip -= 1;
        return None;
    }
    fault.left = fault.left.map(|left| left - 1);
    Some(fault.how.clone())
}

fn pass(asked: &Asked, gates: &Gates) {
    let (gate, changed) = &**gates;
    let mut gate = gate.lock().expect("gate");
    let is_dry = asked.query().contains("dryRun");
    let is_meant = |gate: &&mut Gate| {
        gate.method == asked.method && !is_dry && asked.target.contains(&gate.part)
    };
    let Some(held) = gate.as_mut().filter(is_meant) else { return };
    held.there += 1;
    changed.notify_all();
    let is_shut = |gate: &mut Option<Gate>| gate.as_ref().is_some_and(|one| one.there < one.wanted);
    let waited = changed.wait_timeout_while(gate, PATIENCE, is_shut);
    assert!(!waited.expect("gate").1.timed_out(), "only one came");
}

/// Ends when something has changed, or after a while; either way with the word that what is watched
/// from is too old.
fn watch(objects: &Objects) -> Answer {
    let now = || objects.lock().expect("objects").clone();
    let (before, end) = (now(), std::time::Instant::now() + WATCH);
    while now() == before && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410,
        "reason": "Expired", "message": "too old resource version"});
    Answer::json(200, &format!("{}\n", json!({"type": "ERROR", "object": gone})))
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
        // What a path without a name is, on the real one too.
        ("DELETE", [namespace, kind] | [namespace, kind, ""]) => {
            objects.retain(|key, _| !key.starts_with(&format!("{namespace}/{kind}/")));
            Answer::json(200, &json!({"kind": "Status", "status": "Success"}))
        }
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
            let made = new(body);
            if !is_dry_run {
                objects.insert(key, made.clone());
            }
            Answer::json(201, &made)
        }
        (method, [namespace, kind, name, ..]) => {
            let key = format!("{namespace}/{kind}/{name}");
            let is_apply = asked.header("Content-Type") == Some("application/apply-patch+yaml");
            if method == "PATCH" && is_apply && !objects.contains_key(&key) {
                let made = new(body);
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
                    let uid = object["metadata"]["uid"].clone();
                    *object = with_version(body, next);
                    object["metadata"]["uid"] = uid;
                    Answer::json(200, &object.clone())
                }
                "GET" if parts.last() == Some(&"log") => {
                    Answer::text(200, object["log"].as_str().unwrap_or_default())
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
                    let wanted = &body["preconditions"]["uid"];
                    if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
                        return failure(409, "Precondition failed: UID in precondition");
                    }
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

fn new(object: Value) -> Value {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let mut made = with_version(object, 1);
    made["metadata"]["uid"] = json!(format!("uid-{}", MADE.fetch_add(1, Ordering::Relaxed)));
    made
}

fn with_version(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

fn list(asked: &Asked, below: &str, objects: &BTreeMap<String, Value>) -> Answer {
    let query = asked.query().to_owned();
    let selector = |wanted: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    };
    let (labels, fields) = (selector("labelSelector"), selector("fieldSelector"));
    let fits = |selector: &Option<String>, of: &dyn Fn(&str) -> Value| {
        selector.as_ref().is_none_or(|selector| {
            selector.is_empty()
                || selector.split(',').all(|part| {
                    let (name, value) = part.split_once('=').expect("selector");
                    match name.strip_suffix('!') {
                        Some(name) => of(name) != value,
                        None => of(name) == value,
                    }
                })
        })
    };
    let is_wanted = |object: &Value| {
        let field = |name: &str| {
            object.pointer(&format!("/{}", name.replace('.', "/"))).cloned().unwrap_or_default()
        };
        fits(&labels, &|label| object["metadata"]["labels"][label].clone()) && fits(&fields, &field)
    };
    let all = objects.iter().filter(|(key, object)| key.starts_with(below) && is_wanted(object));
    let number = |name: &str| selector(name).map(|text| text.parse::<usize>().expect("a number"));
    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
    let mut items: Vec<&Value> = all.skip(from).map(|(_, object)| object).collect();
    let is_cut = items.len() > limit;
    items.truncate(limit);
    let mut metadata = json!({"resourceVersion": "1"});
    if is_cut {
        metadata["continue"] = json!((from + limit).to_string());
    }
    let list = json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items});
    Answer::json(200, &list)
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
