//! The same calls against a real API server: that of `tests/cluster`, where `KUBECONFIG` and
//! `KUBECTL` are those that it prints (`DEPLOYER_TEST_CLUSTER=1`). Elsewhere these say that they
//! did not run; the stand-in's tests run everywhere.

use std::io::Write as _;
use std::process::{Command, Stdio};

use fixtures::Postgres;
use serde_json::{Value, json};

use crate::support::{World, eventually};

/// A namespace of a test's own; removed with this.
pub(crate) struct Namespace {
    pub(crate) name: String,
    kubectl: String,
}

impl Namespace {
    pub(crate) fn new(world: &mut World, name: &str) -> Option<Self> {
        if std::env::var_os("DEPLOYER_TEST_CLUSTER").is_none() {
            let _ = writeln!(std::io::stderr(), "not run: no DEPLOYER_TEST_CLUSTER ({name})");
            return None;
        }
        let kubeconfig =
            std::env::var("KUBECONFIG").expect("KUBECONFIG, as tests/cluster prints it");
        let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
        world.env("KUBECONFIG", kubeconfig);
        world.settings["release"] = json!({"name": "maas", "namespace": name, "fullname": "maas"});
        let namespace = Self { name: name.to_owned(), kubectl };
        namespace
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        Some(namespace)
    }

    pub(crate) fn kubectl(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new(&self.kubectl);
        command.args(["--namespace", &self.name]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl");
        child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("write");
        let output = child.wait_with_output().expect("kubectl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {args:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What a person would look at after a failure.
    fn evidence(&self) -> String {
        let mut all = String::new();
        for args in [
            &["get", "pods,jobs,statefulsets,pvc", "--output", "wide"][..],
            &["get", "events", "--sort-by", "lastTimestamp"],
        ] {
            let output =
                Command::new(&self.kubectl).args(["--namespace", &self.name]).args(args).output();
            let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            all += &format!("\n$ kubectl {}\n{}", args.join(" "), said.unwrap_or_default());
        }
        all
    }

    pub(crate) fn apply(&self, object: &Value) {
        self.kubectl(&["apply", "--filename", "-"], &object.to_string());
    }

    /// Whether there is any of `what`, a kind with a selector.
    fn has(&self, what: &str) -> bool {
        let args: Vec<&str> =
            ["get", "--output", "name"].into_iter().chain(what.split(' ')).collect();
        !self.kubectl(&args, "").trim().is_empty()
    }

    pub(crate) fn get(&self, what: &str) -> Value {
        let text = self.kubectl(&["get", what, "--ignore-not-found", "--output", "json"], "");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.evidence());
        }
        let _ = Command::new(&self.kubectl)
            .args(["delete", "namespace", &self.name, "--wait=false"])
            .output();
    }
}

#[test]
fn secrets_are_made_once() {
    let mut world = World::new();
    let Some(namespace) = Namespace::new(&mut world, "deployer-secrets") else { return };
    world.settings["secrets"] = json!({
        "admin": {"name": "maas-admin", "generate": true, "username": "admin", "email": "a@b"},
        "region": {"name": "maas-region-secret", "generate": true}
    });
    world.job(&["secrets"]).run().expect(0).changed("made the Secret maas-admin");
    let before = namespace.get("secret/maas-admin");
    assert_eq!(before["metadata"]["labels"]["app.kubernetes.io/managed-by"], "maas-deployer");
    world.job(&["secrets"]).run().expect(0).unchanged();
    let after = namespace.get("secret/maas-admin");
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    // Half a Secret is told, and not mended.
    namespace.kubectl(&["delete", "secret", "maas-admin"], "");
    namespace
        .kubectl(&["create", "secret", "generic", "maas-admin", "--from-literal=USERNAME=x"], "");
    let run = world.job(&["secrets"]).run().expect(5);
    assert!(run.message().contains("lacks PASSWORD and EMAIL"), "{}", run.stderr);
}

#[test]
fn regions_are_stopped_and_failed_jobs_removed() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("real_quiesce");
    world.public("secrets/db-user/DATABASE_USERNAME", "real_quiesce");
    world.stand_in();
    world.made_database();
    let Some(namespace) = Namespace::new(&mut world, "deployer-quiesce") else { return };
    let labels = crate::kubernetes::labels();
    // No image: the pods are there, and never run.
    let pod = json!({"containers": [{"name": "x", "image": "none.invalid/none:0"}],
        "terminationGracePeriodSeconds": 1});
    namespace.apply(&json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "maas-region"},
        "spec": {"replicas": 1, "serviceName": "x", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod}}}));
    let mut of_job = pod.clone();
    of_job["restartPolicy"] = json!("Never");
    namespace.apply(&json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "maas-failed", "labels": labels},
        "spec": {"activeDeadlineSeconds": 1, "template": {"spec": of_job}}}));
    for name in ["maas-unfinished", "maas-coming"] {
        namespace.apply(&json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": labels},
            "spec": {"template": {"metadata": {"labels": labels}, "spec": of_job}}}));
        let pods = format!("pods --selector=job-name={name}");
        eventually(&format!("a pod of {name}"), || namespace.has(&pods));
    }
    eventually("the region's pod", || namespace.get("pod/maas-region-0").is_object());
    let run = world.job(&["wait", "job/maas-failed", "--timeout", "60s"]).run().expect(1);
    assert!(run.message().contains("DeadlineExceeded"), "{}", run.stderr);

    let run = world.job(&["quiesce", "--coming", "maas-coming"]).run().expect(0);
    run.changed("deleted the failed Job maas-failed");
    run.changed("deleted the unfinished Job maas-unfinished");
    assert!(!namespace.has("pods --selector=job-name=maas-unfinished"));
    assert!(namespace.has("pods --selector=job-name=maas-coming"));
    assert_eq!(namespace.get("statefulset/maas-region")["spec"]["replicas"], 1);
    world.image_version("1:3.7.3-1");
    let run = world.job(&["quiesce", "--coming", "maas-coming"]).run().expect(0);
    run.changed("scaled maas-region from 1 to 0");
    assert_eq!(namespace.get("statefulset/maas-region")["spec"]["replicas"], 0);
    assert!(namespace.get("pod/maas-region-0").is_null());
    eventually("the Job to be gone", || namespace.get("job/maas-failed").is_null());
    world.job(&["quiesce", "--coming", "maas-coming"]).run().expect(0).unchanged();
}

/// Helm 3 patches, Helm 4 and maas-deployer apply on the server's side, as `helm` and as themselves:
/// whoever brought the StatefulSet brings its pods back. That quiesce scaled it makes no conflict,
/// as the API server notes no owner of a scale of 0, which its form leaves out.
#[test]
fn an_upgrade_brings_the_regions_back_however_it_applies() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("real_scale");
    world.public("secrets/db-user/DATABASE_USERNAME", "real_scale");
    world.stand_in();
    world.made_database();
    world.image_version("1:3.7.3-1");
    let Some(namespace) = Namespace::new(&mut world, "chart-scale") else { return };
    let labels = crate::kubernetes::labels();
    let pod = json!({"containers": [{"name": "x", "image": "none.invalid/none:0"}],
        "terminationGracePeriodSeconds": 1});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "maas-region"},
        "spec": {"replicas": 1, "serviceName": "x", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod}}})
    .to_string();
    let replicas = || namespace.get("statefulset/maas-region")["spec"]["replicas"].clone();
    let ways: [&[&str]; 3] = [
        &["apply", "--filename", "-"],
        &["apply", "--server-side", "--field-manager=helm", "--filename", "-"],
        &["apply", "--server-side", "--field-manager=maas-deployer", "--filename", "-"],
    ];
    for way in ways {
        namespace.kubectl(way, &set);
        world.job(&["quiesce"]).run().expect(0).changed("scaled maas-region from 1 to 0");
        assert_eq!(replicas(), 0, "{way:?}");
        // Refused where somebody else owns the number.
        namespace.kubectl(way, &set);
        assert_eq!(replicas(), 1, "{way:?}");
        namespace.kubectl(&["delete", "statefulset", "maas-region", "--wait"], "");
    }
}
