//! One release of the chart, and the upstream that its mirror follows.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use fixtures::{Kernel, Release as Ubuntu, Server, SigningKey, Stream, StreamSpec};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Kube, Output, Site, Tool, Use, run};

/// The file of values below [`Release::folder`].
pub const VALUES: &str = "values.json";

/// A release, with its namespace, values and upstream.
#[derive(Debug)]
pub struct Release {
    /// Where it is installed.
    pub site: Site,
    /// Its namespace.
    pub kube: Kube,
    /// Its name.
    pub name: String,
    /// What its mirror follows.
    pub upstream: Server,
    /// What that upstream publishes.
    pub stream: Stream,
    folder: TempDir,
}

impl Release {
    /// A release that is not installed yet, with an upstream of Xenial and Noble.
    #[must_use]
    pub fn new(site: &Site, name: &str, namespace: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("install-").tempdir().expect("folder");
        let key = SigningKey::generate("Test <test@example.org>").expect("key");
        let tree = folder.path().join("upstream");
        std::fs::create_dir(&tree).expect("folder");
        let stream = StreamSpec::new()
            .releases(&[Ubuntu::Xenial, Ubuntu::Noble])
            .kernels(&[Kernel::Ga])
            .scale(0.01)
            .build();
        stream.publish(&tree, &key).expect("publish");
        let upstream = Server::start_on(tree, SocketAddr::new(site.host, 0)).expect("server");
        let release = Self {
            site: site.clone(),
            kube: Kube::new(site, namespace),
            name: name.to_owned(),
            upstream,
            stream,
            folder,
        };
        std::fs::write(release.keyring(), key.keyring()).expect("keyring");
        release.write_values(&release.values(key.keyring()));
        release
    }

    /// A folder that is removed with this value.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The keyring that the upstream's metadata are signed by, a file.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring.gpg")
    }

    /// What differs from the chart's defaults: the images of these tests, their upstream and
    /// keyring, and what the issue asks to be turned on.
    fn values(&self, keyring: &[u8]) -> Value {
        let image = |name: &str, tag: &str| self.site.image(name, tag);
        json!({
            "images": { "pull_policy": self.site.pull_policy, "tags": {
                "maas_region": image("maas-region-controller", "3.6.4"),
                "maas_rack": image("maas-rack-controller", "3.6.4"),
                "maas_cache": image("maas-mirror", "test"),
                "maas_deployer": image("maas-deployer", "test"),
                "maas_syslog": image("maas-region-controller", "3.6.4"),
                "postgresql": image("postgres", "15"),
            } },
            "postgresql": { "enabled": true },
            // The chart's own but for SYS_RESOURCE: machines that test in a sandbox are often
            // not given it, and then cannot give it on.
            "pod": { "security_context": {
                "region": { "container": { "maas_region": {
                    "capabilities": { "add": ["DAC_READ_SEARCH", "NET_ADMIN", "SYS_ADMIN"] },
                } } },
                "rack": { "container": { "maas_rack": {
                    "capabilities": { "add": ["DAC_READ_SEARCH", "NET_ADMIN", "NET_RAW", "SYS_ADMIN"] },
                } } },
            } },
            "conf": { "cache": {
                "enabled": true,
                "upstream": self.upstream.url(),
                "keyring": { "data": base64::engine::general_purpose::STANDARD.encode(keyring) },
            } },
        })
    }

    fn write_values(&self, values: &Value) {
        std::fs::write(self.values_file(), values.to_string()).expect("values");
    }

    fn values_file(&self) -> PathBuf {
        self.folder.path().join(VALUES)
    }

    /// `helm` with this release's kubeconfig and namespace.
    #[must_use]
    pub fn helm(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.site.helm);
        command.env("KUBECONFIG", &self.site.kubeconfig);
        for (name, folder) in [
            ("HELM_CACHE_HOME", "cache"),
            ("HELM_CONFIG_HOME", "config"),
            ("HELM_DATA_HOME", "data"),
        ] {
            command.env(name, self.folder.path().join(folder));
        }
        command.args(["--namespace", self.kube.namespace()]).args(args);
        run(&mut command, b"")
    }

    /// `maas-deployer` with this release's kubeconfig, and what it used.
    #[track_caller]
    #[must_use]
    pub fn deployer(&self, verb: &str, args: &[&str]) -> (Output, Use) {
        let mut command = Command::new(&self.site.deployer);
        command.env("KUBECONFIG", &self.site.kubeconfig);
        command.args([verb, "--namespace", self.kube.namespace()]).args(args);
        Use::of(&mut command)
    }

    /// `install` or `upgrade` by one of the tools, with the values and `extra` arguments; it returns
    /// when Kubernetes says that all is ready and every job done.
    #[track_caller]
    #[must_use]
    pub fn apply(&self, by: Tool, verb: &str, extra: &[&str]) -> Output {
        self.applied(by, verb, extra).0
    }

    /// As [`apply`](Self::apply), with what it used.
    #[track_caller]
    #[must_use]
    pub fn applied(&self, by: Tool, verb: &str, extra: &[&str]) -> (Output, Use) {
        self.by(by, verb, &[by.waits(), extra].concat())
    }

    /// As [`apply`](Self::apply), but returning once Kubernetes has the objects, and hooks ran.
    #[track_caller]
    #[must_use]
    pub fn start(&self, by: Tool, verb: &str, extra: &[&str]) -> Output {
        let returns: &[&str] = if by == Tool::Deployer { &["--no-wait"] } else { &[] };
        self.by(by, verb, &[returns, extra].concat()).0
    }

    /// What the deployer sees with these values and `extra` arguments: `diff`, `check`.
    #[track_caller]
    #[must_use]
    pub fn looked(&self, verb: &str, extra: &[&str]) -> Output {
        self.by(Tool::Deployer, verb, extra).0
    }

    #[track_caller]
    fn by(&self, by: Tool, verb: &str, more: &[&str]) -> (Output, Use) {
        let (chart, values) = (self.site.chart.display(), self.values_file());
        let (chart, values) = (chart.to_string(), values.display().to_string());
        let values = ["--values", &values];
        match by {
            Tool::Helm => {
                let common = [verb, &self.name, &chart];
                (self.helm(&[&common, &values[..], more].concat()), Use::default())
            }
            Tool::Deployer => self.deployer(verb, &[&[&*self.name], &values[..], more].concat()),
        }
    }

    /// Goes back to a revision, and waits as [`apply`](Self::apply).
    #[track_caller]
    #[must_use]
    pub fn rollback(&self, by: Tool, revision: &str) -> Output {
        let args = [&[&*self.name, revision], by.waits()].concat();
        match by {
            Tool::Helm => self.helm(&[&["rollback"], &args[..]].concat()),
            Tool::Deployer => self.deployer("rollback", &args).0,
        }
    }

    /// Uninstalls it. `extra` is one of the tool's own arguments.
    #[track_caller]
    #[must_use]
    pub fn uninstall(&self, by: Tool, extra: &[&str]) -> Output {
        let args = [&[&*self.name, "--timeout", "5m"], extra].concat();
        match by {
            Tool::Helm => self.helm(&[&["uninstall", "--wait"], &args[..]].concat()),
            Tool::Deployer => self.deployer("uninstall", &[&["--yes"], &args[..]].concat()).0,
        }
    }

    /// The newest revision: its number and its state.
    #[track_caller]
    #[must_use]
    pub fn revision(&self) -> (u64, String) {
        let (history, _) = self.deployer("history", &[&self.name, "--output", "json"]);
        let history: Value = serde_json::from_str(&history.expect("history")).expect("JSON");
        let last = history["revisions"].as_array().and_then(|all| all.last()).expect("a revision");
        let status = last["status"].as_str().expect("a state").to_owned();
        (last["revision"].as_u64().expect("a number"), status)
    }

    /// How often people's programs have written in the release's namespace, dry runs aside: the
    /// cluster's own log says so.
    #[track_caller]
    #[must_use]
    pub fn writes(&self) -> usize {
        let log = std::fs::read_to_string(&self.site.audit_log).expect("audit log");
        let below = format!("/namespaces/{}/", self.kube.namespace());
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let uris = events
            .filter(|event| event["user"]["username"] == "admin")
            .filter_map(|event| event["requestURI"].as_str().map(ToOwned::to_owned));
        uris.filter(|uri| uri.contains(&below) && !uri.contains("dryRun")).count()
    }

    /// What NOTES tells to type, of the lines that `of` is a part of.
    #[track_caller]
    #[must_use]
    pub fn notes(&self, of: &str) -> Vec<String> {
        let notes = self.helm(&["get", "notes", &self.name]).expect("helm get notes");
        let commands = notes.lines().filter(|line| line.starts_with("  ") && line.contains(of));
        commands.map(|line| line.trim().to_owned()).collect()
    }

    /// Types a command of NOTES into a shell whose `kubectl` is this cluster's; where that takes
    /// longer than `seconds`, it ends with code 124.
    #[track_caller]
    #[must_use]
    pub fn type_in(&self, line: &str, seconds: u32) -> Output {
        let programs = self.site.kubectl.parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("timeout");
        shell
            .args([&*seconds.to_string(), "bash", "-c", line])
            .env("KUBECONFIG", &self.site.kubeconfig);
        run(shell.env("PATH", format!("{programs}:{path}")), b"")
    }

    /// What the names of its objects begin with.
    fn full_name(&self) -> String {
        let name = &self.name;
        if name.contains("maas") { name.clone() } else { format!("{name}-maas") }
    }

    /// The name of one of its objects.
    #[must_use]
    pub fn object(&self, component: &str) -> String {
        format!("{}-{component}", self.full_name())
    }

    /// The name of the first pod of one of its StatefulSets.
    #[must_use]
    pub fn pod(&self, component: &str) -> String {
        format!("{}-0", self.object(component))
    }

    /// A label selector for everything in it, or for one component.
    #[must_use]
    pub fn selector(&self, component: Option<&str>) -> String {
        let of = component.map(|name| format!(",app.kubernetes.io/component={name}"));
        format!("app.kubernetes.io/instance={}{}", self.name, of.unwrap_or_default())
    }

    /// Runs SQL in the release's own PostgreSQL, as its superuser.
    #[must_use]
    pub fn sql(&self, statement: &str) -> Output {
        let args = ["psql", "--username", "postgres", "--dbname", "maasdb", "-Atc", statement];
        self.kube.exec(&self.pod("postgresql"), "postgresql", &args)
    }

    /// The paths of items that the mirror fetched from upstream.
    #[must_use]
    pub fn items_fetched(&self) -> usize {
        let items = self.stream.item_paths();
        self.upstream.requests().iter().filter(|request| items.contains(&request.path)).count()
    }
}
