//! An API server that goes away and comes back, that loses answers, that lacks a right; and two at
//! once. Against the stand-in, where workloads become ready as soon as nothing holds them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::releases::{RECORD, installed, put_record, record, run, start, writes};
use crate::support::{ApiServer, Fault, Job, World, eventually};

/// Workloads are ready, Jobs complete; but those of a component that is held.
fn works(objects: &mut BTreeMap<String, Value>) {
    let held: Vec<String> = objects
        .keys()
        .filter_map(|key| key.strip_prefix("test/hold/").map(str::to_owned))
        .collect();
    let refuses = objects.contains_key("test/marks/refuses");
    let (mut pods, mut written) = (Vec::new(), Vec::new());
    for (key, object) in objects.iter_mut() {
        let component = &object["metadata"]["labels"]["app.kubernetes.io/component"];
        let component = component.as_str().unwrap_or_default().to_owned();
        if held.contains(&component) {
            continue;
        }
        if key.contains("/statefulsets/") {
            let count = object["spec"]["replicas"].clone();
            object["status"] =
                json!({"replicas": count, "readyReplicas": count, "updatedReplicas": count});
        } else if key.contains("/jobs/") && refuses && component == "quiesce" {
            object["status"] = json!({"conditions": [{"type": "Failed", "status": "True",
                "reason": "PodFailurePolicy", "message": "exit code 5"}]});
            pods.push(refused_pod());
        } else if key.contains("/jobs/") {
            object["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
            if component == "export-api-key" {
                written.push(("maas/secrets/maas-api-key".to_owned(), json!({"kind": "Secret"})));
            }
        }
    }
    objects.extend(written);
    objects.extend(pods);
}

/// What the job quiesce says where MAAS would go back.
fn refused_pod() -> (String, Value) {
    let status = json!({"name": "quiesce", "ready": false, "image": "", "imageID": "",
        "restartCount": 0, "state": {"terminated": {"exitCode": 5, "reason": "Error"}}});
    let pod = json!({
        "metadata": {"name": "maas-quiesce-x", "labels": {"batch.kubernetes.io/job-name": "maas-quiesce"}},
        "status": {"phase": "Failed", "containerStatuses": [status]},
        "log": include_str!("../messages/quiesce-older.txt"),
    });
    ("maas/pods/maas-quiesce-x".to_owned(), pod)
}

const DATABASE: &str = "postgresql.enabled=true";

pub(crate) fn alive() -> (World, ApiServer) {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, works);
    (world, cluster)
}

/// The whole chart, hooks and waits with it.
pub(crate) fn whole(world: &World, verb: &str, more: &[&str]) -> Job {
    world.verb(&[&[verb, "-n", "maas", "--timeout", "100s", "--progress", "plain"], more].concat())
}

/// Every revision's state; that each can be read is checked with it.
fn states(cluster: &ApiServer) -> Vec<String> {
    let keys = cluster.objects().into_keys();
    let revisions = keys
        .filter_map(|key| key.strip_prefix("maas/secrets/sh.helm.release.v1.maas.v")?.parse().ok());
    let mut revisions: Vec<u32> = revisions.collect();
    revisions.sort_unstable();
    let state = |revision: u32| {
        let release = record(cluster, revision);
        assert_eq!(release["version"], revision);
        let secret = cluster.get(&format!("{RECORD}{revision}")).expect("record");
        assert_eq!(secret["metadata"]["labels"]["status"], release["info"]["status"]);
        release["info"]["status"].as_str().expect("text").to_owned()
    };
    revisions.into_iter().map(state).collect()
}

/// The names of all objects, without those that stand for what goes on in the test.
fn names(cluster: &ApiServer) -> Vec<String> {
    cluster.objects().into_keys().filter(|key| !key.starts_with("test/")).collect()
}

/// Where a phase is applied, and what it waits for.
const PHASES: [(&str, &str, &str); 12] = [
    ("configuration", "/rolebindings/maas-import-images", ""),
    ("database", "/statefulsets/maas-postgresql", "postgresql"),
    ("db-init", "/jobs/maas-db-init-", "db-init"),
    ("schema", "/jobs/maas-db-sync-", "db-sync"),
    ("shared-secret", "/jobs/maas-seed-secret-", "seed-secret"),
    ("region", "/statefulsets/maas-region", "region"),
    ("admin", "/jobs/maas-create-admin-", "create-admin"),
    ("settings", "/jobs/maas-configure-", "configure"),
    ("api-key", "/jobs/maas-export-api-key-", "export-api-key"),
    ("rack", "/statefulsets/maas-rack", "rack"),
    ("images", "/jobs/maas-import-images-", "import-images"),
    ("hook pre-install", "/jobs", "secrets"),
];

/// The server is gone while the phase is applied, and again while it is waited for; it loses an
/// answer on its way, too.
fn one_phase((phase, applied, component): (&str, &str, &str)) {
    let (world, cluster) = alive();
    let method = if phase.starts_with("hook") { "POST" } else { "PATCH" };
    cluster.go_wrong(Fault::lost(method, applied));
    cluster.go_wrong(Fault::cut(method, applied).times(2));
    if component.is_empty() {
        whole(&world, "install", &["--set", DATABASE]).run().expect(0);
    } else {
        cluster.put(&format!("test/hold/{component}"), json!({}));
        let running = whole(&world, "install", &["--set", DATABASE]).spawn();
        let waits = |said: &str| {
            said.lines().any(|line| match phase.strip_prefix("hook ") {
                Some(event) => line.contains(&format!("hook {event}: Job")),
                None => line.contains(&format!("  {phase} (")) && line.contains("waiting for"),
            })
        };
        eventually(&format!("{phase} to be waited for"), || waits(&running.stderr()));
        let before = cluster.http.asked().len();
        cluster.go_wrong(Fault::cut("", "/").dry_too());
        // Whoever watches notices that it is gone.
        eventually("the server to be missed", || cluster.http.asked().len() > before + 3);
        cluster.allow_all();
        cluster.remove(&format!("test/hold/{component}"));
        running.wait().expect(0);
    }
    assert_eq!(states(&cluster), ["deployed"], "{phase}");
    let again = whole(&world, "upgrade", &["--set", DATABASE]).run().expect(0);
    assert!(again.stdout.contains("nothing to change; revision 1"), "{phase}: {}", again.stdout);
}

#[test]
fn a_server_that_dies_in_any_phase_and_comes_back_is_waited_for() {
    for part in PHASES.chunks(4) {
        std::thread::scope(|scope| {
            for phase in part {
                scope.spawn(|| one_phase(*phase));
            }
        });
    }
}

/// Each kind of write that an installation and an upgrade do, each with the answer lost.
#[test]
fn an_answer_that_was_lost_is_no_other_deployers_write() {
    let off =
        "postgresql.enabled=true,manifests.syslog_statefulset=false,manifests.syslog_service=false";
    let (world, cluster) = alive();
    whole(&world, "install", &["--set", DATABASE]).run().expect(0);
    whole(&world, "upgrade", &["--set", off]).run().expect(0);
    let (calm, all) = (names(&cluster), writes(&cluster));
    // By method and kind; of writes to a record, each, as each says something else.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut cases = Vec::new();
    for write in all {
        let (method, path) = write.split_once(' ').expect("method and path");
        let method = ["POST", "PUT", "PATCH", "DELETE"].into_iter().find(|one| *one == method);
        let kind = path.split('/').skip_while(|part| *part != "maas").nth(1).expect("kind");
        let count = seen.entry(format!("{method:?} {kind}")).or_default();
        if *count == 0 || method == Some("PUT") {
            cases.push((method.expect("method"), format!("/{kind}"), *count));
        }
        *count += 1;
    }
    assert!(cases.len() > 15, "{cases:?}");
    for part in cases.chunks(4) {
        std::thread::scope(|scope| {
            for (method, kind, skip) in part {
                let calm = &calm;
                scope.spawn(move || {
                    let (world, cluster) = alive();
                    cluster.go_wrong(Fault::lost(method, kind).after(*skip));
                    whole(&world, "install", &["--set", DATABASE]).run().expect(0);
                    whole(&world, "upgrade", &["--set", off]).run().expect(0);
                    assert_eq!(
                        states(&cluster),
                        ["superseded", "deployed"],
                        "{method} {kind} {skip}"
                    );
                    assert_eq!(names(&cluster), *calm, "{method} {kind} {skip}");
                });
            }
        });
    }
}

#[test]
fn a_server_that_stays_away_is_waited_for_no_longer_than_the_timeout() {
    let (world, cluster) = start();
    cluster.go_wrong(Fault::cut("", "/statefulsets/maas-region"));
    let begun = std::time::Instant::now();
    let gone = run(&world, "install", &["--timeout", "3s"]).run().expect(1);
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
    let told = gone.message();
    assert!(told.contains("no answer from Kubernetes"), "{told}");
    assert!(told.contains("hint: check the cluster's API server"), "{told}");
    cluster.allow_all();
    run(&world, "install", &[]).run().expect(0);
    assert_eq!(states(&cluster).last().map(String::as_str), Some("deployed"));
}

/// They look at the same state, plan, and come to the record at the same moment.
#[test]
fn of_two_that_begin_at_once_exactly_one_goes_on() {
    for verb in ["install", "upgrade"] {
        let (world, cluster) = if verb == "install" { start() } else { installed() };
        cluster.gather("POST", "/secrets?", 2);
        let runs: Vec<_> = ["2", "3"]
            .map(|workers| {
                run(&world, verb, &["--set", &format!("conf.maas.workers={workers}")]).spawn()
            })
            .into_iter()
            .map(crate::support::Running::wait)
            .collect();
        let mut codes: Vec<i32> = runs.iter().map(|one| one.code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 6], "{verb}");
        let refused = runs.iter().find(|one| one.code == 6).expect("one");
        let told = refused.message();
        assert!(
            told.contains("is being made by tester@")
                && told.contains("hint: wait until that run is done"),
            "{told}"
        );
        let all = states(&cluster);
        assert_eq!(all.last().map(String::as_str), Some("deployed"));
        assert_eq!(all.len(), if verb == "install" { 1 } else { 2 });
        // What is there is all the winner's.
        let workers = record(&cluster, u32::try_from(all.len()).expect("few"))["config"]["conf"]["maas"]["workers"].clone();
        let set = format!("conf.maas.workers={workers}");
        let same = run(&world, "upgrade", &["--set", &set]).run().expect(0);
        assert!(same.stdout.contains("nothing to change"), "{}", same.stdout);
    }
}

/// Every verb on every kind of object that an upgrade needs, one lacking at a time.
#[test]
fn a_right_that_is_lacking_is_named_and_the_next_run_goes_on() {
    let needs: [(&str, &str, &str, bool); 9] = [
        ("GET", "/secrets?", "list", true),
        ("GET", "/secrets/sh.helm", "get", true),
        ("POST", "/secrets?", "create", true),
        ("PUT", "/secrets/sh.helm", "update", false),
        ("GET", "/statefulsets/maas-region", "get", true),
        ("PATCH", "/statefulsets/maas-region", "patch", true),
        ("DELETE", "/services/maas-syslog", "delete", false),
        ("PATCH", "/configmaps/maas-region", "patch", true),
        ("GET", "/api/v1", "get", true),
    ];
    let off = [
        "--set",
        "manifests.syslog_statefulset=false,manifests.syslog_service=false,conf.maas.workers=2",
    ];
    for (method, part, verb, is_before) in needs {
        let (world, cluster) = installed();
        let message = format!(
            "x is forbidden: User \"deployer\" cannot {verb} resource \"x\" in the namespace \"maas\""
        );
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
            "reason": "Forbidden", "message": message});
        let before = writes(&cluster).len();
        cluster.go_wrong(Fault::refused(method, part, 0).with(body).dry_too());
        let code = if is_before { 5 } else { 1 };
        let told = run(&world, "upgrade", &off).run().expect(code).message();
        assert!(told.contains(&format!("cannot {verb} resource")), "{method} {part}: {told}");
        assert!(told.contains("kubectl auth can-i"), "{method} {part}: {told}");
        // The try to make the record is a write that was refused.
        let after = writes(&cluster).len() - usize::from(method == "POST");
        assert_eq!(after == before, is_before, "{method} {part}");
        cluster.allow_all();
        // Where the record could not be closed, that is said, and how to go on.
        let is_open = states(&cluster).last().is_some_and(|state| state == "pending-upgrade");
        assert_eq!(is_open, method == "PUT", "{method} {part}");
        let more: &[&str] = if is_open { &["--recover"] } else { &[] };
        run(&world, "upgrade", &[&off[..], more].concat()).run().expect(0);
        assert_eq!(states(&cluster).last().map(String::as_str), Some("deployed"));
        assert!(cluster.get("services/maas-syslog").is_none());
    }
}

#[test]
fn a_token_that_expires_on_the_way_is_told_and_how_to_go_on() {
    let (world, cluster) = start();
    // Once the first workload is applied, nothing is let in any more.
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401,
        "reason": "Unauthorized", "message": "Unauthorized"});
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/", 0).with(body.clone()));
    cluster.go_wrong(Fault::refused("PUT", "/secrets/", 0).with(body));
    let expired = run(&world, "install", &["--progress", "plain"]).run().expect(1);
    assert!(
        expired.stderr.contains("warning: revision 1 is still pending: "),
        "{}",
        expired.stderr
    );
    assert!(expired.message().contains("have expired: log in anew"), "{}", expired.stderr);
    assert_eq!(states(&cluster), ["pending-install"]);
    cluster.allow_all();
    let stuck = run(&world, "install", &[]).run().expect(5);
    assert!(stuck.message().contains("run this again with --recover"), "{}", stuck.stderr);
    run(&world, "install", &["--recover"]).run().expect(0);
    assert_eq!(states(&cluster), ["failed", "deployed"]);
}

#[test]
fn a_rollback_across_a_migration_is_refused_and_changes_nothing() {
    let (world, cluster) = alive();
    whole(&world, "install", &[]).run().expect(0);
    whole(&world, "upgrade", &["--set", "conf.maas.workers=2"]).run().expect(0);
    let region = cluster.get("statefulsets/maas-region");
    cluster.put("test/marks/refuses", json!({}));
    whole(&world, "rollback", &["1"]).run().failed(5, "rollback-migration");
    assert_eq!(cluster.get("statefulsets/maas-region"), region);
    assert_eq!(states(&cluster), ["superseded", "deployed", "failed"]);
    // The next upgrade keeps the values of what is there, not those that were refused.
    cluster.remove("test/marks/refuses");
    whole(&world, "upgrade", &[]).run().expect(0);
    assert_eq!(record(&cluster, 4)["config"]["conf"]["maas"]["workers"], 2);
    assert_eq!(
        cluster.get("statefulsets/maas-region").expect("it")["spec"],
        region.expect("it")["spec"]
    );
}

#[test]
fn when_the_time_is_over_all_that_is_known_is_told() {
    let (world, cluster) = alive();
    let hold = |component: &str| cluster.put(&format!("test/hold/{component}"), json!({}));
    hold("region");
    let pod = |owner: &str, kind: &str, container: &str, labels: Value| {
        let status = json!({"name": container, "ready": false, "image": "", "imageID": "",
            "restartCount": 0, "state": {"running": {}}});
        json!({"metadata": {"labels": labels, "ownerReferences": [{"apiVersion": "apps/v1",
            "kind": kind, "name": owner, "uid": "1"}]},
            "status": {"phase": "Running", "containerStatuses": [status]},
            "log": "2026-01-02 regiond: starting\n2026-01-02 regiond: waiting for the database\n"})
    };
    let instance = json!({"app.kubernetes.io/instance": "maas"});
    cluster.put("pods/maas-region-0", pod("maas-region", "StatefulSet", "region", instance));
    cluster.put("events/one", json!({"involvedObject": {"name": "maas-region-0"}, "type": "Warning",
        "reason": "FailedAttachVolume", "message": "volume is in use", "lastTimestamp": "2026-01-02T03:04:05Z"}));
    let short = ["--timeout", "10s", "--set", "manifests.job_secrets=false"];
    let run = |verb: &str| world.verb(&[&[verb, "-n", "maas"], &short[..]].concat()).run();
    run("install").failed(1, "install-timeout");
    assert_eq!(states(&cluster), ["failed"]);
    // Images may take hours: that they do is no reason to begin anew.
    cluster.remove("test/hold/region");
    hold("import-images");
    let job = cluster.objects().into_keys().find(|key| key.contains("/jobs/maas-import-images-"));
    let job = job.expect("the job").rsplit('/').next().expect("name").to_owned();
    cluster.remove(&format!("jobs/{job}"));
    let labels = json!({"batch.kubernetes.io/job-name": job});
    cluster.put("pods/importing", pod(&job, "Job", "import-images", labels));
    let told = run("install").expect(1).message();
    for part in [
        "waited 10 s in all for Job maas-import-images-DIGEST",
        "- phase: images",
        "- log: 2026-01-02 regiond: waiting for the database",
        "hint: the import goes on in the cluster: run this again to wait for it, with a longer --timeout, or with --no-wait; look at: kubectl -n maas logs importing -c import-images",
    ] {
        assert!(told.contains(part), "no '{part}' in {told}");
    }
    cluster.remove("test/hold/import-images");
    let end = ["install", "-n", "maas", "--set", "manifests.job_secrets=false"];
    world.verb(&end).run().expect(0);
    assert_eq!(states(&cluster), ["failed", "failed", "deployed"]);
    assert!(cluster.objects().keys().any(|key| key.ends_with(&job)), "the same Job went on");
}

#[test]
fn a_hook_that_is_deleted_under_the_run_ends_it() {
    let (world, cluster) = alive();
    cluster.put("test/hold/secrets", json!({}));
    let running = whole(&world, "install", &[]).spawn();
    eventually("the hook", || cluster.get("jobs/maas-secrets").is_some());
    // Seen once, then gone.
    eventually("it to be watched", || {
        let asked = cluster.http.asked();
        asked.iter().any(|one| {
            one.target.contains("metadata.name%3Dmaas-secrets")
                && one.query().contains("watch=true")
        })
    });
    cluster.remove("jobs/maas-secrets");
    let ended = running.wait().expect(1);
    assert!(ended.message().contains("it was deleted before it ended"), "{}", ended.stderr);
    assert_eq!(states(&cluster), ["failed"]);
}

#[test]
fn the_record_names_the_run_and_people_need_not_read_it() {
    let (world, cluster) = installed();
    let annotations =
        cluster.get(&format!("{RECORD}1")).expect("record")["metadata"]["annotations"].clone();
    let id = annotations["maas-deployer/run"].as_str().expect("an id").to_owned();
    assert!(annotations["maas-deployer/by"].as_str().expect("a name").starts_with("tester@"));
    assert_eq!(id.len(), 32);
    put_record(&cluster, 1, |release| release["info"]["status"] = json!("pending-install"));
    let stuck = run(&world, "upgrade", &[]).run().expect(5);
    assert!(!stuck.stderr.contains(&id), "{}", stuck.stderr);
    let listed = world.verb(&["history", "-n", "maas", "-o", "json"]).run().expect(0);
    assert!(!listed.stdout.contains(&id), "{}", listed.stdout);
}

#[test]
fn what_went_while_nobody_watched_is_not_believed_on() {
    let (world, cluster) = alive();
    cluster.put("test/hold/region", json!({}));
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available"});
    cluster.put(
        "pods/maas-region-0",
        json!({"metadata": {"namespace": "maas", "labels": {"app.kubernetes.io/instance": "maas"}, "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "maas-region", "uid": "1"}]},
            "status": {"phase": "Pending", "conditions": [condition]}}),
    );
    let short = ["install", "-n", "maas", "--timeout", "10s"];
    let running =
        world.verb(&[&short[..], &["--set", "manifests.job_secrets=false"]].concat()).spawn();
    let is_watched = |part: &str| {
        let asked = cluster.http.asked();
        asked.iter().any(|one| one.target.contains(part) && one.query().contains("watch=true"))
    };
    eventually("pods to be watched", || is_watched("/pods?"));
    eventually("workloads to be watched", || is_watched("/statefulsets?"));
    // These watches end with the word that what they began from is too old.
    cluster.remove("pods/maas-region-0");
    cluster.remove("statefulsets/maas-syslog");
    let told = running.wait().expect(1).message();
    assert!(!told.contains("pod maas-region-0"), "{told}");
    assert!(told.contains("StatefulSet maas-syslog: it is not there"), "{told}");
}

#[test]
fn old_revisions_that_cannot_be_deleted_do_no_harm() {
    let (world, cluster) = installed();
    let upgrade = |workers: u32, more: &[&str]| {
        let set = format!("conf.maas.workers={workers}");
        run(&world, "upgrade", &[&["--set", &set], more].concat()).run().expect(0)
    };
    for workers in 1..10 {
        upgrade(workers, &[]);
    }
    cluster.go_wrong(Fault::refused("DELETE", "/secrets/", 403));
    let run = upgrade(10, &["--progress", "plain"]);
    assert!(run.stderr.contains("warning: old revisions are still there: "), "{}", run.stderr);
    assert_eq!(states(&cluster).len(), 11);
    cluster.allow_all();
    upgrade(11, &[]);
    let states = states(&cluster);
    assert_eq!((states.len(), states[9].as_str()), (10, "deployed"));
}

#[test]
fn an_uninstall_and_others_do_not_meet() {
    let (world, cluster) = installed();
    // Somebody's upgrade is under way.
    put_record(&cluster, 1, |release| release["info"]["status"] = json!("pending-upgrade"));
    let before = writes(&cluster).len();
    let met = run(&world, "uninstall", &["--yes"]).run().expect(5);
    assert!(met.message().contains("is pending-upgrade since"), "{}", met.stderr);
    assert!(met.message().contains("run this again with --recover"), "{}", met.stderr);
    run(&world, "uninstall", &["--dry-run"]).run().expect(0);
    assert_eq!(writes(&cluster).len(), before);
    // Somebody's uninstall is.
    put_record(&cluster, 1, |release| {
        release["info"]["status"] = json!("uninstalling");
        release["info"]["deleted"] = release["info"]["last_deployed"].clone();
    });
    for verb in [&["upgrade", "--set", "conf.maas.workers=2"][..], &["rollback", "1"]] {
        let met = run(&world, verb[0], &verb[1..]).run().expect(5);
        assert!(met.message().contains("is uninstalling since"), "{}", met.stderr);
        assert!(met.message().contains("maas-deployer uninstall maas goes on"), "{}", met.stderr);
    }
    assert_eq!(writes(&cluster).len(), before);
    run(&world, "upgrade", &["--recover"]).run().expect(0);
    assert_eq!(states(&cluster), ["failed", "deployed"]);
    put_record(&cluster, 2, |release| release["info"]["status"] = json!("pending-upgrade"));
    run(&world, "uninstall", &["--yes", "--recover"]).run().expect(0);
    assert!(cluster.objects().is_empty());
}

#[test]
fn a_revision_is_given_up_when_another_is_made_and_not_before() {
    let (world, cluster) = installed();
    put_record(&cluster, 1, |release| release["info"]["status"] = json!("pending-upgrade"));
    let set = ["--recover", "--progress", "plain", "--set", "conf.maas.workers=2"];
    let dry = run(&world, "upgrade", &[&set[..], &["--dry-run"]].concat()).run().expect(0);
    assert!(dry.stderr.contains("was never finished; it would be given up"), "{}", dry.stderr);
    assert_eq!(states(&cluster), ["pending-upgrade"]);
    // What is refused before anything is changed leaves the record as it was, too.
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422,
        "reason": "Invalid", "message": "spec: Invalid value"});
    cluster.go_wrong(Fault::refused("PATCH", "/statefulsets/", 0).with(body).dry_too());
    assert_ne!(run(&world, "upgrade", &set).run().code, 0);
    assert_eq!(states(&cluster), ["pending-upgrade"]);
    cluster.allow_all();
    let run = run(&world, "upgrade", &set).run().expect(0);
    assert!(run.stderr.contains("never finished; it is given up"), "{}", run.stderr);
    assert_eq!(states(&cluster), ["failed", "deployed"]);
}

#[test]
fn of_jobs_that_fail_one_after_the_other_the_cause_is_told() {
    let (world, cluster) = alive();
    for component in ["db-init", "import-images"] {
        cluster.put(&format!("test/hold/{component}"), json!({}));
    }
    let job = |name: &str| {
        let part = format!("maas/jobs/maas-{name}-");
        cluster.objects().into_iter().find(|(key, _)| key.starts_with(&part))
    };
    let fail = |name: &str| {
        let (key, mut job) = job(name).expect("the Job");
        job["status"] = json!({"failed": 1, "conditions": [{"type": "Failed", "status": "True",
            "reason": "BackoffLimitExceeded", "message": "it failed"}]});
        cluster.put(&key, job);
    };
    let begin = || whole(&world, "install", &[]).spawn();
    let running = begin();
    eventually("the Jobs", || job("import-images").is_some() && job("db-init").is_some());
    let looks = || cluster.http.asked().iter().filter(|one| one.target.contains("/jobs?")).count();
    let before = looks();
    fail("import-images");
    // The list that has it, and a watch from there.
    eventually("that to be seen", || looks() >= before + 2);
    fail("db-init");
    let told = running.wait().expect(1).message();
    assert!(told.contains("because Job maas-db-init-DIGEST: "), "{told}");
    // Where those before it go on, it is told with what they do.
    for name in ["db-init", "import-images"] {
        let (key, _) = job(name).expect("the Job");
        cluster.remove(&key);
    }
    let running = begin();
    eventually("the Jobs anew", || job("import-images").is_some() && job("db-init").is_some());
    fail("import-images");
    let told = running.wait().expect(1).message();
    assert!(told.contains("because Job maas-import-images-DIGEST: "), "{told}");
    assert!(told.contains("- before it, Job maas-db-init-DIGEST: "), "{told}");
}

#[test]
fn why_a_job_is_tried_again_is_told() {
    let (world, cluster) = alive();
    cluster.put("test/hold/configure", json!({}));
    let running = whole(&world, "install", &[]).spawn();
    let job = || {
        let mut keys = cluster.objects().into_keys();
        keys.find(|key| key.starts_with("maas/jobs/maas-configure-"))
    };
    eventually("the Job", || job().is_some());
    let name = job().expect("it").rsplit('/').next().expect("name").to_owned();
    let status = json!({"name": "configure", "ready": false, "image": "", "imageID": "",
        "restartCount": 0, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}});
    cluster.put(
        "pods/maas-configure-x",
        json!({"metadata": {"namespace": "maas", "labels": {"app.kubernetes.io/instance": "maas"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "1"}]},
            "status": {"phase": "Failed", "containerStatuses": [status]},
            "log": "INFO x\nerror: the job configure failed\n  because MAAS is away\nhint: look\n"}),
    );
    let told = "container configure: error: the job configure failed, because MAAS is away";
    eventually("the reason", || running.stderr().contains(told));
    cluster.remove("test/hold/configure");
    let run = running.wait().expect(0);
    assert_eq!(run.stderr.matches(told).count(), 1, "once: {}", run.stderr);
}
