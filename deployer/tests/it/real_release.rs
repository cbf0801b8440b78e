//! Verbs on a release against a real Kubernetes, crosswise with Helm: as in `real_cluster`, and with
//! `HELM`, `CHART`, `CLUSTER_REGISTRY` and `CLUSTER_AUDIT_LOG`, as `scripts/cluster-tests` sets them.
//! A small part of the chart is installed: hooks, the database, and what makes a role in it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::real_cluster::Namespace;
use crate::support::{Job, World, eventually};

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; scripts/cluster-tests sets it"))
}

pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) namespace: Namespace,
}

impl Site {
    /// In a namespace of its own; `None` where there is no cluster.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let mut world = World::new();
        let namespace = Namespace::new(&mut world, name)?;
        let site = Self { world, namespace };
        site.values("one.json", &json!({}));
        Some(site)
    }

    /// Writes a file of values: the small part, with `more` over it.
    pub(crate) fn values(&self, name: &str, more: &Value) {
        let registry = variable("CLUSTER_REGISTRY");
        let image = |name: &str| format!("{registry}/{name}");
        let off = [
            "region_statefulset",
            "rack_statefulset",
            "syslog_statefulset",
            "syslog_service",
            "ingress_region",
            "job_db_sync",
            "job_seed_secret",
            "job_create_admin",
            "job_tls",
            "job_configure",
            "job_export_api_key",
            "job_import_images",
            "job_quiesce",
            "test_maas_api",
        ];
        let off: serde_json::Map<String, Value> =
            off.iter().map(|name| ((*name).to_owned(), json!(false))).collect();
        let mut values = json!({
            "images": {"tags": {"maas_deployer": image("maas-deployer:test"), "postgresql": image("postgres:15")}},
            "postgresql": {"enabled": true},
            "manifests": off,
        });
        for (key, value) in more.as_object().expect("a map") {
            values[key] = value.clone();
        }
        std::fs::write(self.file(name), values.to_string()).expect("values");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    /// A verb of the deployer.
    fn ours(&self, verb: &str, more: &[&str]) -> Job {
        self.world
            .verb(&[&[verb, "-n", &self.namespace.name, "--progress", "plain"], more].concat())
    }

    /// A verb that takes values.
    pub(crate) fn with_values(&self, verb: &str, values: &str, more: &[&str]) -> Job {
        let file = self.file(values).display().to_string();
        self.ours(verb, &[&["-f", &file, "--timeout", "5m"], more].concat())
    }

    /// Helm, with what it says on stdout.
    #[track_caller]
    fn helm(&self, args: &[&str]) -> String {
        let output = Command::new(variable("HELM"))
            .env("KUBECONFIG", variable("KUBECONFIG"))
            .args(["--namespace", &self.namespace.name])
            .args(args)
            .output()
            .expect("helm");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm {args:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[track_caller]
    pub(crate) fn helm_with_values(&self, verb: &str, values: &str) {
        let file = self.file(values).display().to_string();
        let chart = variable("CHART");
        let wait = ["--wait", "--wait-for-jobs", "--timeout", "5m"];
        self.helm(&[&[verb, "maas", &chart, "-f", &file], &wait[..]].concat());
    }

    /// Revision and state of each, as Helm has them.
    fn history(&self) -> Vec<(u64, String)> {
        let list: Value =
            serde_json::from_str(&self.helm(&["history", "maas", "-o", "json"])).expect("JSON");
        let one = |one: &Value| {
            (
                one["revision"].as_u64().expect("number"),
                one["status"].as_str().expect("text").to_owned(),
            )
        };
        list.as_array().expect("list").iter().map(one).collect()
    }

    /// What the administrator wrote in the namespace, dry runs aside.
    pub(crate) fn writes(&self) -> Vec<String> {
        let log = std::fs::read_to_string(variable("CLUSTER_AUDIT_LOG")).expect("audit log");
        let below = format!("/namespaces/{}/", self.namespace.name);
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events
            .filter(|event| event["user"]["username"] == "admin")
            .filter_map(|event| event["requestURI"].as_str().map(str::to_owned))
            .filter(|uri| uri.contains(&below) && !uri.contains("dryRun"))
            .collect()
    }

    fn manager_of(&self, what: &str, manager: &str) -> Vec<Value> {
        let text =
            self.namespace.kubectl(&["get", what, "--show-managed-fields", "-o", "json"], "");
        let object: Value = serde_json::from_str(&text).expect("JSON");
        let fields = object["metadata"]["managedFields"].as_array().expect("fields").clone();
        fields.into_iter().filter(|entry| entry["manager"] == manager).collect()
    }
}

fn deployed(revision: u64) -> (u64, String) {
    (revision, "deployed".to_owned())
}

/// An object of the values, with these data.
pub(crate) fn extra(data: &Value) -> Value {
    json!({"extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "data": data}]})
}

#[test]
fn helm_goes_on_with_what_we_installed_and_we_with_what_helm_did() {
    let Some(site) = Site::new("release-cross") else { return };
    site.values("two.json", &extra(&json!({"a": "1", "b": "2"})));
    site.values("three.json", &extra(&json!({"a": "1"})));
    site.with_values("install", "one.json", &[]).run().expect(0);
    let listed: Value = serde_json::from_str(&site.helm(&["list", "-o", "json"])).expect("JSON");
    assert_eq!((&listed[0]["status"], &listed[0]["revision"]), (&json!("deployed"), &json!("1")));
    assert!(site.helm(&["status", "maas"]).contains("STATUS: deployed"));
    assert!(
        site.helm(&["get", "all", "maas"]).contains("# Source: maas/templates/postgresql.yaml")
    );
    let hooks = site.helm(&["get", "hooks", "maas"]);
    assert!(hooks.contains("name: maas-secrets"), "{hooks}");

    // Nothing new: nothing written, which the server's own log says.
    let before = site.writes();
    assert!(!before.is_empty());
    let same = site.with_values("upgrade", "one.json", &[]).run().expect(0);
    assert!(same.stdout.contains("nothing to change; revision 1"), "{}", same.stdout);
    assert_eq!(site.writes(), before);

    // Helm upgrades ours; to the same, we have nothing to do.
    site.helm_with_values("upgrade", "two.json");
    assert_eq!(site.history().last(), Some(&deployed(2)));
    let before = site.writes();
    site.with_values("upgrade", "two.json", &[]).run().expect(0);
    assert_eq!(site.writes(), before);
    assert_eq!(site.manager_of("configmap/extra", "helm").len(), 1);

    // We upgrade Helm's: its fields are ours, and what left the values is gone.
    site.with_values("upgrade", "three.json", &[]).run().expect(0);
    assert_eq!(site.namespace.get("configmap/extra")["data"], json!({"a": "1"}));
    assert_eq!(site.manager_of("configmap/extra", "helm"), Vec::<Value>::new());
    assert_eq!(site.history().last(), Some(&deployed(3)));

    site.ours("rollback", &["2"]).run().expect(0);
    assert_eq!(site.namespace.get("configmap/extra")["data"], json!({"a": "1", "b": "2"}));
    site.helm(&["rollback", "maas", "1", "--wait", "--wait-for-jobs"]);
    assert!(site.namespace.get("configmap/extra").is_null());
    site.ours("rollback", &["3"]).run().expect(0);
    let superseded = |revision: u64| (revision, "superseded".to_owned());
    let mut all: Vec<(u64, String)> = (1..=5).map(superseded).collect();
    all.push(deployed(6));
    assert_eq!(site.history(), all);
    site.helm(&["uninstall", "maas", "--wait"]);
    assert!(site.namespace.get("configmap/extra").is_null());
}

#[test]
fn what_was_uninstalled_is_installed_again_with_its_data() {
    let Some(site) = Site::new("release-again") else { return };
    site.helm_with_values("install", "one.json");
    let gone = site.ours("uninstall", &["--yes"]).run().expect(0);
    assert!(
        gone.stdout.contains("kept: PersistentVolumeClaim release-again/data-maas-postgresql-0")
    );
    assert!(gone.stdout.contains("kept: Secret release-again/maas-db-admin"), "{}", gone.stdout);
    let left = site.namespace.get("all,configmap,role,rolebinding,poddisruptionbudget");
    let left: Vec<&str> = left["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["metadata"]["name"].as_str())
        .collect();
    assert_eq!(left, ["kube-root-ca.crt"]);
    // The old volume's password is the kept Secret's, or db-init would fail.
    site.with_values("install", "one.json", &[]).run().expect(0);
    site.ours("uninstall", &["--yes", "--purge-data"]).run().expect(0);
    for kind in ["persistentvolumeclaim", "secret"] {
        // kubectl says nothing where there is none.
        assert_eq!(site.namespace.get(kind), Value::Null, "{kind}");
    }
}

#[test]
fn what_cannot_heal_ends_the_wait_and_the_next_run_goes_on() {
    let Some(site) = Site::new("release-image") else { return };
    let none = format!("{}/postgres:none", variable("CLUSTER_REGISTRY"));
    let set = format!("images.tags.postgresql={none}");
    let failed = site.with_values("install", "one.json", &["--set", &set]).run().expect(1);
    let told = failed.message();
    for part in [
        "StatefulSet maas-postgresql, pod maas-postgresql-0",
        "ImagePullBackOff",
        &none,
        "hint: check the image's name",
        "describe pod maas-postgresql-0",
    ] {
        assert!(told.contains(part), "no '{part}' in {told}");
    }
    assert_eq!(site.history(), [(1, "failed".to_owned())]);
    site.with_values("install", "one.json", &[]).run().expect(0);
    // An upgrade to it, and back: the pod that cannot start does not stand in the way.
    site.with_values("upgrade", "one.json", &["--set", &set]).run().expect(1);
    site.with_values("upgrade", "one.json", &[]).run().expect(0);
    assert_eq!(site.history().last(), Some(&deployed(4)));
}

#[test]
fn a_hook_that_refuses_is_heard() {
    let Some(site) = Site::new("release-hook") else { return };
    // A server of the operator's: its administrator's Secret has to be there, and is not.
    let db = [
        "--set",
        "postgresql.enabled=false",
        "--set",
        "endpoints.maas_db.host_fqdn_override.default=db.example.com",
    ];
    let refused = site.with_values("install", "one.json", &db).run().expect(5);
    let told = refused.message();
    assert!(told.contains("because the hook Job maas-secrets refuses: "), "{told}");
    assert!(told.contains("maas-db-admin"), "{told}");
    assert!(site.namespace.get("serviceaccount/maas-jobs").is_null(), "nothing was applied");
    assert_eq!(site.history(), [(1, "failed".to_owned())]);
}

#[test]
fn interrupted_or_killed_the_next_run_goes_on() {
    let Some(site) = Site::new("release-killed") else { return };
    let started = |verb: &str, more: &[&str], mark: &str| {
        let running = site.with_values(verb, "one.json", more).spawn();
        eventually(mark, || running.stderr().contains(mark));
        running
    };
    let running = started("install", &[], "applying");
    running.signal(rustix::process::Signal::TERM);
    let ended = running.wait().expect(143);
    assert!(ended.stderr.contains("revision 1 is marked as failed"), "{}", ended.stderr);
    let running = started("install", &[], "hook pre-install");
    running.signal(rustix::process::Signal::KILL);
    running.wait().expect(137);
    assert_eq!(site.history().last(), Some(&(2, "pending-install".to_owned())));
    let stuck = site.with_values("install", "one.json", &[]).run().expect(5);
    assert!(
        stuck.message().contains("revision 2 of maas is pending-install since"),
        "{}",
        stuck.stderr
    );
    site.with_values("install", "one.json", &["--recover"]).run().expect(0);
    assert_eq!(site.history().last(), Some(&deployed(3)));
}

#[test]
fn owners_quotas_and_rights_are_told() {
    let Some(site) = Site::new("release-refused") else { return };
    site.with_values("install", "one.json", &["--no-wait"]).run().expect(0);
    let names = [
        "annotate",
        "serviceaccount",
        "maas-jobs",
        "--field-manager=their-tool",
        "--overwrite",
        "meta.helm.sh/release-name=maas",
    ];
    site.namespace.kubectl(&names, "");
    let label = [
        "label",
        "serviceaccount",
        "maas-jobs",
        "--field-manager=their-tool",
        "--overwrite",
        "app.kubernetes.io/name=theirs",
    ];
    site.namespace.kubectl(&label, "");
    let conflict = site.with_values("upgrade", "one.json", &["--no-wait"]).run().expect(5);
    let told = conflict.message();
    assert!(told.contains("their-tool owns .metadata.labels.app.kubernetes.io/name"), "{told}");
    assert_eq!(site.history(), [deployed(1)]);
    let forced = site.with_values("upgrade", "one.json", &["--no-wait", "--force-conflicts"]);
    forced.run().expect(0);
    let labels = site.namespace.get("serviceaccount/maas-jobs")["metadata"]["labels"].clone();
    assert_eq!(labels["app.kubernetes.io/name"], "maas");

    site.namespace.apply(&json!({"apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "small"}, "spec": {"hard": {"count/configmaps": "0"}}}));
    eventually("the quota to count", || {
        !site.namespace.get("resourcequota/small")["status"]["used"].is_null()
    });
    site.values("more.json", &extra(&json!({"a": "1"})));
    let quota = site.with_values("upgrade", "more.json", &["--no-wait"]).run().expect(1);
    let told = quota.message();
    assert!(
        told.contains("exceeded quota: small") && told.contains("ResourceQuota raised"),
        "{told}"
    );
    assert_eq!(site.history().last(), Some(&(3, "failed".to_owned())));
}

/// The server's connections are not closed: they are silent.
#[test]
fn a_cluster_that_loses_its_power_is_waited_for() {
    let Some(site) = Site::new("release-power") else { return };
    let running = site.with_values("install", "one.json", &[]).spawn();
    eventually("it to wait", || running.stderr().contains("waiting for StatefulSet"));
    let reboot = Command::new(variable("CLUSTER"))
        .args(["reboot", "--dir", &variable("CLUSTER_DIR")])
        .output()
        .expect("the cluster's driver");
    assert!(reboot.status.success(), "{}", String::from_utf8_lossy(&reboot.stderr));
    running.wait().expect(0);
    assert_eq!(site.history(), [deployed(1)]);
}
