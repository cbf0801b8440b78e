//! Jobs that talk to Kubernetes: secrets, export-api-key, seed-secret, wait job/NAME.

use std::collections::BTreeMap;

use fixtures::Postgres;
use serde_json::{Value, json};

use crate::support::{ApiServer, Maas, World, eventually};

pub(crate) fn quiet(_: &mut BTreeMap<String, Value>) {}

fn all_secrets() -> Value {
    json!({
        "db_admin": {"name": "maas-db-admin", "generate": true, "username": "postgres"},
        "db_user": {"name": "maas-db-user", "generate": true, "username": "maas"},
        "admin": {"name": "maas-admin", "generate": true, "username": "admin", "email": "admin@localhost"},
        "region": {"name": "maas-region-secret", "generate": true},
        "api_key": {"name": "maas-api-key", "namespace": "maas"}
    })
}

#[test]
fn absent_secrets_are_made_once() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    world.settings["secrets"] = all_secrets();
    let run = world.job(&["secrets"]).run().expect(0);
    for name in ["maas-db-admin", "maas-db-user", "maas-admin", "maas-region-secret"] {
        run.changed(&format!("made the Secret {name}"));
    }
    let shared = cluster.secret("maas-region-secret", "REGION_SECRET").unwrap();
    assert!(shared.len() == 32 && shared.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let password = cluster.secret("maas-admin", "PASSWORD").unwrap();
    assert!(password.len() >= 20);
    assert!(!run.stderr.contains(&password) && !run.stdout.contains(&shared));
    assert_eq!(cluster.secret("maas-admin", "EMAIL").unwrap(), "admin@localhost");
    let labels = cluster.get("secrets/maas-admin").unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels["app.kubernetes.io/managed-by"], "maas-deployer");
    assert_eq!(labels["app.kubernetes.io/instance"], "maas");
    let users = cluster.secret("maas-db-user", "DATABASE_PASSWORD").unwrap();
    assert_ne!(users, cluster.secret("maas-db-admin", "DATABASE_PASSWORD").unwrap());
    world.job(&["secrets"]).run().expect(0).unchanged();
    assert_eq!(cluster.secret("maas-admin", "PASSWORD").unwrap(), password);
    assert_eq!(cluster.http.count("PATCH", ""), 0);
}

#[test]
fn secrets_that_are_the_operators_are_only_checked() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    let mut secrets = all_secrets();
    for name in ["db_admin", "db_user", "admin"] {
        secrets[name]["generate"] = json!(false);
    }
    world.settings["secrets"] = secrets;
    cluster.put("secrets/maas-admin", json!({"metadata": {}, "data": {"USERNAME": "YQ=="}}));
    world.job(&["secrets"]).run().failed(5, "secrets-wrong");
    // Nothing of theirs was touched.
    assert_eq!(cluster.get("secrets/maas-admin").unwrap()["data"], json!({"USERNAME": "YQ=="}));
    assert_eq!(cluster.http.count("POST", "/secrets"), 0);
}

#[test]
fn what_the_account_may_not_do_is_said() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    cluster.refuse("/secrets", 403);
    world.settings["secrets"] = all_secrets();
    world.job(&["secrets"]).run().failed(1, "kubernetes-403");
    world.env("KUBECONFIG", world.path("none"));
    world.job(&["secrets"]).run().failed(1, "kubernetes-none");
}

#[test]
fn an_api_server_that_stumbles_is_asked_again() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    cluster.refuse("/secrets", 503);
    world.settings["secrets"] = all_secrets();
    let run = world.job(&["secrets"]).run().expect(1);
    assert!(run.stderr.contains("trying again"), "{}", run.stderr);
    assert!(cluster.http.count("GET", "/secrets/maas-db-admin") == 5);
}

/// A region with an administrator, and no API key mounted.
fn region(name: &str) -> (World, Maas, ApiServer) {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!(name);
    world.public("secrets/db-user/DATABASE_USERNAME", name);
    world.stand_in();
    world.made_database();
    world.job(&["create-admin"]).run().expect(0);
    let maas = Maas::start(&mut world, &[]);
    let cluster = ApiServer::start(&mut world, quiet);
    world.settings["secrets"] = json!({"api_key": {"name": "maas-api-key", "namespace": "ucp"}});
    (world, maas, cluster)
}

#[test]
fn the_api_key_is_written_once_and_mended() {
    let (world, _maas, cluster) = region("export_key");
    world
        .job(&["export-api-key"])
        .run()
        .expect(0)
        .changed("wrote the API key to the Secret ucp/maas-api-key");
    let key = cluster.secret_in("ucp/secrets/maas-api-key", "token").unwrap();
    assert_eq!(key.split(':').count(), 3);
    let run = world.job(&["export-api-key"]).run().expect(0);
    run.unchanged();
    assert!(!run.stderr.contains(&key));
    // A key that MAAS does not know, a text that is none, a Secret without a key.
    for wrong in ["YWFhOmJiYjpjY2M=", "bm9uZQ=="] {
        cluster.put(
            "ucp/secrets/maas-api-key",
            json!({"metadata": {}, "data": {"token": wrong, "mine": "YQ=="}}),
        );
        world.job(&["export-api-key"]).run().expect(0).changed("wrote the API key");
        assert_eq!(cluster.secret_in("ucp/secrets/maas-api-key", "token").unwrap(), key);
        assert_eq!(cluster.secret_in("ucp/secrets/maas-api-key", "mine").unwrap(), "a");
    }
    assert_eq!(cluster.http.count("DELETE", ""), 0);
}

#[test]
fn a_password_that_was_changed_in_maas_is_said() {
    let (mut world, _maas, cluster) = region("export_wrong");
    world.secret("secrets/admin/PASSWORD", "not it any more");
    world.job(&["export-api-key"]).run().failed(1, "export-password");
    assert!(cluster.get("ucp/secrets/maas-api-key").is_none());
}

#[test]
fn a_key_that_works_is_left_though_the_password_is_another_now() {
    let (mut world, _maas, cluster) = region("export_kept");
    world.job(&["export-api-key"]).run().expect(0);
    let key = cluster.secret_in("ucp/secrets/maas-api-key", "token").unwrap();
    world.secret("secrets/admin/PASSWORD", "changed in MAAS since");
    world.job(&["export-api-key"]).run().expect(0).unchanged();
    assert_eq!(cluster.secret_in("ucp/secrets/maas-api-key", "token").unwrap(), key);
}

#[test]
fn of_several_keys_the_administrators_oldest_is_written() {
    use base64::Engine as _;
    let (mut world, maas, cluster) = region("export_several");
    let first = Maas::key_of(&world, "admin");
    world.secret("secrets/api-key/token", &first);
    maas.call(&world, &["-d", "name=other"], "account/?op=create_authorisation_token");
    world.job(&["export-api-key"]).run().expect(0).changed("wrote the API key");
    assert_eq!(cluster.secret_in("ucp/secrets/maas-api-key", "token").unwrap(), first);
    // A key that works, but is no administrator's.
    let user = ["-d", "username=u&email=u@x&password=p&is_superuser=0"];
    maas.call(&world, &user, "users/");
    let theirs = base64::engine::general_purpose::STANDARD.encode(Maas::key_of(&world, "u"));
    let secret = json!({"metadata": {}, "data": {"token": theirs}});
    cluster.put("ucp/secrets/maas-api-key", secret);
    let run = world.job(&["export-api-key"]).run().expect(0);
    run.changed("wrote the API key");
    assert!(run.stderr.contains("the key in the Secret is no administrator's"), "{}", run.stderr);
    assert_eq!(cluster.secret_in("ucp/secrets/maas-api-key", "token").unwrap(), first);
    assert_eq!(cluster.http.count("DELETE", ""), 0);
}

#[test]
fn a_namespace_that_is_not_there_is_said() {
    let (mut world, _maas, _cluster) = region("export_ns");
    world.settings["secrets"]["api_key"]["namespace"] = json!("missing");
    world.job(&["export-api-key"]).run().failed(1, "export-no-namespace");
}

#[test]
fn where_database_and_secret_differ_the_database_wins() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("seed_differs");
    world.public("secrets/db-user/DATABASE_USERNAME", "seed_differs");
    world.stand_in();
    world.made_database();
    world.job(&["seed-secret"]).run().expect(0);
    let cluster = ApiServer::start(&mut world, quiet);
    cluster.put(
        "secrets/maas-region-secret",
        json!({"metadata": {}, "data": {"REGION_SECRET": "eA=="}}),
    );
    world.secret("secrets/region/REGION_SECRET", "ffffffffffffffffffffffffffffffff");
    // The chart does not tell this job whose Secret it is.
    world.settings["secrets"] = json!({"region": {"name": "maas-region-secret"}});
    let run = world.job(&["seed-secret"]).run().expect(0);
    run.changed("maas-region-secret follows the database");
    assert!(run.stderr.contains("holds: the Secret follows"), "{}", run.stderr);
    assert!(!run.stderr.contains("operator"), "{}", run.stderr);
    let now = cluster.secret("maas-region-secret", "REGION_SECRET").unwrap();
    assert_eq!(now, "00112233445566778899aabbccddeeff");
}

/// Labels of the release's objects.
pub(crate) fn labels() -> Value {
    json!({"app.kubernetes.io/name": "maas", "app.kubernetes.io/instance": "maas"})
}

pub(crate) fn job(conditions: &Value) -> Value {
    json!({"metadata": {"labels": labels()},
        "status": {"conditions": conditions, "active": 1}})
}

pub(crate) fn condition(kind: &str) -> Value {
    json!([{"type": kind, "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit"}])
}

#[test]
fn a_job_is_waited_for_and_one_that_failed_is_not() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    let running = world.job(&["wait", "job/maas-configure-1", "--timeout", "1m"]).spawn();
    eventually("it to wait", || running.stderr().contains("there is none yet"));
    cluster.put("jobs/maas-configure-1", job(&json!([])));
    eventually("it to see the Job", || running.stderr().contains("1 pod running"));
    cluster.put("jobs/maas-configure-1", job(&condition("Complete")));
    running.wait().expect(0);
    cluster.put("jobs/maas-configure-1", job(&condition("Failed")));
    world.job(&["wait", "job/maas-configure-1"]).run().failed(1, "wait-job-failed");
}

/// A wait may last for days: the API server is upgraded meanwhile.
#[test]
fn an_api_server_that_is_away_does_not_end_a_wait() {
    let mut world = World::new();
    let cluster = ApiServer::start(&mut world, quiet);
    cluster.put("jobs/maas-configure-1", job(&condition("Complete")));
    // More often than one look asks.
    cluster.refuse_with(None, "/jobs/", 503, None, Some(6));
    let run = world.job(&["wait", "job/maas-configure-1", "--timeout", "1m"]).run().expect(0);
    assert!(run.stderr.contains("Kubernetes answers 503"), "{}", run.stderr);
    cluster.refuse("/jobs/", 403);
    world.job(&["wait", "job/maas-configure-1"]).run().failed(1, "wait-job-403");
}
