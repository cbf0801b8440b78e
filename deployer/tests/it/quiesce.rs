//! `quiesce`: when regions are stopped, when they go on, and when an upgrade is refused.

use std::collections::BTreeMap;

use fixtures::Postgres;
use serde_json::{Value, json};

use crate::kubernetes::{condition, job, labels, quiet};
use crate::support::{ApiServer, World, eventually};

/// The image of the regions that run, and its digest.
const IMAGE: &str = "registry.example/maas-region:3.6.4";
const DIGEST: &str = "sha256:1111";

/// The controllers: pods that nobody wants end, in two steps.
fn controller(objects: &mut BTreeMap<String, Value>) {
    garbage(objects);
    let wanted =
        objects.get("maas/statefulsets/maas-region").map(|set| set["spec"]["replicas"].clone());
    if wanted != Some(json!(0)) {
        return;
    }
    let Some(pod) = objects.get_mut("maas/pods/maas-region-0") else { return };
    if pod["metadata"]["deletionTimestamp"].is_null() {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    } else {
        objects.remove("maas/pods/maas-region-0");
    }
}

/// The garbage collector: pods of Jobs that are gone.
fn garbage(objects: &mut BTreeMap<String, Value>) {
    let is_orphan = |pod: &Value| {
        let owner = &pod["metadata"]["ownerReferences"][0];
        let name = owner["name"].as_str().unwrap_or_default();
        owner["kind"] == "Job" && !objects.contains_key(&format!("maas/jobs/{name}"))
    };
    let orphans =
        objects.iter().filter(|(key, object)| key.contains("/pods/") && is_orphan(object));
    let orphans: Vec<String> = orphans.map(|(key, _)| key.clone()).collect();
    for key in orphans {
        let metadata = &mut objects.get_mut(&key).expect("pod")["metadata"];
        // Each request is a second.
        match metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(6) {
            0 => drop(objects.remove(&key)),
            left => {
                metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                metadata["deletionGracePeriodSeconds"] = json!(left - 1);
            }
        }
    }
}

/// A Job under way, with its pod.
fn under_way(cluster: &ApiServer, component: &str, name: &str) {
    let mut one = job(&json!([]));
    one["metadata"]["labels"]["app.kubernetes.io/component"] = json!(component);
    cluster.put(&format!("jobs/{name}"), one);
    let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "x"}]);
    let pod = json!({"metadata": {"ownerReferences": owner, "labels": labels()},
        "status": {"phase": "Running"}});
    cluster.put(&format!("pods/{name}-pod"), pod);
}

/// The part of a pod that says which image it runs.
fn containers(name: &str, image: &str) -> Value {
    json!({"containers": [{"name": "mirror", "image": "other:1"}, {"name": name, "image": image}]})
}

/// What the node tells of such a pod, once it runs.
fn running(name: &str, digest: &str) -> Value {
    json!({"phase": "Running", "containerStatuses": [{"name": name, "image": IMAGE, "ready": true,
        "restartCount": 0, "imageID": format!("registry.example/maas-region@{digest}")}]})
}

fn statefulset(replicas: u32) -> Value {
    json!({"metadata": {}, "spec": {"replicas": replicas, "serviceName": "x",
        "selector": {"matchLabels": labels()},
        "template": {"metadata": {"labels": labels()}, "spec": containers("region", IMAGE)}}})
}

pub(crate) fn with_region(world: &mut World) -> ApiServer {
    let cluster = ApiServer::start(world, controller);
    cluster.put("statefulsets/maas-region", statefulset(1));
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "maas-region", "uid": "x"}]);
    cluster.put(
        "pods/maas-region-0",
        json!({"metadata": {"ownerReferences": owner,
        "labels": labels()}, "spec": containers("region", IMAGE), "status": running("region", DIGEST)}),
    );
    let rack =
        json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "maas-rack", "uid": "y"}]);
    cluster.put(
        "pods/maas-rack-0",
        json!({"metadata": {"ownerReferences": rack,
        "labels": labels()}, "status": {"phase": "Running"}}),
    );
    cluster
}

#[test]
fn regions_are_stopped_where_the_version_changes_and_only_there() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("quiesce");
    world.public("secrets/db-user/DATABASE_USERNAME", "quiesce");
    world.stand_in();
    world.made_database();
    let cluster = with_region(&mut world);
    cluster.put("jobs/maas-db-sync-1", job(&condition("Complete")));
    world.job(&["quiesce"]).run().expect(0).unchanged();
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 1);

    cluster.put("jobs/maas-db-sync-2", job(&condition("Failed")));
    // Those of another release, of another part of a chart that this one is a part of, and of
    // this one under another name.
    for (name, label) in [("other-job", "instance"), ("maas-part", "name"), ("elsewhere", "")] {
        let mut others = job(&condition("Failed"));
        others["metadata"]["labels"][format!("app.kubernetes.io/{label}")] = json!("other");
        cluster.put(&format!("jobs/{name}"), others);
    }
    world.image_version("1:3.7.3-1");
    let run = world.job(&["quiesce"]).run().expect(0);
    run.changed("deleted the failed Job maas-db-sync-2");
    run.changed("scaled maas-region from 1 to 0: MAAS 3.6.4 becomes 3.7.3");
    assert!(run.stderr.contains("maas-region-0 (Running, ending)"), "{}", run.stderr);
    assert!(cluster.get("pods/maas-region-0").is_none());
    assert!(cluster.get("pods/maas-rack-0").is_some());
    assert!(cluster.get("jobs/maas-db-sync-1").is_some());
    for name in ["other-job", "maas-part", "elsewhere"] {
        assert!(cluster.get(&format!("jobs/{name}")).is_some(), "{name}");
    }
    // Again: it is done.
    world.job(&["quiesce"]).run().expect(0).unchanged();
}

#[test]
fn an_older_maas_stops_no_region() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("quiesce_old");
    world.public("secrets/db-user/DATABASE_USERNAME", "quiesce_old");
    world.stand_in();
    world.made_database();
    let cluster = with_region(&mut world);
    world.image_version("1:3.5.12-1");
    world.job(&["quiesce"]).run().failed(5, "quiesce-older");
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 1);
}

#[test]
fn without_the_database_it_goes_on_only_where_no_region_runs() {
    let server = Postgres::start().expect("PostgreSQL");
    let mut world = World::with_server(&server);
    world.job(&["db-init"]).run().expect(0);
    server.stop().expect("stop");
    let cluster = with_region(&mut world);
    world.job(&["quiesce"]).run().failed(5, "quiesce-no-database");
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 1);
    cluster.put("statefulsets/maas-region", statefulset(0));
    eventually("the pod to end", || {
        // Any call lets the controller act.
        let _ = world.job(&["wait", "job/x", "--timeout", "1s"]).run();
        cluster.get("pods/maas-region-0").is_none()
    });
    world.job(&["quiesce"]).run().expect(0);
}

/// Or nothing could mend a first install that never got as far as a database.
#[test]
fn a_region_that_still_waits_holds_up_no_upgrade() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("quiesce_never");
    world.public("secrets/db-user/DATABASE_USERNAME", "quiesce_never");
    let cluster = with_region(&mut world);
    let mut pod = cluster.get("pods/maas-region-0").expect("pod");
    pod["status"]["phase"] = json!("Pending");
    cluster.put("pods/maas-region-0", pod);
    world.job(&["quiesce"]).run().expect(0).unchanged();
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 1);
}

#[test]
fn a_release_that_is_not_there_yet_has_nothing_to_stop() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("quiesce_new");
    world.public("secrets/db-user/DATABASE_USERNAME", "quiesce_new");
    world.job(&["db-init"]).run().expect(0);
    let _cluster = ApiServer::start(&mut world, quiet);
    world.job(&["quiesce"]).run().expect(0).unchanged();
}

/// A region of MAAS 3.6.4 whose upgrade brings `image`.
fn upgrade(name: &str, image: &str) -> (World, ApiServer) {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!(name);
    world.public("secrets/db-user/DATABASE_USERNAME", name);
    world.stand_in();
    world.made_database();
    world.settings["upgrade"] = json!({"region_image": image});
    let cluster = with_region(&mut world);
    (world, cluster)
}

fn goes_on(world: &World, cluster: &ApiServer, note: &str) {
    let run = world.job(&["quiesce"]).run().expect(0);
    assert!(run.unchanged().stdout.contains(note), "{}", run.stdout);
    still_runs(cluster);
}

fn still_runs(cluster: &ApiServer) {
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 1);
    assert!(cluster.get("pods/maas-region-0").is_some());
}

/// The Secret was changed, by its owner or by an upgrade that failed after it; db-init, which sets
/// the password, comes after this hook.
#[test]
fn a_password_that_db_init_has_yet_to_set_holds_up_no_upgrade() {
    let (mut world, cluster) = upgrade("quiesce_password", IMAGE);
    world.secret("secrets/db-user/DATABASE_PASSWORD", "another password");
    let stays = "the image stays, and with it MAAS's version: regions go on";
    goes_on(&world, &cluster, stays);
    world.job(&["db-init"]).run().expect(0).changed("set the password of the role");
    goes_on(&world, &cluster, "the schema is of MAAS 3.6.4, as the image");
    // A role that is not there looks the same.
    world.public("secrets/db-user/DATABASE_USERNAME", "quiesce_nobody");
    goes_on(&world, &cluster, stays);
}

#[test]
fn another_password_and_another_image_are_two_upgrades() {
    let image = "registry.example/maas-region:3.7.3";
    let (mut world, cluster) = upgrade("quiesce_both", image);
    world.image_version("1:3.7.3-1");
    world.secret("secrets/db-user/DATABASE_PASSWORD", "another password");
    cluster.put("jobs/maas-configure-1", job(&condition("Failed")));
    world.job(&["quiesce"]).run().failed(5, "quiesce-password-and-image");
    still_runs(&cluster);
    assert!(cluster.get("jobs/maas-configure-1").is_some(), "with the log of why it failed");
    // First the one, as the message says ...
    world.settings["upgrade"]["region_image"] = json!(IMAGE);
    world.image_version("1:3.6.4-1");
    let run = world.job(&["quiesce"]).run().expect(0);
    run.changed("deleted the failed Job maas-configure-1");
    still_runs(&cluster);
    world.job(&["db-init"]).run().expect(0).changed("set the password of the role");
    // ... then the other.
    world.settings["upgrade"]["region_image"] = json!(image);
    world.image_version("1:3.7.3-1");
    world.job(&["quiesce"]).run().expect(0).changed("MAAS 3.6.4 becomes 3.7.3");
}

/// With both logins at hand, as where the values give the new one, nothing has to be guessed.
#[test]
fn the_login_that_is_about_to_change_still_tells_the_version() {
    let (mut world, cluster) = upgrade("quiesce_present", "registry.example/maas-region:new");
    let old = std::fs::read_to_string(world.path("etc/secrets/db-user/DATABASE_PASSWORD")).unwrap();
    world.public("secrets/db-user-present/DATABASE_USERNAME", "quiesce_present");
    world.secret("secrets/db-user-present/DATABASE_PASSWORD", &old);
    world.secret("secrets/db-user/DATABASE_PASSWORD", "another password");
    goes_on(&world, &cluster, "the schema is of MAAS 3.6.4, as the image");
    world.image_version("1:3.5.12-1");
    world.job(&["quiesce"]).run().failed(5, "quiesce-older");
    still_runs(&cluster);
    // An upgrade that ended half way may have set the new one already.
    world.job(&["db-init"]).run().expect(0).changed("set the password of the role");
    world.image_version("1:3.7.3-1");
    world.job(&["quiesce"]).run().expect(0).changed("scaled maas-region from 1 to 0");
}

#[test]
fn an_unreachable_database_holds_up_no_upgrade_of_the_same_image() {
    let server = Postgres::start().expect("PostgreSQL");
    let mut world = World::with_server(&server);
    world.job(&["db-init"]).run().expect(0);
    server.stop().expect("stop");
    let cluster = with_region(&mut world);
    world.settings["upgrade"] = json!({"region_image": IMAGE});
    goes_on(&world, &cluster, "the image stays");
    // The StatefulSet was told of another, and has yet to restart this pod.
    let mut set = cluster.get("statefulsets/maas-region").unwrap();
    set["spec"]["template"]["spec"] = containers("region", "registry.example/maas-region:next");
    cluster.put("statefulsets/maas-region", set);
    let run = world.job(&["quiesce"]).run().expect(5);
    assert!(run.message().contains("maas-region has the image"), "{}", run.stderr);
    still_runs(&cluster);
}

#[test]
fn a_tag_that_moved_is_another_image() {
    let (mut world, cluster) = upgrade("quiesce_tag", IMAGE);
    world.secret("secrets/db-user/DATABASE_PASSWORD", "another password");
    world.env("HOSTNAME", "maas-quiesce-x");
    let own = |digest: &str| {
        let spec = containers("quiesce", IMAGE);
        let pod = json!({"metadata": {}, "spec": spec, "status": running("quiesce", digest)});
        cluster.put("pods/maas-quiesce-x", pod);
    };
    own("sha256:2222");
    world.job(&["quiesce"]).run().failed(5, "quiesce-tag-moved");
    still_runs(&cluster);
    own(DIGEST);
    goes_on(&world, &cluster, "the image stays");
    // The node has not told yet: it is waited for.
    let mut pod = cluster.get("pods/maas-quiesce-x").unwrap();
    pod["status"] = json!({"phase": "Pending"});
    cluster.put("pods/maas-quiesce-x", pod);
    let running = world.job(&["quiesce"]).spawn();
    eventually("it to wait", || running.stderr().contains("maas-quiesce-x has no digest yet"));
    own("sha256:2222");
    running.wait().expect(5);
    still_runs(&cluster);
}

/// A Secret that is not there is an optional mount: an empty folder.
#[test]
fn without_a_login_it_goes_on_where_nothing_can_change() {
    let (world, cluster) = upgrade("quiesce_no_login", IMAGE);
    std::fs::remove_dir_all(world.path("etc/secrets/db-user")).unwrap();
    goes_on(&world, &cluster, "there is no Secret with a login yet");
}

#[test]
fn what_an_upgrade_that_failed_left_under_way_does_not_undo_the_next_one() {
    let (world, cluster) = upgrade("quiesce_unfinished", IMAGE);
    under_way(&cluster, "configure", "maas-configure-wrong");
    under_way(&cluster, "import-images", "maas-import-images-same");
    under_way(&cluster, "db-sync", "maas-db-sync-wrong");
    under_way(&cluster, "quiesce", "maas-quiesce");
    let mut hook = cluster.get("jobs/maas-quiesce").unwrap();
    hook["metadata"]["annotations"] = json!({"helm.sh/hook": "pre-upgrade,pre-rollback"});
    cluster.put("jobs/maas-quiesce", hook);
    let mut others = job(&json!([]));
    others["metadata"]["labels"]["app.kubernetes.io/instance"] = json!("other");
    cluster.put("jobs/maas-of-another-release", others);
    let coming = "maas-configure-right,maas-import-images-same";
    let run = world.job(&["quiesce", "--coming", coming]).run().expect(0);
    run.changed("deleted the unfinished Job maas-configure-wrong");
    run.changed("deleted the unfinished Job maas-db-sync-wrong");
    assert!(run.stdout.contains("maas-import-images-same goes on"), "{}", run.stdout);
    assert!(run.stderr.contains("the pods of deleted Jobs to end"), "{}", run.stderr);
    for name in ["maas-configure-wrong", "maas-db-sync-wrong"] {
        assert!(cluster.get(&format!("jobs/{name}")).is_none(), "{name}");
        assert!(cluster.get(&format!("pods/{name}-pod")).is_none(), "{name}");
    }
    for name in ["maas-import-images-same", "maas-quiesce"] {
        assert!(cluster.get(&format!("pods/{name}-pod")).is_some(), "{name}");
    }
    assert!(cluster.get("jobs/maas-of-another-release").is_some());
    still_runs(&cluster);
}

/// As where its node is gone: the next upgrade must not begin beside it.
#[test]
fn a_pod_that_does_not_end_is_told() {
    let (world, cluster) = upgrade("quiesce_pod_stays", IMAGE);
    under_way(&cluster, "configure", "maas-configure-wrong");
    let mut pod = cluster.get("pods/maas-configure-wrong-pod").unwrap();
    // Of no kind that the garbage collector here knows.
    pod["metadata"]["ownerReferences"][0]["kind"] = json!("Other");
    cluster.put("pods/maas-configure-wrong-pod", pod);
    world.job(&["quiesce", "--timeout", "1s"]).run().failed(1, "quiesce-pod-stays");
    still_runs(&cluster);
}

/// Killed every time that the upgrade is tried again, a long migration would never end.
#[test]
fn a_migration_under_way_is_left_to_end() {
    let (mut world, cluster) = upgrade("quiesce_migrating", IMAGE);
    world.image_version("1:3.7.3-1");
    world.env("STAND_IN_MIGRATION_MS", "20000");
    let migration = world.job(&["db-sync"]).spawn();
    eventually("the migration to begin", || migration.stderr().contains("migrating the schema"));
    under_way(&cluster, "db-sync", "maas-db-sync-before");
    let run = world.job(&["quiesce"]).run().expect(0);
    assert!(run.stdout.contains("maas-db-sync-before goes on"), "{}", run.stdout);
    assert!(cluster.get("jobs/maas-db-sync-before").is_some());
    run.changed("a migration from MAAS 3.6.4 to 3.7.3 has begun and not ended");
    migration.wait().expect(0).changed("migrated the schema from MAAS 3.6.4 to 3.7.3");
}

#[test]
fn the_lock_of_a_migration_that_was_deleted_is_waited_for() {
    let (world, cluster) = upgrade("quiesce_lock", IMAGE);
    under_way(&cluster, "db-sync", "maas-db-sync-wrong");
    let server = Postgres::shared().expect("PostgreSQL");
    // Its session, which the server has not yet found to be dead.
    let lock = format!("SELECT pg_advisory_lock({}), pg_sleep(600)", 0x6d61_6173_6470_6c79_i64);
    let held = std::thread::spawn(move || server.sql("quiesce_lock", &lock));
    let holder = "FROM pg_locks JOIN pg_database ON pg_database.oid = database \
        WHERE locktype = 'advisory' AND granted AND datname = 'quiesce_lock'";
    let count = format!("SELECT count(*) {holder}");
    eventually("the lock to be held", || server.sql("postgres", &count).unwrap().trim() == "1");
    let running = world.job(&["quiesce"]).spawn();
    let waited = "the lock of the schema to be free";
    eventually("it to wait", || running.stderr().contains(waited));
    server.sql("postgres", &format!("SELECT pg_terminate_backend(pid) {holder}")).expect("SQL");
    running.wait().expect(0).changed("deleted the unfinished Job maas-db-sync-wrong");
    held.join().unwrap().expect_err("it was ended");
}

#[test]
fn what_kubernetes_refuses_is_told_before_anything_is_stopped() {
    let (mut world, cluster) = upgrade("quiesce_403", IMAGE);
    world.image_version("1:3.7.3-1");
    cluster.refuse("/jobs", 403);
    world.job(&["quiesce"]).run().failed(1, "quiesce-403");
    still_runs(&cluster);
    // What passes is asked again.
    cluster.allow_all();
    cluster.refuse_with(None, "/jobs", 500, None, Some(2));
    world.job(&["quiesce"]).run().expect(0).changed("scaled maas-region from 1 to 0");
    world.env("KUBECONFIG", world.path("none"));
    world.job(&["quiesce"]).run().failed(1, "quiesce-no-kubernetes");
}
