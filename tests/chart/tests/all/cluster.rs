//! A real API server takes every object of every value file, each once, and
//! upgrades from one file's values to the next's. Run where
//! `KUBECONFIG` and `KUBECTL` name a cluster that may be written to:
//!
//! ```text
//! cargo test --test chart -- --ignored
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use chart_tests::{Helm, files};

/// Kinds that no API server has by itself, with any content.
const KINDS: [(&str, &str, &str); 2] = [
    ("cert-manager.io", "Certificate", "certificates"),
    ("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
];

fn definition((group, kind, plural): &(&str, &str, &str)) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n\
         metadata: {{name: {plural}.{group}}}\nspec:\n  group: {group}\n  scope: Namespaced\n  \
         names: {{kind: {kind}, plural: {plural}}}\n  versions:\n    - name: v1\n      served: true\n      \
         storage: true\n      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
    )
}

fn kubectl() -> Command {
    Command::new(std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into()))
}

/// `kubectl apply` of a text; what it printed when it failed.
fn apply(text: &str, arguments: &[&str]) -> Result<String, String> {
    let mut child = kubectl()
        .args(["apply", "--server-side", "--validate=strict", "--request-timeout=60s"])
        .args(arguments)
        .args(["--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // Value files hold a text where a certificate would be.
    let warned = |line: &str| line.contains("Warning") && !line.contains("PEM data");
    if output.status.success() && !errors.lines().any(warned) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(errors)
}

/// Namespaces that are removed with this: what comes after finds nothing in them.
struct Namespaces(&'static [&'static str]);

impl Namespaces {
    fn make(names: &'static [&'static str]) -> Self {
        for name in names {
            let object = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
            apply(&object, &[]).unwrap();
        }
        Self(names)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        let _ = kubectl().args(["delete", "namespace", "--wait=false"]).args(self.0).output();
    }
}

/// [`KINDS`], known to the cluster until this is dropped: other tests count on their absence.
struct Kinds;

impl Kinds {
    fn make() -> Self {
        for kind in &KINDS {
            apply(&definition(kind), &[]).unwrap();
        }
        Self
    }
}

impl Drop for Kinds {
    fn drop(&mut self) {
        let names = KINDS.map(|(group, _, plural)| format!("{plural}.{group}"));
        let deleted = kubectl()
            .args(["delete", "customresourcedefinition", "--wait", "--timeout=60s"])
            .args(names)
            .output();
        let is_gone = deleted.is_ok_and(|deleted| deleted.status.success());
        assert!(is_gone || std::thread::panicking(), "the kinds are not gone");
    }
}

#[test]
#[ignore = "needs a cluster: KUBECONFIG and KUBECTL"]
fn a_real_api_server_takes_every_object() {
    assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG names no cluster");
    let helm = Helm::find().expect("helm");
    let _kinds = Kinds::make();
    let _namespaces = Namespaces::make(&["maas", "ucp"]);
    // The kinds are served a moment after they are made.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let probe = helm.text(&[&files::named("tls-cert-manager"), &files::named("service-monitor")]);
    while apply(&probe, &["--dry-run=server", "--namespace=maas"])
        .is_err_and(|error| error.contains("no matches for kind"))
    {
        assert!(std::time::Instant::now() < end, "the new kinds are not served");
    }
    // The pod of `helm test` needs it to be there.
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: maas-jobs}\n";
    apply(account, &["--namespace=maas"]).unwrap();

    let rendered =
        files::side_by_side(&files::all(), |(name, path)| (name.clone(), helm.text(&[path])));
    let mut objects: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, text) in &rendered {
        for object in text.split("\n---\n").filter(|object| object.contains("kind:")) {
            objects.entry(object).or_insert(name);
        }
    }
    let objects: Vec<_> = objects.into_iter().collect();
    assert!(objects.len() > 400, "{}", objects.len());
    // kubectl takes no object of another namespace than the one it is told.
    let (placed, free): (Vec<_>, Vec<_>) =
        objects.iter().partition(|(object, _)| object.contains("\n  namespace: "));
    let parts: Vec<_> = placed.chunks(50).chain(free.chunks(50)).collect();
    let refused = files::side_by_side(&parts, |part| {
        let dry: &[&str] = if part.iter().any(|(object, _)| object.contains("\n  namespace: ")) {
            &["--dry-run=server"]
        } else {
            &["--dry-run=server", "--namespace=maas"]
        };
        let texts: Vec<_> = part.iter().map(|(object, _)| *object).collect();
        if apply(&texts.join("\n---\n"), dry).is_ok_and(|taken| taken.lines().count() == part.len())
        {
            return Vec::new();
        }
        let one = |(object, name): &(&str, &str)| {
            apply(object, dry).err().map(|error| format!("{name}: {error}"))
        };
        part.iter().filter_map(one).collect()
    });
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    println!("{} objects of {} value files were taken", objects.len(), rendered.len());
}

/// Runs Helm against the cluster; says what it printed when it failed.
fn helm(helm: &Helm, arguments: &[&str], values: &str) -> Result<(), String> {
    let mut command = helm.command();
    command.args(arguments);
    if !values.is_empty() {
        // Without hooks: nothing runs here, there are no images.
        command.args(["upgrades"]).arg(files::chart()).args(["--no-hooks", "--create-namespace"]);
        command.arg("--values").arg(files::named(values));
    }
    let output = command.output().expect("helm runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{arguments:?} {values}: {text}")) }
}

#[test]
#[ignore = "needs a cluster: KUBECONFIG and KUBECTL"]
fn a_real_api_server_takes_upgrades_from_any_values_to_others() {
    assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG names no cluster");
    let program = Helm::find().expect("helm").namespace("chart-upgrades");
    helm(&program, &["install"], "defaults").unwrap();
    let others = [
        "postgresql",
        "cache",
        "cache-selection",
        "cache-air-gap",
        "tls",
        "passwords-postgresql",
        "database-tls",
        "replicas",
        "scheduling",
        "security-contexts",
        "mounts",
        "network-policy-more",
        "node-port-tls",
        "node-port",
        "syslog",
        "syslog-off",
        "no-rack",
        "jobs",
        "settings",
        "images",
        "secret-names",
        "rack-only",
        "defaults",
        "defaults",
    ];
    let refused: Vec<_> =
        others.iter().filter_map(|name| helm(&program, &["upgrade"], name).err()).collect();
    let removed = helm(&program, &["uninstall", "upgrades", "--no-hooks"], "");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    removed.unwrap();
}
