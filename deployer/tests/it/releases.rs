//! Verbs on a release, against a stand-in for Kubernetes' API server. Nothing runs there, so hooks
//! are off and nothing is waited for; `real_release` has the whole.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{ApiServer, Fault, Job, World, eventually};

fn quiet(_: &mut BTreeMap<String, Value>) {}

const NO_HOOKS: [&str; 3] =
    ["--set", "manifests.job_secrets=false,manifests.job_quiesce=false", "--no-wait"];
pub(crate) const RECORD: &str = "secrets/sh.helm.release.v1.maas.v";

/// A run of a verb in namespace maas, and without what only a real cluster does.
pub(crate) fn run(world: &World, verb: &str, more: &[&str]) -> Job {
    let common: &[&str] = match verb {
        "install" | "upgrade" => &NO_HOOKS,
        "rollback" => &["--no-wait"],
        _ => &[],
    };
    world.verb(&[&[verb, "-n", "maas"], common, more].concat())
}

pub(crate) fn start() -> (World, ApiServer) {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    (world, cluster)
}

pub(crate) fn installed() -> (World, ApiServer) {
    let (world, cluster) = start();
    run(&world, "install", &[]).run().expect(0);
    (world, cluster)
}

/// What the record of a revision holds.
pub(crate) fn record(cluster: &ApiServer, revision: u32) -> Value {
    use std::io::Read as _;
    let text = cluster.secret(&format!("sh.helm.release.v1.maas.v{revision}"), "release");
    let text = text.expect("the record");
    let packed = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
    let mut json = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut json).expect("gzip");
    serde_json::from_str(&json).expect("JSON")
}

pub(crate) fn put_record(cluster: &ApiServer, revision: u32, change: impl FnOnce(&mut Value)) {
    use std::io::Write as _;
    let mut release = record(cluster, revision);
    change(&mut release);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(release.to_string().as_bytes()).expect("gzip");
    let engine = base64::engine::general_purpose::STANDARD;
    let text = engine.encode(engine.encode(packed.finish().expect("gzip")));
    let path = format!("{RECORD}{revision}");
    let mut secret = cluster.get(&path).expect("the record");
    secret["data"]["release"] = json!(text);
    secret["metadata"]["labels"]["status"] = release["info"]["status"].clone();
    cluster.put(&path, secret);
}

/// All that changes something.
pub(crate) fn writes(cluster: &ApiServer) -> Vec<String> {
    let asked = cluster.http.asked();
    let writes = asked.iter().filter(|one| one.method != "GET" && !one.query().contains("dryRun"));
    writes.map(|one| format!("{} {}", one.method, one.path())).collect()
}

#[test]
fn an_installation_is_recorded_as_helm_records_it() {
    let (world, cluster) = start();
    let done =
        run(&world, "install", &["-o", "json", "--set", "conf.maas.workers=2"]).run().expect(0);
    let done = done.json();
    assert_eq!((&done["revision"], &done["recorded"]), (&json!(1), &json!(true)));
    let secret = cluster.get(&format!("{RECORD}1")).expect("the record");
    assert_eq!(secret["type"], "helm.sh/release.v1");
    let labels = &secret["metadata"]["labels"];
    assert_eq!((&labels["owner"], &labels["status"]), (&json!("helm"), &json!("deployed")));
    let release = record(&cluster, 1);
    assert_eq!(release["info"]["description"], "Install complete");
    assert_eq!(release["config"]["conf"]["maas"]["workers"], 2);
    assert_eq!(release["chart"]["metadata"]["name"], "maas");
    let manifest = release["manifest"].as_str().expect("text");
    assert!(manifest.starts_with("---\n# Source: maas/templates/"));
    let region = cluster.get("statefulsets/maas-region").expect("the region");
    assert_eq!(region["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm");
    assert_eq!(region["metadata"]["annotations"]["meta.helm.sh/release-name"], "maas");
}

#[test]
fn an_upgrade_with_nothing_new_writes_nothing() {
    let (world, cluster) = installed();
    let (before, objects) = (writes(&cluster).len(), cluster.objects());
    let run_again = run(&world, "upgrade", &[]).run().expect(0);
    assert!(run_again.stdout.contains("nothing to change; revision 1"), "{}", run_again.stdout);
    assert_eq!(writes(&cluster).len(), before);
    assert_eq!(cluster.objects(), objects);
    // Drift is no nothing.
    let mut region = cluster.get("statefulsets/maas-region").expect("the region");
    region["spec"]["replicas"] = json!(7);
    cluster.put("statefulsets/maas-region", region);
    let mended = run(&world, "upgrade", &["-o", "json"]).run().expect(0).json();
    let changes = json!([{"action": "update", "object": "StatefulSet maas/maas-region"}]);
    assert_eq!((&mended["changes"], &mended["revision"]), (&changes, &json!(2)));
    assert_eq!(cluster.get("statefulsets/maas-region").expect("it")["spec"]["replicas"], 1);
    assert_eq!(record(&cluster, 1)["info"]["status"], "superseded");
}

#[test]
fn a_dry_run_changes_nothing() {
    let (world, cluster) = start();
    let dry = run(&world, "install", &["--dry-run"]).run().expect(0);
    assert!(dry.stdout.contains("would create the StatefulSet maas/maas-region"), "{}", dry.stdout);
    assert_eq!(writes(&cluster), Vec::<String>::new());
}

#[test]
fn objects_that_left_the_release_go_and_kept_ones_stay() {
    let (world, cluster) = installed();
    let mut kept = cluster.get("serviceaccounts/maas-syslog").expect("it");
    kept["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    cluster.put("serviceaccounts/maas-syslog", kept);
    let off = "manifests.syslog_statefulset=false,manifests.syslog_service=false";
    run(&world, "upgrade", &["--set", off]).run().expect(0);
    assert!(cluster.get("statefulsets/maas-syslog").is_none());
    assert!(cluster.get("services/maas-syslog").is_none());
    assert!(cluster.get("serviceaccounts/maas-syslog").is_some());
    assert!(cluster.get("statefulsets/maas-region").is_some());
}

#[test]
fn values_of_the_last_revision_are_kept_where_none_are_given() {
    let (world, cluster) = start();
    run(&world, "install", &["--set", "conf.maas.workers=2"]).run().expect(0);
    world.verb(&["upgrade", "-n", "maas", "--no-wait"]).run().expect(0);
    assert_eq!(cluster.http.count("POST", "/secrets"), 1, "nothing was recorded");
    let more =
        ["upgrade", "-n", "maas", "--no-wait", "--reuse-values", "--set", "conf.bind.cpus=3"];
    world.verb(&more).run().expect(0);
    let config = record(&cluster, 2)["config"].clone();
    assert_eq!(
        (&config["conf"]["maas"]["workers"], &config["conf"]["bind"]["cpus"]),
        (&json!(2), &json!(3))
    );
    run(&world, "upgrade", &["--set", "conf.bind.cpus=4"]).run().expect(0);
    assert_eq!(record(&cluster, 3)["config"]["conf"].get("maas"), None);
}

#[test]
fn ten_revisions_are_kept_and_the_one_that_is_there() {
    let (world, _cluster) = installed();
    for cpus in 2..=12 {
        run(&world, "upgrade", &["--set", &format!("conf.bind.cpus={cpus}")]).run().expect(0);
    }
    let listed = world.verb(&["history", "-n", "maas", "-o", "json"]).run().expect(0).json();
    let revisions = listed["revisions"].as_array().expect("list");
    assert_eq!(revisions.len(), 10);
    assert_eq!((&revisions[0]["revision"], &revisions[9]["revision"]), (&json!(3), &json!(12)));
    assert_eq!(revisions[9]["status"], "deployed");
    assert!(revisions[..9].iter().all(|one| one["status"] == "superseded"));
}

#[test]
fn a_rollback_is_a_revision_of_its_own() {
    let (world, cluster) = installed();
    run(&world, "upgrade", &["--set", "conf.maas.workers=2"]).run().expect(0);
    run(&world, "rollback", &["1"]).run().expect(0);
    let release = record(&cluster, 3);
    assert_eq!(release["info"]["description"], "Rollback to 1");
    assert_eq!(release["manifest"], record(&cluster, 1)["manifest"]);
    run(&world, "rollback", &["maas", "7"]).run().failed(5, "rollback-no-revision");
    let wrong = run(&world, "rollback", &["one"]).run().expect(64);
    assert!(wrong.message().contains("'one' is no revision"), "{}", wrong.stderr);
}

#[test]
fn what_is_there_already_is_not_installed() {
    let (world, cluster) = installed();
    let before = cluster.objects();
    run(&world, "install", &[]).run().failed(5, "install-exists");
    assert_eq!(cluster.objects(), before);
    world.verb(&["upgrade", "other", "-n", "maas"]).run().failed(5, "upgrade-absent");
    world.verb(&["history", "other", "-n", "maas"]).run().failed(5, "history-absent");
    world.verb(&["uninstall", "other", "-n", "maas", "--yes"]).run().failed(5, "uninstall-absent");
    run(&world, "upgrade", &["--install", "--set", "conf.maas.workers=2"]).run().expect(0);
}

#[test]
fn objects_of_others_are_not_taken() {
    let (world, cluster) = start();
    cluster.put("serviceaccounts/maas-region", json!({"metadata": {}}));
    run(&world, "install", &[]).run().failed(5, "install-foreign");
    let annotations =
        json!({"meta.helm.sh/release-name": "theirs", "meta.helm.sh/release-namespace": "ns"});
    cluster.put("serviceaccounts/maas-region", json!({"metadata": {"annotations": annotations}}));
    run(&world, "install", &[]).run().failed(5, "install-of-another-release");
    assert!(cluster.get(&format!("{RECORD}1")).is_none(), "nothing was begun");
}

#[test]
fn a_release_that_was_never_finished_is_explained_and_recovered() {
    let (world, cluster) = installed();
    put_record(&cluster, 1, |release| {
        release["info"]["status"] = json!("pending-install");
        release["info"]["last_deployed"] = json!("2026-01-02T03:04:05.5Z");
    });
    let stuck = run(&world, "upgrade", &[]).run().expect(5);
    let told = stuck.message();
    for part in [
        "revision 1 of maas is pending-install since",
        "2026-01-02T03:04:05Z",
        "tester@",
        "--recover",
    ] {
        assert!(told.contains(part), "no '{part}' in {told}");
    }
    assert_eq!(record(&cluster, 1)["info"]["status"], "pending-install");
    run(&world, "upgrade", &["--recover"]).run().expect(0);
    assert_eq!(record(&cluster, 1)["info"]["status"], "failed");
    assert_eq!(record(&cluster, 2)["info"]["status"], "deployed");
}

#[test]
fn an_install_that_failed_is_gone_on_with() {
    let (world, cluster) = start();
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 403));
    run(&world, "install", &[]).run().failed(1, "install-403");
    assert_eq!(record(&cluster, 1)["info"]["status"], "failed");
    cluster.allow_all();
    run(&world, "install", &[]).run().expect(0);
    assert_eq!(record(&cluster, 2)["info"]["status"], "deployed");
    assert!(cluster.get("statefulsets/maas-region").is_some());
}

/// The first is stopped in the middle, by an answer that it waits for.
#[test]
fn two_at_once_are_one_and_a_refusal() {
    let (world, cluster) = installed();
    let mut other = cluster.get(&format!("{RECORD}1")).expect("the record");
    other["metadata"]["annotations"]["maas-deployer/by"] = json!("somebody@elsewhere, process 7");
    other["metadata"]["labels"]["version"] = json!("none yet");
    cluster.put(&format!("{RECORD}2"), other);
    put_record(&cluster, 2, |release| release["version"] = json!(2));
    // It was made after this run had looked which revisions there are.
    let locked = run(&world, "upgrade", &["--set", "conf.maas.workers=2"]).run().expect(6);
    let told = locked.message();
    assert!(told.contains("is being made by somebody@elsewhere, process 7, begun "), "{told}");
    assert_eq!(
        cluster.get("statefulsets/maas-region").expect("it")["metadata"]["resourceVersion"],
        "1"
    );
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let (world, cluster) = start();
    cluster.refuse_with(None, "/statefulsets/maas-region", 0, None, Some(3));
    cluster.refuse_with(None, "/rolebindings", 503, None, Some(2));
    run(&world, "install", &[]).run().expect(0);
    assert!(cluster.get("statefulsets/maas-region").is_some());
    assert_eq!(record(&cluster, 1)["info"]["status"], "deployed");
}

#[test]
fn interrupted_it_says_so_in_the_record() {
    let (world, cluster) = start();
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 503));
    let running = run(&world, "install", &[]).spawn();
    eventually("it to be in the middle", || {
        let tried = writes(&cluster);
        tried.iter().filter(|one| one.ends_with("/statefulsets/maas-region")).count() > 1
    });
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait().expect(130);
    assert!(ended.stderr.contains("revision 1 is marked as failed"), "{}", ended.stderr);
    assert_eq!(record(&cluster, 1)["info"]["status"], "failed");
    cluster.allow_all();
    run(&world, "install", &[]).run().expect(0);
    assert_eq!(record(&cluster, 2)["info"]["status"], "deployed");
}

#[test]
fn what_the_cluster_refuses_is_said() {
    let (mut world, cluster) = start();
    let status = |code: u16, reason: &str, message: &str| {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message})
    };
    let fails = |cluster: &ApiServer, method, part: &str, body: Value, exit, name| {
        let code = u16::try_from(body["code"].as_u64().expect("code")).expect("code");
        cluster.refuse_with(method, part, code, Some(body), None);
        run(&world, "install", &[]).run().failed(exit, name);
        cluster.allow_all();
        assert!(cluster.get("statefulsets/maas-region").is_none());
    };
    let expired = status(401, "Unauthorized", "Unauthorized");
    fails(&cluster, None, "/", expired, 1, "install-401");
    let lists = status(
        403,
        "Forbidden",
        "secrets is forbidden: User \"x\" cannot list resource \"secrets\" in API group \"\" in the namespace \"maas\"",
    );
    fails(&cluster, Some("GET"), "/secrets?", lists, 5, "install-403-list");
    let quota = status(
        403,
        "Forbidden",
        "secrets \"x\" is forbidden: exceeded quota: small, requested: secrets=1, used: secrets=5, limited: secrets=5",
    );
    fails(&cluster, Some("POST"), "/secrets", quota, 5, "install-quota");
    let ending = status(
        403,
        "Forbidden",
        "unable to create new content in namespace maas because it is being terminated",
    );
    fails(&cluster, Some("POST"), "/secrets", ending, 5, "install-ending");
    world.verb(&["install", "-n", "missing"]).run().failed(5, "install-no-namespace");
    cluster.put("namespaces/maas", json!({"status": {"phase": "Terminating"}}));
    run(&world, "install", &[]).run().failed(5, "install-namespace-ending");
    world.env("KUBECONFIG", world.path("none"));
    run(&world, "install", &[]).run().failed(1, "install-no-kubeconfig");
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let (world, cluster) = installed();
    let mut secret = cluster.get(&format!("{RECORD}1")).expect("the record");
    secret["data"]["release"] = json!("bm9uc2Vuc2Uh");
    cluster.put(&format!("{RECORD}1"), secret);
    run(&world, "upgrade", &[]).run().failed(1, "record-damaged");
}

#[test]
fn fields_of_others_are_left_to_them() {
    let (world, cluster) = installed();
    let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409,
        "reason": "Conflict", "message": "Apply failed with 1 conflict",
        "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.replicas",
            "message": "conflict with \"kubectl\" with subresource \"scale\" using apps/v1"}]}});
    let unforced = "/statefulsets/maas-region?fieldManager=maas-deployer&dryRun=All";
    cluster.refuse_with(Some("PATCH"), unforced, 409, Some(conflict), None);
    run(&world, "upgrade", &["--set", "conf.maas.workers=2"]).run().failed(5, "upgrade-conflict");
    assert!(cluster.get(&format!("{RECORD}2")).is_none(), "nothing was begun");
    run(&world, "upgrade", &["--set", "conf.maas.workers=2", "--force-conflicts"]).run().expect(0);
}

#[test]
fn an_uninstall_keeps_data_unless_told() {
    let (world, cluster) = installed();
    let of = |component: &str| {
        json!({"app.kubernetes.io/instance": "maas", "app.kubernetes.io/name": "maas",
            "app.kubernetes.io/component": component})
    };
    let made = json!({"app.kubernetes.io/instance": "maas", "app.kubernetes.io/name": "maas",
        "app.kubernetes.io/managed-by": "maas-deployer"});
    let data = |cluster: &ApiServer| {
        cluster.put(
            "persistentvolumeclaims/data-maas-region-0",
            json!({"metadata": {"labels": of("region")}}),
        );
        cluster.put("secrets/maas-region-secret", json!({"metadata": {"labels": made}}));
    };
    data(&cluster);
    run(&world, "uninstall", &[]).run().failed(5, "uninstall-unconfirmed");
    assert!(cluster.get("statefulsets/maas-region").is_some());
    let gone = run(&world, "uninstall", &["--yes"]).run().expect(0);
    assert!(
        gone.stdout.contains("kept: PersistentVolumeClaim maas/data-maas-region-0"),
        "{}",
        gone.stdout
    );
    let left = || cluster.objects().into_keys().collect::<Vec<String>>();
    let data =
        ["maas/persistentvolumeclaims/data-maas-region-0", "maas/secrets/maas-region-secret"];
    assert_eq!(left(), data);

    // A password that stood in the values of an earlier revision, and what the operator keeps.
    let user = ["--set", "endpoints.maas_db.auth.user.password=given"];
    run(&world, "install", &user).run().expect(0);
    run(&world, "upgrade", &["--reset-values"]).run().expect(0);
    let mut theirs = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "maas",
            "meta.helm.sh/release-namespace": "maas"}}});
    let user = cluster.get("secrets/maas-db-user").expect("kept by the upgrade");
    assert_eq!(user["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    theirs["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    cluster.put("secrets/theirs", theirs);
    let kept = run(&world, "uninstall", &["--yes", "-o", "json"]).run().expect(0).json();
    assert_eq!(
        kept["kept"]["secrets"],
        json!(["Secret maas/maas-db-user", "Secret maas/maas-region-secret"])
    );
    run(&world, "install", &[]).run().expect(0);
    let purged =
        run(&world, "uninstall", &["--yes", "--purge-data", "-o", "json"]).run().expect(0).json();
    assert_eq!(
        purged["purged"]["volumes"],
        json!(["PersistentVolumeClaim maas/data-maas-region-0"])
    );
    assert_eq!(purged["purged"]["secrets"], kept["kept"]["secrets"]);
    cluster.remove("secrets/theirs");
    assert!(cluster.objects().is_empty(), "{:?}", cluster.objects().keys());
}

#[test]
fn what_an_uninstall_kept_is_purged_when_it_is_asked_for() {
    let (world, cluster) = installed();
    let labels = |name: &str, component: &str| {
        json!({"metadata": {"labels": {"app.kubernetes.io/instance": "maas",
            "app.kubernetes.io/name": name, "app.kubernetes.io/component": component}}})
    };
    let made = |labels: Value| {
        let mut secret = json!({"metadata": {"labels": labels}});
        secret["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("maas-deployer");
        secret
    };
    cluster.put("persistentvolumeclaims/data-maas-region-0", labels("maas", "region"));
    let ours = json!({"app.kubernetes.io/instance": "maas", "app.kubernetes.io/name": "maas"});
    cluster.put("secrets/maas-region-secret", made(ours));
    cluster.put("secrets/maas-api-key", made(json!({})));
    // Others', and one that a person made with our labels.
    cluster.put("persistentvolumeclaims/data-grafana-0", labels("grafana", "server"));
    cluster.put("persistentvolumeclaims/theirs", labels("maas", "region"));
    cluster.put("secrets/theirs", labels("maas", "region"));
    cluster.put("secrets/other-api-key", made(json!({})));
    let theirs = cluster
        .objects()
        .into_keys()
        .filter(|key| ["theirs", "grafana", "other"].iter().any(|name| key.contains(name)));
    let theirs: Vec<String> = theirs.collect();

    let gone = run(&world, "uninstall", &["--yes"]).run().expect(0);
    assert!(
        gone.stdout.contains("  maas-deployer uninstall maas -n maas --purge-data\n"),
        "{}",
        gone.stdout
    );
    // Somebody may need it: a set that is scaled to none, of whatever name its labels are.
    let refused = || run(&world, "uninstall", &["--yes", "--purge-data"]).run();
    let mut set = labels("other", "region");
    set["spec"] = json!({"replicas": 0, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]});
    cluster.put("statefulsets/maas-region", set);
    refused().failed(5, "purge-in-use");
    cluster.remove("statefulsets/maas-region");
    cluster.put("pods/maas-region-0", labels("maas", "region"));
    assert!(refused().expect(5).message().contains("the Pod maas/maas-region-0"));
    cluster.remove("pods/maas-region-0");
    let backup = json!({"spec": {"volumes": [
        {"persistentVolumeClaim": {"claimName": "data-maas-region-0"}}]}});
    cluster.put("pods/backup", backup);
    assert!(refused().expect(5).message().contains("the Pod maas/backup"));
    cluster.remove("pods/backup");
    let before = cluster.objects();
    run(&world, "uninstall", &["--purge-data"]).run().failed(5, "purge-unconfirmed");
    run(&world, "uninstall", &["--purge-data", "--dry-run"]).run().expect(0);
    assert_eq!(cluster.objects(), before);
    let purge = ["--yes", "--purge-data", "-o", "json"];
    let purged = run(&world, "uninstall", &purge).run().expect(0).json();
    assert_eq!(
        purged["purged"]["volumes"],
        json!(["PersistentVolumeClaim maas/data-maas-region-0"])
    );
    assert_eq!(
        purged["purged"]["secrets"],
        json!(["Secret maas/maas-region-secret", "Secret maas/maas-api-key"])
    );
    let left: Vec<String> = cluster.objects().into_keys().collect();
    assert_eq!(left, theirs);
    run(&world, "uninstall", &purge).run().expect(5);
}

#[test]
fn on_a_terminal_there_is_one_line_of_what_goes_on() {
    let (world, _cluster) = start();
    let running = run(&world, "install", &[]).on_terminal(24);
    let shown = running.wait().expect(0).stdout;
    for part in ["applying 11 workloads", "✓ configuration"] {
        assert!(shown.contains(part), "no {part} in {shown:?}");
    }
    let (_, last) = shown.rsplit_once("\u{1b}[2K").expect("a line that was cleared");
    assert!(last.contains("installed maas"), "{last:?}");
}
