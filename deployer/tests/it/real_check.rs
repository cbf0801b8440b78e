//! `check` against a real Kubernetes: as in `real_release`. A small part of the chart is checked:
//! hooks, the database, and what makes a role in it; `DEPLOYER_IMAGE` names another image of the
//! deployer than `maas-deployer:test`.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::real_cluster::Namespace;
use crate::support::{Job, Run, World, eventually, small_part};

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; scripts/cluster-tests sets it"))
}

fn image(name: &str) -> String {
    format!("{}/{name}", variable("CLUSTER_REGISTRY"))
}

struct Site {
    world: World,
    namespace: Namespace,
}

/// A database of the operator's, in a pod of the test's own.
const DATABASE: &str = "endpoints.maas_db.host_fqdn_override.default=db";

impl Site {
    fn new(name: &str) -> Option<Self> {
        let mut world = World::new();
        let namespace = Namespace::new(&mut world, name)?;
        let site = Self { world, namespace };
        let deployer = std::env::var("DEPLOYER_IMAGE").unwrap_or("maas-deployer:test".to_owned());
        let tags = json!({"maas_deployer": image(&deployer), "postgresql": image("postgres:15"),
            "maas_rack": image("maas-rack-controller:3.6.4")});
        let values = json!({"images": {"tags": tags}, "postgresql": {"enabled": true}, "manifests": small_part()});
        std::fs::write(site.file(), values.to_string()).expect("values");
        Some(site)
    }

    fn file(&self) -> PathBuf {
        self.world.path("values.json")
    }

    fn verb(&self, verb: &[&str], more: &[&str]) -> Job {
        let file = self.file().display().to_string();
        let common = ["-n", &self.namespace.name, "-f", &file, "--timeout", "3m"];
        self.world.verb(&[verb, &common[..], more].concat())
    }

    /// `check --pre` with one value set, and no pods.
    fn pre(&self, set: &str) -> Run {
        let set = if set.is_empty() { vec![] } else { vec!["--set", set] };
        let more = [&["-o", "json", "--no-pods"], &set[..]].concat();
        self.verb(&["check", "--pre"], &more).run()
    }

    /// What is left of probes.
    fn probes(&self) -> Vec<String> {
        let args = ["get", "jobs,secrets", "-l", "app.kubernetes.io/component=check", "-o", "name"];
        self.namespace.kubectl(&args, "").lines().map(str::to_owned).collect()
    }

    /// PostgreSQL, once it takes sessions.
    fn start_database(&self) {
        let labels = json!({"app": "db"});
        let probe =
            json!({"exec": {"command": ["pg_isready", "-h", "127.0.0.1"]}, "periodSeconds": 1});
        let container = json!({"name": "db", "image": image("postgres:15"), "readinessProbe": probe,
            "env": [{"name": "POSTGRES_PASSWORD", "value": "right"}]});
        self.namespace.apply(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "db", "labels": labels},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}));
        self.namespace
            .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
            "spec": {"selector": labels, "ports": [{"port": 5432}]}}));
        self.namespace.kubectl(&["wait", "--for=condition=Ready", "pod/db", "--timeout=300s"], "");
    }

    fn sql(&self, statements: &str) {
        self.namespace.kubectl(
            &["exec", "-i", "db", "--", "psql", "-U", "postgres", "-v", "ON_ERROR_STOP=1"],
            statements,
        );
    }

    /// `check --pre` of a release whose database is the test's, with that password.
    fn pre_with_database(&self, password: &str) -> Run {
        let host = format!("{DATABASE}.{}.svc.cluster.local", self.namespace.name);
        let password = format!("endpoints.maas_db.auth.admin.password={password}");
        let sets =
            ["postgresql.enabled=false", &host, &password].map(|set| ["--set", set]).concat();
        self.verb(&["check", "--pre"], &[&["-o", "json"], &sets[..]].concat()).run()
    }
}

/// The checks of that id: state, why, and hint.
#[track_caller]
fn of(run: &Run, id: &str) -> Vec<[String; 3]> {
    let report = run.json();
    let groups = report["groups"].as_array().expect("groups").clone();
    let checks =
        groups.iter().flat_map(|group| group["checks"].as_array().expect("checks").clone());
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let found: Vec<[String; 3]> = checks
        .filter(|check| check["id"] == id)
        .map(|check| ["status", "why", "hint"].map(|key| text(&check, key)))
        .collect();
    assert!(!found.is_empty(), "no {id} in {report:#}");
    found
}

/// That check failed, for that reason, and no other did.
#[track_caller]
fn fails(run: &Run, id: &str, why: &str) -> String {
    assert_eq!(run.code, 5, "{}\n{}", run.stdout, run.stderr);
    let found = of(run, id);
    let failed = found.iter().find(|one| one[0] == "fail").unwrap_or_else(|| panic!("{found:?}"));
    assert!(failed[1].contains(why), "{found:?}");
    assert!(!failed[2].is_empty(), "no hint: {found:?}");
    let report = run.json();
    let groups = report["groups"].as_array().expect("groups");
    let others: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["checks"].as_array().expect("checks"))
        .filter(|check| check["status"] == "fail" && check["id"] != id)
        // Of another test, a rack may run on the only node.
        .filter(|check| check["id"] != "nodes.ports-rack")
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    failed[2].clone()
}

#[test]
fn what_will_work_passes_and_works() {
    let Some(site) = Site::new("check-pass") else { return };
    let before = site.verb(&["check", "--pre"], &[]).run().expect(0);
    for part in [
        "ok    rights.objects",
        "ok    objects.accepted",
        "ok    security.admission",
        "ok    images.pull",
    ] {
        assert!(before.stdout.contains(part), "no '{part}' in {}", before.stdout);
    }
    assert_eq!(site.probes(), Vec::<String>::new());
    site.verb(&["install"], &["--progress", "none"]).run().expect(0);
    let check = || site.world.verb(&["check", "-n", &site.namespace.name, "-o", "json"]).run();
    let works = check().expect(0);
    assert_eq!(of(&works, "release.deployed")[0][0], "pass");
    assert_eq!(of(&works, "workloads.postgresql")[0][0], "pass");
    assert_eq!(of(&works, "drift.objects")[0][0], "pass");
    // An upgrade is checked as well: what is its own is in nobody's way.
    let again = site.verb(&["check", "--pre"], &["-o", "json", "--no-pods"]).run().expect(0);
    assert_eq!(of(&again, "leftovers.record")[0][0], "pass");

    site.namespace.kubectl(
        &["label", "service", "maas-postgresql", "app.kubernetes.io/name=x", "--overwrite"],
        "",
    );
    assert!(of(&check().expect(0), "drift.objects")[0][1].contains("Service maas-postgresql"));
    site.namespace.kubectl(&["delete", "secret", "maas-db-admin"], "");
    site.namespace.kubectl(&["delete", "pod", "maas-postgresql-0", "--wait=false"], "");
    let broken = check().expect(1);
    assert_eq!(of(&broken, "secrets.there")[0][..2], ["fail", "pods need it, and it is not there"]);
    site.namespace.kubectl(&["delete", "statefulset", "maas-postgresql"], "");
    assert_eq!(of(&check().expect(1), "workloads.postgresql")[0][1], "it is not there");
}

#[test]
fn nodes_storage_and_admission_are_looked_at() {
    let Some(site) = Site::new("check-places") else { return };
    let hint = fails(
        &site.pre(
            "labels.postgresql.node_selector_key=no-such,labels.postgresql.node_selector_value=yes",
        ),
        "nodes.postgresql",
        "1 has no label no-such=yes",
    );
    assert!(
        hint.contains(&format!("kubectl label node {} no-such=yes", variable("CLUSTER_NODE"))),
        "{hint}"
    );
    fails(
        &site.pre("storage.postgresql.pvc.class_name=no-such"),
        "storage.class",
        "there is no storage class no-such",
    );
    fails(
        &site.pre("pod.resources.postgresql.requests.memory=900Gi,pod.resources.postgresql.limits.memory=900Gi"),
        "nodes.room",
        "asks for 100m CPU and 900.0 GiB",
    );
    fails(
        &site.pre("manifests.service_monitor=true,manifests.region_statefulset=true"),
        "objects.kinds",
        "the cluster knows no ServiceMonitor",
    );
    // Racks alone bring no secret: it is their region's.
    let secret = ["create", "secret", "generic", "maas-region-secret"];
    let secret = [&secret[..], &["--from-literal=REGION_SECRET=00112233445566778899aabbccddeeff"]];
    site.namespace.kubectl(&secret.concat(), "");
    let enforce = "pod-security.kubernetes.io/enforce";
    site.namespace.kubectl(
        &["label", "namespace", &site.namespace.name, &format!("{enforce}=restricted")],
        "",
    );
    let hint = fails(
        &site.pre("manifests.rack_statefulset=true"),
        "security.admission",
        "violates PodSecurity",
    );
    site.namespace.kubectl(&hint.split(' ').skip(1).collect::<Vec<_>>(), "");
    let rack = site
        .verb(
            &["check", "--pre"],
            &["-o", "json", "--probe-nodes", "--set", "manifests.rack_statefulset=true"],
        )
        .run();
    assert_eq!(of(&rack, "security.admission")[0][0], "pass");
    assert_ne!(of(&rack, "nodes.bound")[0][0], "skipped", "{}", rack.stdout);
}

#[test]
fn what_an_earlier_release_left_is_in_the_way_or_not() {
    let Some(site) = Site::new("check-left") else { return };
    site.namespace.kubectl(&["create", "serviceaccount", "maas-jobs"], "");
    let hint = fails(&site.pre(""), "leftovers.objects", "it is there, and of no release");
    assert!(hint.contains("delete serviceaccount maas-jobs"), "{hint}");
    site.namespace.kubectl(&["delete", "serviceaccount", "maas-jobs"], "");
    site.namespace.apply(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-maas-postgresql-0", "labels": {"app.kubernetes.io/instance": "maas"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}}));
    let hint = fails(&site.pre(""), "storage.password", "the Secret with its password is gone");
    assert!(hint.contains("delete pvc data-maas-postgresql-0"), "{hint}");
    let old = [
        "create",
        "secret",
        "generic",
        "maas-db-admin",
        "--field-manager=helm",
        "--from-literal=DATABASE_USERNAME=postgres",
        "--from-literal=DATABASE_PASSWORD=old",
    ];
    site.namespace.kubectl(&old, "");
    site.pre("").expect(0);
    // Taken over it would be, with the values' password: the volume's stays the old one.
    let marks = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {
        "meta.helm.sh/release-name": "maas", "meta.helm.sh/release-namespace": site.namespace.name}}});
    site.namespace.kubectl(&["patch", "secret", "maas-db-admin", "-p", &marks.to_string()], "");
    let run = site.pre("endpoints.maas_db.auth.admin.password=new");
    fails(&run, "storage.password", "another password");
    assert!(!run.stdout.contains("b2xk"), "{}", run.stdout);
}

#[test]
fn an_image_that_is_not_there_is_named_and_an_interruption_leaves_nothing() {
    let Some(site) = Site::new("check-images") else { return };
    let none = image("postgres:none");
    let run = site
        .verb(
            &["check", "--pre"],
            &["-o", "json", "--set", &format!("images.tags.postgresql={none}")],
        )
        .run();
    fails(&run, "images.pull", "cannot pull it");
    assert_eq!(site.probes(), Vec::<String>::new());
    let running = site
        .verb(&["check", "--pre"], &["--set", &format!("images.tags.postgresql={none}")])
        .spawn();
    eventually("a probe", || !site.probes().is_empty());
    running.signal(rustix::process::Signal::TERM);
    running.wait().expect(143);
    assert_eq!(site.probes(), Vec::<String>::new());
}

#[test]
fn the_database_is_looked_at_from_a_pod() {
    let Some(site) = Site::new("check-database") else { return };
    site.start_database();
    let good = site.pre_with_database("right").expect(0);
    for id in ["database.login", "database.version", "database.encoding", "database.rights"] {
        assert_eq!(of(&good, id)[0][0], "pass", "{id}");
    }
    assert_eq!(site.probes(), Vec::<String>::new());
    fails(&site.pre_with_database("wrong"), "database.login", "does not accept the password");
    // No older server can be had here: this one says that it is.
    site.sql(
        "CREATE SCHEMA lie; CREATE FUNCTION lie.current_setting(text) RETURNS text \
         LANGUAGE sql AS $$ SELECT '130005' $$; \
         ALTER ROLE postgres SET search_path = lie, pg_catalog, public",
    );
    fails(
        &site.pre_with_database("right"),
        "database.version",
        "MAAS needs PostgreSQL 14 or newer",
    );
    site.sql("ALTER ROLE postgres RESET search_path; CREATE DATABASE maasdb ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    fails(&site.pre_with_database("right"), "database.encoding", "its encoding is LATIN1");
    assert_eq!(site.probes(), Vec::<String>::new());
}

#[test]
fn a_verb_that_is_missing_is_named_and_granted() {
    let Some(mut site) = Site::new("check-rights") else { return };
    let name = site.namespace.name.clone();
    site.namespace.kubectl(&["create", "serviceaccount", "installer"], "");
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let all = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "installer"},
        "rules": [
            rule(&["", "batch", "rbac.authorization.k8s.io", "policy", "networking.k8s.io"], &["*"], &all),
            rule(&["apps"], &["statefulsets"], &["get", "list", "watch", "create", "delete"])]});
    site.namespace.apply(&role);
    let account = format!("{name}:installer");
    site.namespace.kubectl(
        &[
            "create",
            "rolebinding",
            "installer",
            "--role=installer",
            &format!("--serviceaccount={account}"),
        ],
        "",
    );
    let token = site.namespace.kubectl(&["create", "token", "installer"], "");
    let config = Command::new(variable("KUBECTL"))
        .args(["config", "view", "--raw", "--flatten", "-o", "json"])
        .output()
        .expect("kubectl");
    let mut config: Value = serde_json::from_slice(&config.stdout).expect("JSON");
    config["users"][0]["user"] = json!({"token": token.trim()});
    let path = site.world.path("installer");
    std::fs::write(&path, config.to_string()).expect("kubeconfig");
    site.world.env("KUBECONFIG", path);
    site.world.hide(token.trim());
    let hint = fails(
        &site.pre(""),
        "rights.objects",
        &format!("missing: patch on statefulsets.apps in {name}"),
    );
    // The command that is told is the one that mends it.
    let command = hint.lines().find(|line| line.starts_with("kubectl")).expect("a command");
    for part in command.split(" && ") {
        let args: Vec<&str> = part.split(' ').skip(1).collect();
        site.namespace.kubectl(&args, "");
    }
    let run = site.pre("").expect(0);
    assert_eq!(of(&run, "rights.objects")[0][0], "pass");
    assert_eq!(of(&run, "nodes.ready")[0][0], "skipped");
}
