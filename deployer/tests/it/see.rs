//! Verbs that look: `diff` and `status`, against the stand-in for Kubernetes' API server.
//! `real_see` has what only a real one does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::releases::put_record;
use crate::support::{ApiServer, Job, World, eventually};

fn quiet(_: &mut BTreeMap<String, Value>) {}

const NO_HOOKS: [&str; 2] = ["--set", "manifests.job_secrets=false,manifests.job_quiesce=false"];

fn start() -> (World, ApiServer) {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    (world, cluster)
}

fn installed(more: &[&str]) -> (World, ApiServer) {
    let (world, cluster) = start();
    let install = ["install", "-n", "maas", "--no-wait"];
    world.verb(&[&install, &NO_HOOKS[..], more].concat()).run().expect(0);
    (world, cluster)
}

fn diff(world: &World, more: &[&str]) -> Job {
    world.verb(&[&["diff", "-n", "maas"], &NO_HOOKS[..], more].concat())
}

/// All that changes something.
fn writes(cluster: &ApiServer) -> usize {
    let asked = cluster.http.asked();
    asked.iter().filter(|one| one.method != "GET" && !one.query().contains("dryRun")).count()
}

#[test]
fn a_diff_of_what_is_not_installed_makes_everything() {
    let (world, cluster) = start();
    let run = diff(&world, &["--detailed-exitcode"]).run().expect(2);
    assert!(
        run.stdout.contains("create StatefulSet maas/maas-region (maas/templates/region.yaml)")
    );
    assert!(run.stdout.contains("+kind: StatefulSet"), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "no colours in a file");
    // Without the option a change is no failure; nor is a namespace that is not there.
    let missing = ["diff", "-n", "missing", "-o", "json"];
    let run = world.verb(&[&missing, &NO_HOOKS[..]].concat()).run().expect(0).json();
    assert_eq!((&run["schema"], &run["revision"]), (&json!("maas-deployer/diff/1"), &Value::Null));
    assert_eq!(run["counts"]["update"], 0);
    assert!(run["counts"]["create"].as_u64().expect("number") > 20, "{}", run["counts"]);
    let with_hooks = world.verb(&["diff", "-n", "maas"]).run().expect(0);
    assert!(with_hooks.stdout.contains("would run the hook pre-install: Job maas-secrets"));
    assert_eq!(writes(&cluster), 0);
}

#[test]
fn a_diff_has_what_changed_by_values_and_by_hand_and_nothing_else() {
    let (world, cluster) = installed(&[]);
    let before = (writes(&cluster), cluster.objects());
    let none = diff(&world, &["--detailed-exitcode"]).run().expect(0);
    assert!(none.stdout.starts_with("nothing to change; "), "{}", none.stdout);
    let mut region = cluster.get("statefulsets/maas-region").expect("the region");
    region["spec"]["replicas"] = json!(7);
    region["status"] = json!({"readyReplicas": 7});
    cluster.put("statefulsets/maas-region", region);
    let off = ["--set", "manifests.syslog_statefulset=false"];
    let run = diff(&world, &[&off[..], &["--context", "1", "--detailed-exitcode"]].concat());
    let run = run.run().expect(2);
    let region = "update StatefulSet maas/maas-region (maas/templates/region.yaml)\n@@ ";
    assert!(run.stdout.contains(region), "{}", run.stdout);
    assert!(run.stdout.contains("\n-  replicas: 7\n+  replicas: 1\n"), "{}", run.stdout);
    assert!(
        run.stdout.contains("delete StatefulSet maas/maas-syslog (maas/templates/syslog.yaml)")
    );
    assert!(!run.stdout.contains("readyReplicas") && !run.stdout.contains("resourceVersion"));
    let json = diff(&world, &["-o", "json"]).run().expect(0).json();
    let changes = json!([{"action": "update", "object": "StatefulSet maas/maas-region",
        "template": "maas/templates/region.yaml", "conflicts": [],
        "fields": [{"op": "replace", "path": "/spec/replicas", "before": 7, "after": 1}]}]);
    assert_eq!(json["changes"], changes);
    assert_eq!(writes(&cluster), before.0);
    let coloured = diff(&world, &["--color", "always"]).run().expect(0);
    assert!(coloured.stdout.contains("\u{1b}[32m+  replicas: 1\u{1b}[0m"), "{}", coloured.stdout);
}

#[test]
fn a_diff_shows_a_job_that_takes_anothers_place_beside_it() {
    let (world, _cluster) = installed(&[]);
    let set = ["--set", "conf.maas.ntp.ntp_servers={ntp.example.org}"];
    let json = diff(&world, &[&set[..], &["-o", "json"]].concat()).run().expect(0).json();
    let changes = json["changes"].as_array().expect("list");
    let configure = |one: &&Value| {
        let name = one["object"].as_str().expect("text");
        name.starts_with("Job maas/maas-configure-")
    };
    let job = changes.iter().find(configure).expect("the Job");
    assert_eq!(job["action"], "replace");
    let before = job["instead_of"].as_str().expect("text");
    assert!(before.starts_with("Job maas/maas-configure-") && job["object"] != before, "{job}");
    let paths: Vec<&str> = job["fields"]
        .as_array()
        .expect("list")
        .iter()
        .filter_map(|one| one["path"].as_str())
        .collect();
    assert!(paths.contains(&"/metadata/name") && paths.len() < 8, "{paths:?}");
    assert!(changes.iter().all(|one| one["action"] != "delete"), "{changes:?}");
    let stays = json["counts"]["unchanged"].as_u64().expect("number");
    let none = diff(&world, &["-o", "json"]).run().expect(0).json();
    let all = none["counts"]["unchanged"].as_u64().expect("number");
    assert_eq!(all - stays, changes.len() as u64, "each object is counted once");
    let text = diff(&world, &set).run().expect(0).stdout;
    let told = format!(", in place of the {before} (maas/templates/jobs.yaml)\n@@ ");
    assert!(text.contains(&told), "{text}");
}

#[test]
fn what_others_added_is_told_and_stays() {
    let (world, cluster) = installed(&[]);
    let mut service = cluster.get("services/maas-region").expect("the Service");
    let ports = service["spec"]["ports"].as_array_mut().expect("ports");
    ports.push(json!({"name": "theirs", "port": 8081, "protocol": "TCP"}));
    let key = "k:{\"port\":8081,\"protocol\":\"TCP\"}";
    service["metadata"]["managedFields"] = json!([{"manager": "kubectl-edit", "operation": "Update",
        "fieldsV1": {"f:spec": {"f:ports": {key: {".": {}, "f:name": {}, "f:port": {}}}}}}]);
    // The stand-in merges no lists: what a server's dry run answers is what is there.
    cluster.put("services/maas-region", service);
    let run = diff(&world, &["-o", "json"]).run().expect(0).json();
    let field = ".spec.ports[port=8081,protocol=TCP]";
    assert_eq!(
        run["beside"],
        json!([{"object": "Service maas/maas-region", "manager": "kubectl-edit", "field": field}])
    );
    let text = diff(&world, &[]).run().expect(0).stdout;
    let told = format!(
        "stays, as it is not the release's: {field} of Service maas/maas-region, set by kubectl-edit\n"
    );
    assert!(text.contains(&told), "{text}");
}

#[test]
fn a_diff_shows_that_a_secret_changed_and_never_to_what() {
    let password = |text: &str| format!("endpoints.maas_db.auth.admin.password={text}");
    let (mut world, cluster) = installed(&["--set", &password("old-hunter22")]);
    for secret in ["old-hunter22", "new-hunter23", "bmV3LWh1bnRlcjIz", "b2xkLWh1bnRlcjIy"] {
        world.hide(secret);
    }
    assert!(cluster.get("secrets/maas-db-admin").is_some());
    let set = password("new-hunter23");
    let run = diff(&world, &["--set", &set]).run().expect(0);
    assert!(run.stdout.contains("DATABASE_PASSWORD: '(hidden: another)'"), "{}", run.stdout);
    let json = diff(&world, &["--set", &set, "-o", "json"]).run().expect(0).json();
    let secret = json["changes"]
        .as_array()
        .expect("list")
        .iter()
        .find(|one| one["object"] == "Secret maas/maas-db-admin");
    let fields = &secret.expect("the Secret")["fields"];
    assert!(fields.to_string().contains("DATABASE_PASSWORD"), "{fields}");
}

#[test]
fn a_diff_of_a_release_that_is_pending_says_so_and_goes_on() {
    let (world, cluster) = installed(&[]);
    put_record(&cluster, 1, |release| {
        release["info"]["status"] = json!("pending-upgrade");
    });
    let run = diff(&world, &["--detailed-exitcode"]).run().expect(2);
    let told = "warning: revision 1 is pending-upgrade since ";
    assert!(
        run.stderr.starts_with(told) && run.stderr.contains("without --recover"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.contains("a new revision would be recorded"), "{}", run.stdout);
    cluster.refuse("/secrets?", 403);
    diff(&world, &[]).run().failed(5, "diff-403");
}

fn status(world: &World, more: &[&str]) -> Job {
    world.verb(&[&["status", "-n", "maas"], more].concat())
}

/// The region's pod, with a mirror that answers so.
fn put_pod(cluster: &ApiServer, readyz: Value) {
    let labels =
        json!({"app.kubernetes.io/instance": "maas", "app.kubernetes.io/component": "region"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": labels},
        "spec": {"nodeName": "node-1", "containers": [{"name": "region"},
            {"name": "mirror", "ports": [{"name": "mirror", "containerPort": 8888}]}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "region", "ready": true, "restartCount": 2, "image": "", "imageID": "", "state": {"running": {}}},
            {"name": "mirror", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {}}}]}});
    cluster.put("pods/maas-region-0", pod);
    cluster.put("pods/maas-region-0:8888", readyz);
}

#[test]
fn a_status_tells_what_is_known_and_why_the_rest_is_not() {
    let (world, cluster) = installed(&[]);
    put_pod(
        &cluster,
        json!({"ready": true, "snapshot": "sha256:0123456789abcdef", "damaged_blobs": 0}),
    );
    cluster.put(
        "events/a",
        json!({"type": "Warning", "reason": "BackOff", "message": "again",
        "involvedObject": {"kind": "Pod", "name": "maas-region-0"}}),
    );
    let json = status(&world, &["-o", "json"]).run().expect(1).json();
    assert_eq!(
        (&json["schema"], &json["healthy"]),
        (&json!("maas-deployer/status/1"), &json!(false))
    );
    assert_eq!(
        (&json["revision"]["revision"], &json["revision"]["status"]),
        (&json!(1), &json!("deployed"))
    );
    assert_eq!(json["phases"][0]["phase"], "configuration");
    assert_eq!(json["phases"][0]["state"], "done");
    assert_eq!((&json["pods"][0]["ready"], &json["pods"][0]["restarts"]), (&json!(2), &json!(2)));
    assert_eq!(json["mirrors"][0]["readyz"]["ready"], true);
    // Nothing runs there, so nothing can be run there.
    assert!(json["mirrors"][0]["status"]["unknown"].is_string(), "{}", json["mirrors"]);
    assert!(json["maas"]["unknown"].is_string(), "{}", json["maas"]);
    assert_eq!(json["api_key"], json!({"secret": "maas/maas-api-key", "present": false}));
    let text = status(&world, &[]).run().expect(1).stdout;
    for line in [
        "release      maas in maas: revision 1, deployed, ",
        "phases       configuration   done     ",
        "pods         maas-region-0  2/2 Running, 2 restarts, on node-1\n",
        "mirror       maas-region-0: serves snapshot 0123456789ab\n",
        "API key      the Secret maas/maas-api-key is not there\n",
        "events       Pod maas-region-0: BackOff: again",
    ] {
        assert!(text.contains(line), "no '{line}' in:\n{text}");
    }
    status(&world, &["other"]).run().expect(5);
    world.verb(&["status", "other", "-n", "maas"]).run().failed(5, "status-absent");
}

#[test]
fn a_mirror_that_is_not_ready_says_why() {
    let (world, cluster) = installed(&[]);
    put_pod(&cluster, Value::Null);
    let body = json!({"ready": false, "reason": "there is no snapshot yet", "damaged_blobs": 0});
    cluster.refuse_with(None, "/proxy/readyz", 503, Some(body), None);
    let text = status(&world, &[]).run().expect(1).stdout;
    assert!(text.contains("maas-region-0: not ready: there is no snapshot yet"), "{text}");
    assert!(text.contains("the mirror in maas-region-0 is not ready"), "{text}");
}

#[test]
fn what_a_pod_answers_is_read_up_to_a_limit() {
    let (world, cluster) = installed(&[]);
    put_pod(&cluster, json!({"ready": true, "snapshot": "x".repeat(5_000_000)}));
    let text = status(&world, &[]).run().expect(1).stdout;
    assert!(text.contains("it sends more than 4194304 bytes"), "{text}");
}

#[test]
fn a_source_that_may_not_be_read_stops_no_other() {
    let (world, cluster) = installed(&[]);
    cluster.refuse("/pods?", 403);
    cluster.refuse("/secrets/maas-api-key", 403);
    let text = status(&world, &[]).run().expect(1).stdout;
    assert!(text.contains("unknown: your account has no right to list the pods in maas"), "{text}");
    assert!(
        text.contains("unknown: your account has no right to read the Secret maas/maas-api-key"),
        "{text}"
    );
    assert!(text.contains("configuration   done"), "{text}");
    cluster.refuse("/secrets?", 403);
    let text = status(&world, &[]).run().expect(1).stdout;
    assert!(text.contains("its record is unknown: your account has no right to list"), "{text}");
    assert!(text.contains("it is not known how the release's objects stand"), "{text}");
}

#[test]
fn a_watch_tells_what_changes_until_it_is_interrupted() {
    let (world, cluster) = installed(&[]);
    put_pod(&cluster, json!({"ready": true, "snapshot": "sha256:0123456789abcdef"}));
    let running = status(&world, &["--watch", "--interval", "1s"]).spawn();
    eventually("the first look", || running.stdout().contains("serves snapshot 0123456789ab"));
    put_pod(&cluster, json!({"ready": true, "snapshot": "sha256:fedcba9876543210"}));
    eventually("the change", || running.stdout().contains("serves snapshot fedcba987654"));
    running.signal(rustix::process::Signal::INT);
    let ended = running.wait().expect(130);
    assert_eq!(ended.stdout.matches("MAAS 3.").count(), 1, "told once:\n{}", ended.stdout);
}

#[test]
fn a_watch_ends_where_nobody_can_read_it() {
    let (world, _cluster) = installed(&[]);
    let watch = || status(&world, &["--watch", "--interval", "1s"]);
    let none = || tempfile::tempfile().expect("a file");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let running = watch().spawn_to(writer, none());
    let mut first = [0; 8];
    std::io::Read::read_exact(&mut &reader, &mut first).expect("the first line");
    // Also where nothing changes any more, so that nothing is written.
    drop(reader);
    let ended = running.wait().expect(0);
    assert!(ended.stderr.is_empty(), "{}", ended.stderr);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let ended = watch().spawn_to(full, none()).wait().expect(1);
    assert!(ended.message().contains("could not be written to stdout"), "{}", ended.stderr);
}

#[test]
fn on_a_terminal_a_watch_draws_one_screen_anew() {
    let (world, cluster) = installed(&[]);
    put_pod(&cluster, json!({"ready": true, "snapshot": "sha256:0123456789abcdef"}));
    let watch = |rows: u16| status(&world, &["--watch", "--interval", "1s"]).on_terminal(rows);
    let running = watch(60);
    eventually("the first screen", || running.stdout().contains("serves snapshot 0123456789ab"));
    put_pod(&cluster, json!({"ready": true, "snapshot": "sha256:fedcba9876543210"}));
    eventually("the second", || running.stdout().contains("serves snapshot fedcba987654"));
    running.signal(rustix::process::Signal::INT);
    let shown = running.wait().expect(130).stdout;
    assert_eq!(shown.matches("\u{1b}[2J").count(), 1, "cleared once");
    assert!(screens(&shown).len() >= 2, "{shown:?}");
    // What does not fit is left out, and never the verdict.
    let running = watch(20);
    eventually("two screens", || screens(&running.stdout()).len() >= 2);
    running.signal(rustix::process::Signal::INT);
    for screen in screens(&running.wait().expect(130).stdout) {
        assert_eq!(screen.matches("\r\n").count(), 19, "{screen:?}");
        assert!(screen.contains("more lines: see all") && screen.contains("verdict"), "{screen:?}");
    }
}

/// Whole screens: lines that do not wrap, each over what was there before, and what was below
/// is gone.
fn screens(shown: &str) -> Vec<String> {
    let all = shown.split("\u{1b}[H").filter(|screen| screen.ends_with("\u{1b}[?7h\u{1b}[J"));
    all.map(|screen| {
        let drawn = screen.trim_start_matches("\u{1b}[2J");
        assert!(drawn.starts_with("\u{1b}[?7lrelease "), "{drawn:?}");
        let lines = drawn.matches("\r\n").count();
        assert_eq!(drawn.matches("\u{1b}[K\r\n").count(), lines, "{drawn:?}");
        drawn.to_owned()
    })
    .collect()
}
