//! A real API server takes every object of every value file. Run where
//! `KUBECONFIG` and `KUBECTL` name a cluster that may be written to:
//!
//! ```text
//! cargo test -p chart-tests --test cluster -- --ignored
//! ```

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

/// `kubectl apply` of a text; what it printed when it failed.
fn apply(text: &str, arguments: &[&str]) -> Result<String, String> {
    let kubectl = std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let mut child = Command::new(kubectl)
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
    let warned = errors.contains("Warning");
    if output.status.success() && !warned {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(errors)
}

#[test]
#[ignore = "needs a cluster: KUBECONFIG and KUBECTL"]
fn a_real_api_server_takes_every_object() {
    assert!(std::env::var_os("KUBECONFIG").is_some(), "KUBECONFIG names no cluster");
    let helm = Helm::find().expect("helm");
    for kind in &KINDS {
        apply(&definition(kind), &[]).unwrap();
    }
    for namespace in ["maas", "ucp"] {
        let object = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        apply(&object, &[]).unwrap();
    }
    // The kinds are served a moment after they are made.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let probe = helm.text(&[&files::named("tls-cert-manager"), &files::named("service-monitor")]);
    while apply(&probe, &["--dry-run=server", "--namespace=maas"])
        .is_err_and(|error| error.contains("no matches for kind"))
    {
        assert!(std::time::Instant::now() < end, "the new kinds are not served");
    }
    let refused: Vec<_> = files::side_by_side(&files::all(), |(name, path)| {
        let text = helm.text(&[path]);
        let count = text.matches("\nkind: ").count();
        match apply(&text, &["--dry-run=server", "--namespace=maas"]) {
            Ok(taken) => {
                assert_eq!(taken.lines().count(), count, "{name}: {taken}");
                None
            }
            Err(error) => Some(format!("{name}: {error}")),
        }
    });
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
