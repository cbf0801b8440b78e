//! Verbs on a release against a real Kubernetes, crosswise with Helm: as in `real_cluster`, and with
//! `HELM`, `CHART`, `CLUSTER_REGISTRY` and `CLUSTER_AUDIT_LOG`, as `scripts/cluster-tests` sets them.
//! A small part of the chart is installed: hooks, the database, and what makes a role in it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::real_cluster::Namespace;
use crate::support::{Job, World, eventually, small_part};

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; scripts/cluster-tests sets it"))
}

/// One release on the cluster.
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
        let mut values = json!({
            "images": {"tags": {"maas_deployer": image("maas-deployer:test"), "postgresql": image("postgres:15")}},
            "postgresql": {"enabled": true},
            "manifests": small_part(),
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
    pub(crate) fn ours(&self, verb: &str, more: &[&str]) -> Job {
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
    site.ours("uninstall", &["--yes"]).run().expect(0);
    // Without the record, by labels.
    let purged = site.ours("uninstall", &["--yes", "--purge-data"]).run().expect(0);
    assert!(purged.stdout.contains("purged: PersistentVolumeClaim "), "{}", purged.stdout);
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
    let quota = site.with_values("upgrade", "more.json", &["--no-wait"]).run().expect(5);
    let told = quota.message();
    assert!(
        told.contains("exceeded quota: small") && told.contains("ResourceQuota raised"),
        "{told}"
    );
    assert_eq!(site.history().last(), Some(&deployed(2)), "nothing was begun");
}

/// What Helm's fields left is taken away also where the first upgrade only began.
#[test]
fn an_upgrade_of_helms_release_that_was_killed_is_gone_on_with() {
    let Some(site) = Site::new("release-helms") else { return };
    site.values("two.json", &extra(&json!({"a": "1", "b": "2"})));
    site.values("three.json", &extra(&json!({"a": "1"})));
    site.helm_with_values("install", "two.json");
    let running = site.with_values("upgrade", "three.json", &[]).spawn();
    eventually("a hook", || running.stderr().contains("hook pre-upgrade"));
    running.signal(rustix::process::Signal::KILL);
    running.wait().expect(137);
    assert_eq!(site.history().last(), Some(&(2, "pending-upgrade".to_owned())));
    site.with_values("upgrade", "three.json", &["--recover"]).run().expect(0);
    assert_eq!(site.namespace.get("configmap/extra")["data"], json!({"a": "1"}));
    assert_eq!(site.manager_of("configmap/extra", "helm"), Vec::<Value>::new());
    let superseded = (1, "superseded".to_owned());
    assert_eq!(site.history(), [superseded, (2, "failed".to_owned()), deployed(3)]);
}

#[test]
fn what_helm_uninstalled_and_remembers_is_installed_again() {
    let Some(site) = Site::new("release-history") else { return };
    site.helm_with_values("install", "one.json");
    site.helm(&["uninstall", "maas", "--keep-history", "--wait"]);
    let absent = site.with_values("upgrade", "one.json", &[]).run().expect(5);
    assert!(absent.message().contains("maas-deployer install maas"), "{}", absent.stderr);
    site.with_values("install", "one.json", &[]).run().expect(0);
    assert_eq!(site.history(), [(1, "superseded".to_owned()), deployed(2)]);
    site.helm(&["uninstall", "maas", "--keep-history", "--wait"]);
    site.ours("rollback", &["1"]).run().expect(0);
    assert_eq!(site.history().last(), Some(&deployed(3)));
}

#[test]
fn of_two_that_begin_at_once_exactly_one_goes_on() {
    let Some(site) = Site::new("release-two") else { return };
    site.with_values("install", "one.json", &["--no-wait"]).run().expect(0);
    site.values("a.json", &extra(&json!({"of": "a"})));
    site.values("b.json", &extra(&json!({"of": "b"})));
    let both =
        ["a.json", "b.json"].map(|file| site.with_values("upgrade", file, &["--no-wait"]).spawn());
    let ended = both.map(crate::support::Running::wait);
    let won = ended.iter().position(|one| one.code == 0).expect("one goes on");
    // The other came to the record at the same moment, or saw it there.
    assert!([5, 6].contains(&ended[1 - won].code), "{}", ended[1 - won].stderr);
    assert_eq!(site.history(), [(1, "superseded".to_owned()), deployed(2)]);
    let of = if won == 0 { "a" } else { "b" };
    assert_eq!(site.namespace.get("configmap/extra")["data"], json!({"of": of}));
}

#[test]
fn conflicts_on_what_helm_made_are_found_before_anything_is_changed() {
    let Some(site) = Site::new("release-conflict") else { return };
    site.values("two.json", &extra(&json!({"a": "1"})));
    site.values("three.json", &extra(&json!({"a": "3"})));
    site.helm_with_values("install", "two.json");
    let patch = r#"{"data": {"a": "2"}}"#;
    site.namespace.kubectl(
        &[
            "patch",
            "configmap",
            "extra",
            "--field-manager=their-tool",
            "--type=merge",
            "--patch",
            patch,
        ],
        "",
    );
    let told = site.with_values("upgrade", "three.json", &[]).run().expect(5).message();
    assert!(told.contains("their-tool owns .data.a"), "{told}");
    assert_eq!(site.history(), [deployed(1)]);
    site.with_values("upgrade", "three.json", &["--force-conflicts"]).run().expect(0);
    assert_eq!(site.namespace.get("configmap/extra")["data"], json!({"a": "3"}));
}

#[test]
fn what_the_server_does_not_take_is_told_before_anything_is_begun() {
    let Some(mut site) = Site::new("release-invalid") else { return };
    let object = |object: Value| json!({"extraObjects": [object]});
    let secret = |value: Value| {
        object(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "extra"},
            "stringData": {"TOKEN": value}}))
    };
    let unknown =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}, "dato": {}});
    site.values("unknown.json", &object(unknown));
    site.values("number.json", &secret(json!(87_654_321)));
    site.values("list.json", &secret(json!(["tok-en-0123456789"])));
    for hidden in ["87654321", "8.7654321e+07", "tok-en-0123456789"] {
        site.world.hide(hidden);
    }
    for file in ["unknown.json", "number.json", "list.json"] {
        let begun = std::time::Instant::now();
        let refused = site.with_values("install", file, &["-vv"]).run().expect(5);
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{file}: it was tried again");
        let told = refused.message();
        assert!(told.contains("release-invalid/extra: Kubernetes answers"), "{file}: {told}");
        assert!(site.namespace.get("secret").is_null(), "{file}: nothing was begun");
    }
}

/// The pod of a hook that cannot start says so once, and then nothing more.
#[test]
fn a_hook_that_cannot_start_ends_the_run_when_its_grace_is_over() {
    let Some(site) = Site::new("release-hook-late") else { return };
    let image = format!("{}/postgres:15", variable("CLUSTER_REGISTRY"));
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "a"}}}]);
    let container = json!({"name": "one", "image": image, "command": ["true"], "env": env});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "early",
        "annotations": {"helm.sh/hook": "pre-install"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}});
    site.values("hook.json", &json!({"extraObjects": [job]}));
    let begun = std::time::Instant::now();
    let told = site.with_values("install", "hook.json", &[]).run().expect(1).message();
    assert!(told.contains("CreateContainerConfigError"), "{told}");
    assert!(told.contains("hint: make the Secret or ConfigMap that it names"), "{told}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(100), "{:?}", begun.elapsed());
}

/// An account with every right in the namespace but one.
#[test]
fn each_right_that_is_lacking_is_named() {
    let Some(site) = Site::new("release-rights") else { return };
    let all = ["get", "list", "watch", "create", "update", "patch", "delete", "escalate", "bind"];
    let groups = ["", "apps", "batch", "policy", "networking.k8s.io", "rbac.authorization.k8s.io"];
    site.values("more.json", &extra(&json!({"a": "1"})));
    site.namespace.apply(
        &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}),
    );
    let subject =
        json!({"kind": "ServiceAccount", "name": "deployer", "namespace": site.namespace.name});
    site.namespace.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "deployer"}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"}}),
    );
    let allow = |verbs: &[&str]| {
        site.namespace.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": {"name": "deployer"},
            "rules": [{"apiGroups": groups, "resources": ["*"], "verbs": verbs}]}));
    };
    let token = site.namespace.kubectl(&["create", "token", "deployer"], "");
    let config = std::fs::read_to_string(variable("KUBECONFIG")).expect("kubeconfig");
    let config = as_account(&config, token.trim());
    let path = site.file("deployer.kubeconfig");
    std::fs::write(&path, config).expect("kubeconfig");
    let as_it = |verb: &str, file: &str| site.with_values(verb, file, &[]).env("KUBECONFIG", &path);
    for verb in ["list", "get", "create", "patch", "watch", "delete", "update"] {
        let rest: Vec<&str> = all.into_iter().filter(|one| *one != verb).collect();
        allow(&rest);
        // A watch, and what closes the record, come after the first change.
        let code = if matches!(verb, "watch" | "delete" | "update") { 1 } else { 5 };
        let told = as_it("install", "more.json").run().expect(code).message();
        assert!(told.contains(&format!("cannot {verb} resource")), "{verb}: {told}");
        assert!(told.contains("hint: have your account given that right"), "{verb}: {told}");
    }
    allow(&all);
    // The one that lacked `update` could not close its record.
    site.with_values("install", "more.json", &["--recover", "--no-wait"])
        .env("KUBECONFIG", &path)
        .run()
        .expect(0);
    assert_eq!(site.history().last().map(|last| last.1.clone()), Some("deployed".to_owned()));
}

/// A kubeconfig's text, with a token in place of its user's certificate.
fn as_account(config: &str, token: &str) -> String {
    let start = config.find("\nusers:").expect("users");
    let rest = config[start + 1..].lines().skip(1);
    let after: Vec<&str> = rest.skip_while(|line| line.starts_with([' ', '-'])).collect();
    let user = config[start..]
        .lines()
        .find_map(|line| line.trim_start_matches("- ").trim().strip_prefix("name: "));
    let user = user.expect("the user's name");
    let users = format!("users:\n- name: {user}\n  user:\n    token: {token}\n");
    format!("{}\n{users}{}\n", &config[..start], after.join("\n"))
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
