//! What the verbs on a release must not do, whatever they are given; against the stand-in for
//! Kubernetes' API server.

use std::collections::BTreeMap;

use maas_deployer::apply::{ApplyError, Operation, Options};
use maas_deployer::cluster::Cluster;
use maas_deployer::release::{Candidate, Holder, Release, Status, Store, StoreError};
use serde_json::{Value, json};

use crate::releases::{RECORD, installed, put_record, record, run, start, writes};
use crate::support::{ApiServer, Fault, World};

fn extra(object: &Value) -> String {
    format!("extraObjects={}", json!([object]))
}

#[test]
fn objects_without_a_name_are_refused_before_anything_is_written() {
    let (world, cluster) = start();
    cluster.put("secrets/theirs", json!({"metadata": {}}));
    let hook = json!({"helm.sh/hook": "pre-install", "helm.sh/hook-delete-policy": "before-hook-creation"});
    let secret =
        |metadata: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    let cases = [
        ("install-no-name", secret(json!({"labels": {"a": "b"}}))),
        ("install-no-name-hook", secret(json!({"annotations": hook}))),
        ("install-generated-name", secret(json!({"annotations": hook, "generateName": "x-"}))),
        ("install-name-of-a-path", secret(json!({"name": "a/../../../secrets"}))),
    ];
    for (name, object) in cases {
        run(&world, "install", &["--set-json", &extra(&object)]).run().failed(5, name);
        assert_eq!(writes(&cluster), Vec::<String>::new(), "{name}");
    }
    // As it could be in a record that another program wrote.
    let (world, cluster) = installed();
    cluster.put("secrets/theirs", json!({"metadata": {}}));
    put_record(&cluster, 1, |release| {
        release["hooks"] = json!([{"name": "", "kind": "Secret", "path": "maas/templates/x.yaml",
            "manifest": secret(json!({"annotations": {"helm.sh/hook": "pre-rollback,pre-delete"}})).to_string(),
            "events": ["pre-rollback"]}]);
    });
    let refused = run(&world, "rollback", &["1"]).run().expect(5);
    assert!(refused.message().contains("hook Secret number 1 of maas/templates/x.yaml"));
    run(&world, "uninstall", &["--yes"]).run().expect(0);
    assert!(cluster.get("secrets/theirs").is_some());
}

#[test]
fn a_hook_takes_the_place_of_no_object_that_is_no_hook() {
    let (world, cluster) = start();
    cluster.put("secrets/token", json!({"data": {"a": "dGhlaXJz"}}));
    let hook = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token",
        "annotations": {"helm.sh/hook": "pre-install"}}});
    let set = extra(&hook);
    run(&world, "install", &["--set-json", &set]).run().failed(5, "install-hook-foreign");
    assert_eq!(writes(&cluster), Vec::<String>::new());
    assert_eq!(cluster.get("secrets/token").expect("it")["data"]["a"], "dGhlaXJz");
    cluster.remove("secrets/token");
    run(&world, "install", &["--set-json", &set]).run().expect(0);
    assert!(cluster.get("secrets/token").is_some());
}

#[test]
fn what_became_anothers_after_a_run_that_failed_is_not_taken_back() {
    let (world, cluster) = start();
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 403));
    run(&world, "install", &[]).run().expect(1);
    cluster.allow_all();
    let annotations =
        json!({"meta.helm.sh/release-name": "theirs", "meta.helm.sh/release-namespace": "ns"});
    cluster.put("services/maas-syslog", json!({"metadata": {"annotations": annotations}}));
    let refused = run(&world, "install", &[]).run().expect(5);
    assert!(refused.message().contains("is of the release theirs in ns"), "{}", refused.stderr);
}

#[test]
fn values_that_are_kept_are_those_of_what_is_deployed() {
    let (world, cluster) = start();
    run(&world, "install", &["--set", "conf.maas.workers=2"]).run().expect(0);
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 403));
    run(&world, "upgrade", &["--set", "conf.maas.workers=3"]).run().expect(1);
    cluster.allow_all();
    assert_eq!(record(&cluster, 2)["info"]["status"], "failed");
    let bare = world.verb(&["upgrade", "-n", "maas", "--no-wait"]).run().expect(0);
    assert!(
        bare.stderr.contains(
            "note: revision 2 is failed: the values that are kept are those of revision 1"
        ),
        "{}",
        bare.stderr
    );
    assert_eq!(record(&cluster, 3)["config"]["conf"]["maas"]["workers"], 2);
    assert_eq!(record(&cluster, 3)["info"]["status"], "deployed");
    // So too with --reuse-values.
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 403));
    run(&world, "upgrade", &["--set", "conf.maas.workers=4"]).run().expect(1);
    cluster.allow_all();
    let more =
        ["upgrade", "-n", "maas", "--no-wait", "--reuse-values", "--set", "conf.bind.cpus=3"];
    world.verb(&more).run().expect(0);
    let config = record(&cluster, 5)["config"]["conf"].clone();
    assert_eq!((&config["maas"]["workers"], &config["bind"]["cpus"]), (&json!(2), &json!(3)));
}

#[test]
fn where_images_come_from_is_no_value_that_was_given() {
    let (mut world, cluster) = start();
    let own = "conf.maas.workers=2,images.tags.maas_region=old.example/own/region:9";
    run(&world, "install", &["--set", own]).run().expect(0);
    world.env("MAAS_DEPLOYER_REGISTRY", "r.example:5000/boot");
    world.verb(&["upgrade", "-n", "maas", "--no-wait"]).run().expect(0);
    let config = record(&cluster, 2)["config"].clone();
    assert_eq!(config["conf"]["maas"]["workers"], 2);
    assert_eq!(config["images"]["registry"], "r.example:5000/boot");
    assert_eq!(config["images"]["tags"]["maas_region"], "own/region:9");
    assert_eq!(config["manifests"]["job_secrets"], false);
    let again = world.verb(&["upgrade", "-n", "maas", "--no-wait"]).run().expect(0);
    assert!(again.stdout.contains("nothing to change; revision 2"), "{}", again.stdout);
}

#[test]
fn what_others_have_outlives_an_uninstall_and_a_purge() {
    let (world, cluster) = start();
    let hook = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left",
        "labels": {"app.kubernetes.io/instance": "maas"},
        "annotations": {"helm.sh/hook": "post-install", "helm.sh/hook-delete-policy": "hook-failed"}}});
    run(&world, "install", &["--set-json", &extra(&hook)]).run().expect(0);
    assert!(cluster.get("configmaps/left").is_some());
    let claim = |name: &str, component: &str| {
        let labels = json!({"app.kubernetes.io/instance": "maas", "app.kubernetes.io/name": name,
            "app.kubernetes.io/component": component});
        json!({"metadata": {"labels": labels}})
    };
    cluster.put("persistentvolumeclaims/data-maas-region-0", claim("maas", "region"));
    // Of another chart, whose release bears the same label.
    cluster.put("persistentvolumeclaims/data-grafana-0", claim("grafana", "server"));
    cluster.put("persistentvolumeclaims/data-maas-region-1", claim("grafana", "region"));
    let made = |name: &str| {
        json!({"metadata": {"labels": {"app.kubernetes.io/instance": "maas",
            "app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "maas-deployer"}}})
    };
    cluster.put("secrets/maas-admin", made("maas"));
    cluster.put("secrets/grafana-admin", made("grafana"));
    // A release of the same name elsewhere, where this one has an object too.
    cluster.put("elsewhere/secrets/maas-admin", made("maas"));
    // The API key of the release, and one that another release's job wrote.
    let key = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "maas-deployer"}}});
    cluster.put("secrets/maas-api-key", key);
    // Somebody's, with the name of a hook that is gone.
    cluster.put("serviceaccounts/maas-secrets", claim("maas", "secrets"));
    // A pod of that other chart: it never ends.
    let mut pod = claim("grafana", "server");
    pod["metadata"]["ownerReferences"] = json!([{"kind": "StatefulSet", "name": "grafana"}]);
    cluster.put("pods/grafana-0", pod);

    let gone = run(&world, "uninstall", &["--yes", "--purge-data", "-o", "json"]).run().expect(0);
    let gone = gone.json();
    assert_eq!(gone["purged"]["volumes"], json!(["PersistentVolumeClaim maas/data-maas-region-0"]));
    assert_eq!(
        gone["purged"]["secrets"],
        json!(["Secret maas/maas-admin", "Secret maas/maas-api-key"])
    );
    assert_eq!(
        gone["kept"]["unsure"],
        json!([
            "PersistentVolumeClaim maas/data-grafana-0",
            "PersistentVolumeClaim maas/data-maas-region-1"
        ])
    );
    let left: Vec<String> = cluster.objects().into_keys().collect();
    let theirs = [
        "elsewhere/secrets/maas-admin",
        "maas/persistentvolumeclaims/data-grafana-0",
        "maas/persistentvolumeclaims/data-maas-region-1",
        "maas/pods/grafana-0",
        "maas/secrets/grafana-admin",
        "maas/serviceaccounts/maas-secrets",
    ];
    assert_eq!(left, theirs);
}

#[test]
fn what_is_said_of_a_refused_secret_shows_none_of_its_values() {
    let (mut world, cluster) = start();
    let token = "tök\"en-of-the-proxy";
    world.hide(token);
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "extra"},
        "stringData": {"TOKEN": token}});
    std::fs::write(world.path("v.json"), json!({"extraObjects": [object]}).to_string())
        .expect("values");
    let values = world.path("v.json").display().to_string();
    let body = |code: u16, said: &str| {
        let cause =
            json!({"reason": "FieldValueInvalid", "field": "stringData.TOKEN", "message": said});
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": if code == 422 { "Invalid" } else { "ServiceUnavailable" }, "message": said, "details": {"causes": [cause]}})
    };
    let said = format!(
        "Secret \"extra\" is invalid: stringData.TOKEN: Invalid value: {token:?} ({token})"
    );
    for code in [422, 503] {
        let fault = Fault::refused("PATCH", "/secrets/extra", 0).with(body(code, &said));
        cluster.go_wrong(fault.times(2));
        let more: [&str; 6] = ["-f", &values, "-o", "json", "-vv", "--timeout=20s"];
        let ended = run(&world, "install", &more).run();
        assert_eq!(ended.code, i32::from(code == 422), "{}", ended.stderr);
        cluster.allow_all();
    }
    let told = record(&cluster, 1)["info"]["description"].as_str().expect("text").to_owned();
    assert!(told.contains("it does not take the Secret (stringData.TOKEN)"), "{told}");
    let fault = Fault::refused("PATCH", "/secrets/extra", 0).with(body(422, &said)).dry_too();
    cluster.go_wrong(fault);
    cluster.remove("secrets/extra");
    run(&world, "upgrade", &["-f", &values]).run().failed(5, "upgrade-secret-refused");
}

#[test]
fn conflicts_on_what_helm_made_are_found_before_anything_is_changed() {
    let (world, cluster) = installed();
    let helms = json!([{"manager": "helm", "operation": "Update", "apiVersion": "apps/v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    let mut region = cluster.get("statefulsets/maas-region").expect("the region");
    region["metadata"]["managedFields"] = helms;
    cluster.put("statefulsets/maas-region", region);
    let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409,
        "reason": "Conflict", "message": "Apply failed with 2 conflicts",
        "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.template",
            "message": "conflict with \"helm\" using apps/v1"},
            {"reason": "FieldManagerConflict", "field": ".spec.replicas",
            "message": "conflict with \"kubectl\" using apps/v1"}]}});
    let unforced = "/statefulsets/maas-region?fieldManager=maas-deployer&dryRun=All";
    cluster.go_wrong(Fault::refused("PATCH", unforced, 0).with(conflict).dry_too());
    let before = writes(&cluster).len();
    run(&world, "upgrade", &["--set", "conf.maas.workers=2"]).run().failed(5, "upgrade-conflict");
    assert_eq!(writes(&cluster).len(), before, "nothing was changed");
}

#[test]
fn a_job_is_replaced_only_by_one_that_can_be_made() {
    let (world, cluster) = installed();
    let job = cluster.objects().into_keys().find(|key| key.contains("/jobs/maas-configure-"));
    let job = job.expect("the job");
    let mut failed = cluster.get(&job).expect("the job");
    failed["status"] = json!({"conditions": [{"type": "Failed", "status": "True"}]});
    cluster.put(&job, failed);
    let invalid = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422,
        "reason": "Invalid", "message": "Job.batch \"x\" is invalid: spec.template: Required value"});
    cluster.go_wrong(Fault::refused("POST", "/jobs?", 0).with(invalid).dry_too());
    run(&world, "upgrade", &[]).run().failed(5, "upgrade-job-invalid");
    assert!(cluster.get(&job).is_some(), "the old one is there");
    assert!(cluster.get(&format!("{RECORD}2")).is_none(), "nothing was begun");
    cluster.allow_all();
    let done = run(&world, "upgrade", &["-o", "json"]).run().expect(0).json();
    assert_eq!(done["changes"][0]["action"], "replace");
    assert!(cluster.get(&job).expect("the new one")["status"].is_null());
}

#[test]
fn the_job_of_a_secret_that_is_gone_runs_again() {
    let (world, cluster) = installed();
    let job = cluster.objects().into_keys().find(|key| key.contains("/jobs/maas-export-api-key-"));
    let job = job.expect("the job");
    let shown = job.replace("maas/jobs/", "Job maas/");
    let change = || {
        let done = run(&world, "upgrade", &["-o", "json"]).run().expect(0).json();
        done["changes"].clone()
    };
    assert_eq!(change(), json!([]), "a job that still runs is left to it");
    let complete = || {
        let mut done = cluster.get(&job).expect("the job");
        done["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        cluster.put(&job, done);
    };
    complete();
    let diff = run(&world, "diff", &[]).run().expect(0).stdout;
    let told = format!("replace {shown} (maas/templates/jobs.yaml)\nruns again, as it is: ");
    assert!(diff.contains(&told), "{diff}");
    assert_eq!(change(), json!([{"action": "replace", "object": shown}]));
    complete();
    cluster.put("secrets/maas-api-key", json!({"data": {}}));
    assert_eq!(change(), json!([]));
    // Where this account may not look, it is taken to be there.
    cluster.remove("secrets/maas-api-key");
    cluster.refuse("/secrets/maas-api-key", 403);
    assert_eq!(change(), json!([]));
}

#[test]
fn what_cannot_be_made_is_found_before_anything_is_begun() {
    let (world, cluster) = start();
    let invalid = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500,
        "reason": "", "message": "failed to create typed patch object (maas/maas-region; apps/v1, Kind=StatefulSet): .spec.replica: field not declared in schema"});
    cluster
        .go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 0).with(invalid).dry_too());
    run(&world, "install", &[]).run().failed(5, "install-unknown-field");
    assert_eq!(writes(&cluster), Vec::<String>::new());
    let tried = cluster.http.count("PATCH", "/statefulsets/maas-region");
    assert_eq!(tried, 1, "it will not pass by itself");
}

#[test]
fn kinds_are_applied_in_helms_order() {
    let (_world, cluster) = installed();
    let order = [
        "poddisruptionbudgets",
        "serviceaccounts",
        "configmaps",
        "roles",
        "rolebindings",
        "services",
        "ingresses",
        "statefulsets",
        "jobs",
    ];
    let applied: Vec<usize> = writes(&cluster)
        .iter()
        .filter_map(|one| one.strip_prefix("PATCH "))
        .filter_map(|path| order.iter().position(|kind| path.contains(&format!("/{kind}/"))))
        .collect();
    assert!(applied.len() > 30 && applied.is_sorted(), "{applied:?}");
}

#[test]
fn what_helm_uninstalled_and_remembers_is_installed_again() {
    let (world, cluster) = installed();
    run(&world, "upgrade", &["--set", "conf.maas.workers=2"]).run().expect(0);
    let (one, two) = (cluster.get(&format!("{RECORD}1")), cluster.get(&format!("{RECORD}2")));
    run(&world, "uninstall", &["--yes"]).run().expect(0);
    cluster.put(&format!("{RECORD}1"), one.expect("record"));
    cluster.put(&format!("{RECORD}2"), two.expect("record"));
    put_record(&cluster, 2, |release| release["info"]["status"] = json!("uninstalled"));
    run(&world, "upgrade", &[]).run().failed(5, "upgrade-uninstalled");
    // One that fails is gone on with.
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/maas-region", 403));
    run(&world, "install", &[]).run().expect(1);
    cluster.allow_all();
    run(&world, "install", &[]).run().expect(0);
    let release = record(&cluster, 4);
    assert_eq!(release["info"]["status"], "deployed");
    assert_ne!(release["info"]["first_deployed"], record(&cluster, 1)["info"]["first_deployed"]);
    assert_eq!(record(&cluster, 2)["info"]["status"], "superseded");
    run(&world, "install", &[]).run().expect(5);
}

#[test]
fn a_phase_is_gone_to_and_gone_on_from() {
    let (world, cluster) = start();
    let db = ["--set", "postgresql.enabled=true"];
    let part =
        run(&world, "install", &[&db[..], &["--phase", "database"]].concat()).run().expect(0);
    assert!(
        part.stdout.contains("installed a part of maas in maas: revision 1"),
        "{}",
        part.stdout
    );
    assert!(
        part.stdout.contains("left; the same command without --phase goes on"),
        "{}",
        part.stdout
    );
    assert!(cluster.get("statefulsets/maas-postgresql").is_some());
    assert!(cluster.get("serviceaccounts/maas-region").is_some());
    assert!(cluster.get("statefulsets/maas-region").is_none());
    assert!(!cluster.objects().keys().any(|key| key.contains("/jobs/")));
    let info = record(&cluster, 1)["info"].clone();
    assert_eq!(info["status"], "failed");
    let told = info["description"].as_str().expect("text");
    assert!(told.starts_with("Stopped after the phase database, as --phase asked; "), "{told}");
    let next = run(&world, "install", &[&db[..], &["--phase", "schema", "-o", "json"]].concat());
    let next = next.run().expect(0).json();
    assert_eq!((&next["phase"], &next["revision"]), (&json!("schema"), &json!(2)));
    assert!(next["left_to_a_later_run"].as_u64().expect("number") > 5);
    let made: Vec<String> =
        cluster.objects().into_keys().filter(|key| key.contains("/jobs/")).collect();
    assert_eq!(made.len(), 2, "{made:?}");
    let whole = run(&world, "install", &db).run().expect(0);
    assert!(whole.stdout.contains("installed maas in maas: revision 3"), "{}", whole.stdout);
    assert_eq!(record(&cluster, 3)["info"]["status"], "deployed");

    // An upgrade: what leaves the release stays until the last phase.
    let off = [
        "--set",
        "postgresql.enabled=true,manifests.syslog_statefulset=false,manifests.syslog_service=false,conf.maas.workers=2",
    ];
    run(&world, "upgrade", &[&off[..], &["--phase", "region"]].concat()).run().expect(0);
    assert!(cluster.get("statefulsets/maas-syslog").is_some());
    assert_eq!(record(&cluster, 3)["info"]["status"], "deployed", "it still is what is deployed");
    run(&world, "upgrade", &off).run().expect(0);
    assert!(cluster.get("statefulsets/maas-syslog").is_none());
    // Where nothing is left for later phases, it is the whole.
    let workers = [
        "--set",
        "postgresql.enabled=true,manifests.syslog_statefulset=false,manifests.syslog_service=false,conf.maas.workers=3",
    ];
    let done =
        run(&world, "upgrade", &[&workers[..], &["--phase", "region"]].concat()).run().expect(0);
    assert!(done.stdout.contains("upgraded maas in maas: revision 6"), "{}", done.stdout);
    // So is the last phase.
    run(&world, "upgrade", &[&db[..], &["--phase", "images"]].concat()).run().expect(0);
    assert_eq!(record(&cluster, 7)["info"]["status"], "deployed");
    let wrong = run(&world, "install", &["--phase", "databse"]).run().expect(64);
    assert!(
        wrong.stderr.contains("possible values: configuration, database, "),
        "{}",
        wrong.stderr
    );
}

#[test]
fn an_uninstall_that_was_interrupted_says_how_to_go_on() {
    let (world, cluster) = installed();
    put_record(&cluster, 1, |release| {
        release["info"]["status"] = json!("uninstalling");
        release["info"]["deleted"] = release["info"]["last_deployed"].clone();
    });
    let told = run(&world, "install", &[]).run().expect(5).message();
    assert!(told.contains("revision 1 of maas is uninstalling since "), "{told}");
    assert!(told.contains("maas-deployer uninstall maas goes on with it"), "{told}");
    run(&world, "uninstall", &["--yes"]).run().expect(0);
    assert!(cluster.objects().is_empty());
}

fn cluster_at(server: &ApiServer) -> Cluster {
    let url = server.http.url().parse().expect("URL");
    Cluster::with_client(kube::Client::try_from(kube::Config::new(url)).expect("client"))
}

fn release(version: u32) -> Release {
    let mut release =
        Release::next("maas", "maas", &Candidate::default(), None, Status::PendingInstall, "x");
    release.version = version;
    release
}

/// Two containers of one host have the same user, host and process number.
#[tokio::test]
async fn a_run_is_known_by_more_than_its_name() {
    let mut world = World::new();
    let server = ApiServer::start(&mut world, |_| {});
    let cluster = cluster_at(&server);
    let store = |holder: Holder| Store::new(cluster.clone(), "maas", "maas", holder);
    let (one, other) = (Holder::new("root@host, process 1"), Holder::new("root@host, process 1"));
    let mine = store(one.clone()).create(release(1), BTreeMap::new()).await.expect("made");
    assert!(store(one.clone()).is_own(&mine) && !store(other.clone()).is_own(&mine));
    // The answer to this run's own write was lost: it is recognised.
    store(one.clone()).create(release(1), BTreeMap::new()).await.expect("its own");
    let theirs = store(other.clone()).create(release(1), BTreeMap::new()).await;
    assert!(matches!(theirs, Err(StoreError::Locked { .. })), "{theirs:?}");
    // Nor does the other's interruption end this one.
    let options = Options {
        wait: false,
        timeout: std::time::Duration::from_secs(60),
        dry_run: false,
        force_conflicts: false,
        recover: false,
        create_namespace: false,
        phase: None,
    };
    let operation = Operation::new(&cluster, "maas", "maas", other, options, &());
    assert_eq!(operation.interrupted().await.expect("asked"), None);
    let operation = Operation::new(&cluster, "maas", "maas", one, options, &());
    assert_eq!(operation.interrupted().await.expect("asked"), Some(1));
    // What was made for a revision that is not the newest any more is not applied.
    let stale = Candidate { after: Some(7), ..Candidate::default() };
    let moved = operation.upgrade(&stale).await;
    assert!(matches!(moved, Err(ApplyError::Moved { revision: 1, .. })), "{moved:?}");
}
