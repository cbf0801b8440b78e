//! `kubectl` in one namespace.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Output, Site, eventually, run};

/// `kubectl` with a kubeconfig and a namespace.
#[derive(Debug, Clone)]
pub struct Kube {
    site: Site,
    namespace: String,
}

/// Objects by kind and name, each with the UID it has.
pub type Objects = BTreeMap<String, String>;

impl Kube {
    /// `kubectl` for that namespace, which is made unless it is there.
    #[must_use]
    pub fn new(site: &Site, namespace: &str) -> Self {
        let kube = Self { site: site.clone(), namespace: namespace.to_owned() };
        let _ = kube.run(&["create", "namespace", namespace]);
        kube
    }

    /// Removes a namespace, with all that is in it, if it is there.
    #[track_caller]
    pub fn remove(site: &Site, namespace: &str) {
        let kube = Self { site: site.clone(), namespace: namespace.to_owned() };
        kube.ok(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout", "3m"]);
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command with these arguments, not yet run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.site.kubectl);
        command.env("KUBECONFIG", &self.site.kubeconfig);
        command.args(["--namespace", &self.namespace]).args(args);
        command
    }

    /// Runs one to its end.
    #[track_caller]
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        run(&mut self.command(args), b"")
    }

    /// Runs one that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).expect(&format!("kubectl {}", args.join(" ")))
    }

    /// `kubectl apply` of an object, or of several in a `List`.
    #[track_caller]
    pub fn apply(&self, object: &Value) {
        let mut command = self.command(&["apply", "--filename", "-"]);
        run(&mut command, object.to_string().as_bytes()).expect("kubectl apply");
    }

    /// Makes a Secret, or gives one that is there other texts.
    #[track_caller]
    pub fn set_secret(&self, name: &str, texts: &Value) {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": texts,
        }));
    }

    /// `kubectl get … -o json`; `None` where there is no such object or no answer.
    #[must_use]
    pub fn get(&self, args: &[&str]) -> Option<Value> {
        let output = self.run(&[&["get", "--output", "json"], args].concat());
        output.success.then(|| serde_json::from_str(&output.stdout).expect("JSON"))
    }

    /// Runs a command in a pod.
    #[track_caller]
    #[must_use]
    pub fn exec(&self, pod: &str, container: &str, args: &[&str]) -> Output {
        self.run(&[&["exec", pod, "--container", container, "--"], args].concat())
    }

    /// A value of a Secret.
    #[must_use]
    pub fn secret(&self, name: &str, key: &str) -> Option<String> {
        use base64::Engine as _;
        let secret = self.get(&["secret", name])?;
        let value = secret["data"][key].as_str()?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(value).expect("base64");
        Some(String::from_utf8(bytes).expect("text"))
    }

    /// Objects of a kind, by name, that fit a label selector, with their UIDs.
    #[track_caller]
    #[must_use]
    pub fn uids(&self, kind: &str, selector: &str) -> Objects {
        let list =
            eventually(&format!("a list of {kind}"), || self.get(&[kind, "--selector", selector]));
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| (text(item, "name"), text(item, "uid"))).collect()
    }

    /// Waits until a pod is ready, and another than `old` where that is given; gives its UID.
    #[track_caller]
    pub fn ready(&self, pod: &str, old: Option<&str>) -> String {
        eventually(&format!("pod {pod} to be ready"), || {
            let found = self.get(&["pod", pod])?;
            let uid = text(&found, "uid");
            let conditions = found["status"]["conditions"].as_array()?;
            let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let ends = found["metadata"]["deletionTimestamp"].is_string();
            (ready && !ends && Some(uid.as_str()) != old).then_some(uid)
        })
    }

    /// Waits until the Job whose name starts so is complete; gives its name.
    ///
    /// # Panics
    ///
    /// When it failed, with its log.
    #[track_caller]
    pub fn complete(&self, prefix: &str) -> String {
        eventually(&format!("job {prefix} to be complete"), || {
            let jobs = self.get(&["jobs"])?;
            let all = jobs["items"].as_array()?;
            let mut found = all.iter().filter(|job| text(job, "name").starts_with(prefix));
            let (job, none) = (found.next()?, found.next());
            if none.is_some() {
                return None;
            }
            let name = text(job, "name");
            if job["status"]["failed"].as_u64().unwrap_or(0) > 3 {
                panic!("job {name} failed:\n{}", self.logs(&name));
            }
            (job["status"]["succeeded"] == 1).then_some(name)
        })
    }

    /// The log of a Job's containers.
    #[must_use]
    pub fn logs(&self, job: &str) -> String {
        let output =
            self.run(&["logs", &format!("job/{job}"), "--all-containers", "--ignore-errors"]);
        output.stdout + &output.stderr
    }

    /// What a person would look at after a failure: pods, jobs, events, and the last lines of
    /// every container's log.
    #[must_use]
    pub fn evidence(&self) -> String {
        let mut all = String::new();
        for args in [
            &["get", "pods,jobs,statefulsets,pvc", "--output", "wide"][..],
            &["get", "events", "--sort-by", "lastTimestamp"],
        ] {
            let output = self.run(args);
            all += &format!("\n$ kubectl {}\n{}{}", args.join(" "), output.stdout, output.stderr);
        }
        let pods = self.get(&["pods"]).unwrap_or_default();
        for pod in pods["items"].as_array().into_iter().flatten() {
            let name = text(pod, "name");
            let logs = self.run(&[
                "logs",
                &name,
                "--all-containers",
                "--prefix",
                "--tail",
                "25",
                "--ignore-errors",
            ]);
            all += &format!("\n$ kubectl logs {name}\n{}{}", logs.stdout, logs.stderr);
        }
        all
    }
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}
