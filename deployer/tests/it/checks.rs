//! `check` against a stand-in for Kubernetes' API server: what a real one cannot be made to say.
//! Nothing runs there, so no pods are made; `real_check` has the whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::releases::put_record;
use crate::support::{Answer, ApiServer, HttpServer, Job, Run, World, eventually};

fn quiet(_: &mut BTreeMap<String, Value>) {}

fn start() -> (World, ApiServer) {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    cluster.put(
        "cluster/nodes/node-1",
        json!({"metadata": {"labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": "node-1"}},
            "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"cpu": "8", "memory": "32Gi"}}}),
    );
    cluster.put(
        "cluster/storageclasses/local",
        json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "x"}),
    );
    cluster.put(
        "secrets/maas-db-admin",
        json!({"data": {"DATABASE_USERNAME": "cG9zdGdyZXM=", "DATABASE_PASSWORD": "eA=="}}),
    );
    (world, cluster)
}

fn pre(world: &World, more: &[&str]) -> Job {
    world.verb(&[&["check", "--pre", "-n", "maas", "--no-pods"], more].concat())
}

/// The checks of that id: state, and why.
#[track_caller]
fn of(run: &Run, id: &str) -> Vec<(String, String)> {
    let report = run.json();
    assert_eq!(report["schema"], "maas-deployer/check/1");
    let groups = report["groups"].as_array().expect("groups").clone();
    let checks =
        groups.iter().flat_map(|group| group["checks"].as_array().expect("checks").clone());
    let text = |check: &Value, key: &str| check[key].as_str().expect("text").to_owned();
    let found: Vec<(String, String)> = checks
        .filter(|check| check["id"] == id)
        .map(|check| (text(&check, "status"), text(&check, "why")))
        .collect();
    assert!(!found.is_empty(), "no {id} in {report:#}");
    found
}

/// All that would change something.
fn writes(cluster: &ApiServer) -> Vec<String> {
    let asked = cluster.http.asked();
    let writes = asked.iter().filter(|one| {
        one.method != "GET"
            && !one.query().contains("dryRun")
            && !one.path().contains("selfsubject")
    });
    writes.map(|one| format!("{} {}", one.method, one.path())).collect()
}

#[test]
fn all_is_well_and_nothing_is_written() {
    let (world, cluster) = start();
    let run = pre(&world, &[]).run().told(0, "check-pre");
    assert_eq!(writes(&cluster), Vec::<String>::new());
    assert_eq!(run.stderr, "", "no noise where there is no terminal");
    let json = pre(&world, &["-o", "json"]).run().expect(0).json();
    assert_eq!((&json["ok"], &json["pre"]), (&json!(true), &json!(true)));
    let groups = json["groups"].as_array().expect("groups");
    let ids: Vec<&str> = groups.iter().filter_map(|group| group["id"].as_str()).collect();
    let wanted = [
        "kubernetes",
        "rights",
        "objects",
        "nodes",
        "storage",
        "security",
        "database",
        "images",
        "leftovers",
    ];
    assert_eq!(ids, wanted);
}

#[test]
fn without_a_cluster_the_reason_is_the_only_failure() {
    let mut world = World::new();
    let run = pre(&world, &[]).run().told(5, "check-no-kubeconfig");
    assert!(run.stdout.contains("1 failed"), "{}", run.stdout);
    let silent = HttpServer::start(|_| Answer::Cut);
    let url = silent.url();
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "users": [{"name": "c", "user": {}}]});
    std::fs::write(world.path("kubeconfig"), kubeconfig.to_string()).expect("kubeconfig");
    let path = world.path("kubeconfig");
    world.env("KUBECONFIG", path);
    pre(&world, &[]).run().told(5, "check-unreachable");
    world.verb(&["check", "-n", "maas"]).run().expect(1);
}

#[test]
fn credentials_that_have_expired_are_told() {
    let (world, cluster) = start();
    cluster.refuse("/", 401);
    pre(&world, &[]).run().told(5, "check-401");
}

#[test]
fn a_server_whose_clock_is_wrong_is_told() {
    let (mut world, _cluster) = start();
    let version = json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "",
        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""});
    let server = HttpServer::start(move |asked| match asked.path() {
        "/version" => {
            let date = ("Date", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned());
            Answer::With(200, date, version.to_string())
        }
        path if path.ends_with("/secrets") => {
            Answer::json(200, &json!({"kind": "List", "metadata": {}, "items": []}))
        }
        _ => Answer::json(
            404,
            &json!({"kind": "Status", "status": "Failure", "code": 404,
            "message": "not found", "reason": "NotFound"}),
        ),
    });
    let path = world.path("kubeconfig");
    let text = std::fs::read_to_string(&path).expect("kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["clusters"][0]["cluster"]["server"] = json!(server.url());
    std::fs::write(&path, config.to_string()).expect("kubeconfig");
    world.env("KUBECONFIG", path);
    let run = pre(&world, &["-o", "json"]).run();
    let found = of(&run, "kubernetes.clock");
    assert_eq!(found[0].0, "warn");
    assert!(found[0].1.contains("MAAS refuses requests that are 300 s old"), "{found:?}");
}

#[test]
fn rights_that_are_missing_are_grouped_and_granted() {
    let (world, cluster) = start();
    let denied = json!({"status": {"allowed": false}});
    cluster.refuse_with(Some("POST"), "selfsubjectaccessreviews", 201, Some(denied), None);
    let run = pre(&world, &["-q"]).run().told(5, "check-no-rights");
    assert!(run.stdout.contains("--user=tester"), "{}", run.stdout);
}

#[test]
fn what_may_not_be_looked_at_is_skipped() {
    let (world, cluster) = start();
    for part in ["/api/v1/nodes", "/storageclasses", "/persistentvolumeclaims?"] {
        cluster.refuse(part, 403);
    }
    let run = pre(&world, &["-o", "json"]).run().expect(0);
    for id in ["nodes.ready", "storage.class", "storage.claims"] {
        assert_eq!(of(&run, id)[0].0, "skipped", "{id}");
    }
    let told = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
        "reason": "Forbidden",
        "message": "secrets is forbidden: User \"tester\" cannot get resource \"secrets\""});
    cluster.refuse_with(None, "/namespaces/maas/secrets", 403, Some(told), None);
    let run = pre(&world, &["-o", "json"]).run().expect(0);
    assert_eq!(of(&run, "objects.untried")[0].0, "skipped");
    assert_eq!(of(&run, "leftovers.record")[0].0, "skipped");
}

#[test]
fn a_namespace_that_is_not_there_leaves_the_rest_to_be_checked() {
    let (world, _cluster) = start();
    let more = ["-o", "json", "--set", "manifests.service_monitor=true"];
    let run =
        world.verb(&[&["check", "--pre", "-n", "missing"], &more[..]].concat()).run().expect(5);
    assert_eq!(of(&run, "kubernetes.namespace")[0].0, "warn");
    assert_eq!(of(&run, "nodes.rack")[0].0, "pass");
    assert_eq!(
        of(&run, "database.login")[0],
        ("skipped".into(), "the namespace missing is not there".into())
    );
    // It is known all the same what the cluster lacks.
    assert_eq!(
        of(&run, "objects.kinds")[0],
        ("fail".into(), "the cluster knows no ServiceMonitor".into())
    );
}

#[test]
fn what_is_in_the_way_is_told() {
    let (world, cluster) = start();
    cluster.put("serviceaccounts/maas-region", json!({"metadata": {}}));
    let annotations =
        json!({"meta.helm.sh/release-name": "theirs", "meta.helm.sh/release-namespace": "ns"});
    cluster.put("services/maas-region", json!({"metadata": {"annotations": annotations}}));
    cluster.put("jobs/maas-secrets", json!({"metadata": {}}));
    pre(&world, &["-q"]).run().told(5, "check-leftovers");
}

#[test]
fn a_release_that_was_never_finished_is_told() {
    let (world, cluster) = start();
    let off = "manifests.job_secrets=false,manifests.job_quiesce=false";
    world.verb(&["install", "-n", "maas", "--no-wait", "--set", off]).run().expect(0);
    put_record(&cluster, 1, |release| release["info"]["status"] = json!("pending-install"));
    let run = pre(&world, &["-o", "json"]).run().expect(5);
    let found = of(&run, "leftovers.record");
    assert_eq!(found[0].0, "fail");
    assert!(
        found[0].1.contains("by tester@") && found[0].1.contains("never finished"),
        "{found:?}"
    );
    let run = world.verb(&["check", "-n", "maas", "--no-pods", "-o", "json"]).run().expect(1);
    assert_eq!(of(&run, "release.deployed")[0].0, "fail");
}

#[test]
fn what_is_installed_is_looked_at() {
    let (world, cluster) = start();
    world.verb(&["check", "-n", "maas"]).run().told(1, "check-absent");
    let off = "manifests.job_secrets=false,manifests.job_quiesce=false";
    world.verb(&["install", "-n", "maas", "--no-wait", "--set", off]).run().expect(0);
    let check = |more: &[&str]| world.verb(&[&["check", "-n", "maas", "--no-pods"], more].concat());
    let run = check(&["-o", "json"]).run().expect(1);
    let region = of(&run, "workloads.region");
    assert_eq!(region[0], ("fail".into(), "its controller has not seen it yet".into()));
    assert_eq!(of(&run, "release.deployed")[0].0, "pass");
    assert_eq!(of(&run, "drift.objects")[0].0, "pass");
    assert_eq!(of(&run, "secrets.there")[0].0, "fail");
    let before = writes(&cluster).len();
    let mut region = cluster.get("services/maas-region").expect("it");
    region["spec"]["ports"] = json!([]);
    cluster.put("services/maas-region", region);
    let run = check(&["-o", "json"]).run().expect(1);
    assert_eq!(writes(&cluster).len(), before, "a check changes nothing");
    let drift = of(&run, "drift.objects");
    assert_eq!(drift[0].0, "warn");
    assert!(drift[0].1.contains("Service maas-region differs"), "{drift:?}");
}

#[test]
fn usage_is_told_as_for_every_verb() {
    let (world, _cluster) = start();
    world
        .verb(&["check", "-n", "maas", "--set", "conf.maas.workers=2"])
        .run()
        .failed(64, "check-values");
    pre(&world, &["--set", "conf.maas.wrkers=2"]).run().expect(64);
    pre(&world, &["--probe-nodes"]).run().expect(64);
}

/// As the Job's controller and a kubelet: each probe's Job has a pod that has ended, unless it is
/// to pull what is not there.
fn run_probes(objects: &mut BTreeMap<String, Value>) {
    let jobs: Vec<(String, Value)> = objects
        .iter()
        .filter(|(key, _)| key.contains("/jobs/maas-check-"))
        .map(|(key, job)| (key.clone(), job.clone()))
        .collect();
    objects.retain(|key, _| {
        let of = |job: &(String, Value)| job.0.replace("/jobs/", "/pods/") == *key;
        !key.contains("/pods/maas-check-") || jobs.iter().any(of)
    });
    for (key, job) in jobs {
        let spec = &job["spec"]["template"]["spec"];
        let status = |container: &Value| {
            let is_none = container["image"].as_str().is_some_and(|image| image.ends_with(":none"));
            let message = "rpc error: code = NotFound: manifest unknown";
            let state = if is_none {
                json!({"waiting": {"reason": "ImagePullBackOff", "message": message}})
            } else {
                json!({"terminated": {"exitCode": 128, "reason": "StartError"}})
            };
            json!({"name": container["name"], "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": state})
        };
        let containers = spec["containers"].as_array().expect("containers");
        let statuses: Vec<Value> = containers.iter().map(status).collect();
        let mut spec = spec.clone();
        spec["nodeName"] = json!("node-1");
        let name = &job["metadata"]["name"];
        let pod = json!({"metadata": {"name": name, "namespace": "maas",
                "labels": {"batch.kubernetes.io/job-name": name}},
            "spec": spec, "status": {"phase": "Failed", "containerStatuses": statuses}});
        objects.insert(key.replace("/jobs/", "/pods/"), pod);
    }
}

/// What is left of probes.
fn left(cluster: &ApiServer) -> Vec<String> {
    cluster.objects().into_keys().filter(|key| key.contains("maas-check-")).collect()
}

#[test]
fn pods_look_from_inside_and_go() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, run_probes);
    let facts = json!({"server": "db:5432", "version": "13.5", "version_number": 130_005,
        "tls": false, "tls_mode": "prefer", "session_user": "postgres", "may_create": true,
        "database": "maasdb", "encoding": null, "user": null});
    let said = json!({"schema": "maas-deployer/job/1", "facts": facts});
    cluster.refuse_with(Some("GET"), "/log?", 200, Some(said), None);
    world.hide("pass-of-the-values");
    let sets =
        "endpoints.maas_db.auth.admin.password=pass-of-the-values,images.tags.maas_rack=rack:none";
    let run =
        world.verb(&["check", "--pre", "-n", "maas", "-o", "json", "--set", sets]).run().expect(5);
    assert_eq!(of(&run, "database.login")[0].0, "pass");
    assert_eq!(of(&run, "database.version")[0].0, "fail");
    let images = of(&run, "images.pull");
    let refused: Vec<_> = images.iter().filter(|(status, _)| status == "fail").collect();
    assert_eq!(refused.len(), 1, "{images:?}");
    assert!(refused[0].1.contains("node-1 cannot pull it"), "{images:?}");
    assert_eq!(left(&cluster), Vec::<String>::new());

    // The password went by a Secret that its Job owns, and by nothing else.
    let asked = cluster.http.asked();
    let made: Vec<Value> = asked
        .iter()
        .filter(|one| one.method == "POST" && one.body.contains("maas-check-"))
        .map(|one| serde_json::from_str(&one.body).expect("JSON"))
        .collect();
    let encoded = "cGFzcy1vZi10aGUtdmFsdWVz";
    let with: Vec<&Value> = made.iter().filter(|one| one.to_string().contains(encoded)).collect();
    assert_eq!(with.len(), 1, "{made:#?}");
    assert_eq!(
        (&with[0]["kind"], &with[0]["metadata"]["ownerReferences"][0]["kind"]),
        (&json!("Secret"), &json!("Job"))
    );
    let jobs = made.iter().filter(|one| one["kind"] == "Job");
    for job in jobs {
        assert!(
            job["spec"]["activeDeadlineSeconds"].is_u64()
                && job["spec"]["ttlSecondsAfterFinished"].is_u64()
        );
        assert_eq!(job["spec"]["template"]["spec"]["automountServiceAccountToken"], false);
    }
}

#[test]
fn interrupted_it_takes_its_pods_along() {
    let (world, cluster) = start();
    // No pod is ever made for it.
    let running = world.verb(&["check", "--pre", "-n", "maas"]).spawn();
    eventually("a probe", || !left(&cluster).is_empty());
    running.signal(rustix::process::Signal::TERM);
    let ended = running.wait().expect(143);
    assert!(ended.stderr.contains("is removed"), "{}", ended.stderr);
    assert_eq!(left(&cluster), Vec::<String>::new());
}

#[test]
fn a_probe_whose_pod_is_not_made_ends_in_time() {
    let (world, cluster) = start();
    let run = world.verb(&["check", "--pre", "-n", "maas", "--timeout", "1s", "-o", "json"]).run();
    let found = of(&run.expect(5), "database.login");
    assert!(found[0].1.contains("did not end in time: no pod was made yet"), "{found:?}");
    assert_eq!(left(&cluster), Vec::<String>::new());
}
