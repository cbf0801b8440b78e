//! Secrets that pods mount: whether they are there, with the keys that are read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Names;
use super::report::Check;
use super::workloads::Workload;
use crate::counted::counted;
use crate::manifest::Document;

/// Secrets by name, with the keys that are read of each.
pub(super) type Wanted = BTreeMap<String, BTreeSet<String>>;
/// Secrets by name, with the keys that each has; `None` where it is not there.
pub(super) type Found = BTreeMap<String, Option<BTreeSet<String>>>;

/// The Secrets of a release's pods and Ingresses.
pub(super) fn wanted(workloads: &[Workload], documents: &[Document]) -> Wanted {
    let mut wanted = Wanted::new();
    for workload in workloads {
        for volume in list(&workload.written, "/volumes") {
            let Some(secret) = volume.get("secret") else { continue };
            let Some(name) = text(secret, "/secretName") else { continue };
            if secret.get("optional") == Some(&Value::Bool(true)) {
                continue;
            }
            let keys = list(secret, "/items").filter_map(|item| text(item, "/key"));
            wanted.entry(name.to_owned()).or_default().extend(keys.map(str::to_owned));
        }
        for secret in list(&workload.written, "/imagePullSecrets") {
            wanted.entry(text(secret, "/name").unwrap_or_default().to_owned()).or_default();
        }
    }
    for ingress in documents.iter().filter(|document| document.kind() == "Ingress") {
        for tls in list(&ingress.object, "/spec/tls") {
            if let Some(name) = text(tls, "/secretName") {
                let keys = ["tls.crt", "tls.key"].map(str::to_owned);
                wanted.entry(name.to_owned()).or_default().extend(keys);
            }
        }
    }
    wanted
}

/// The Secrets that a release makes itself: its own objects, those of its jobs, those of
/// cert-manager for it.
pub(super) fn made(documents: &[Document], workloads: &[Workload]) -> BTreeSet<String> {
    let own = documents.iter().filter_map(|document| match document.kind() {
        "Secret" => Some(document.name().to_owned()),
        "Certificate" => text(&document.object, "/spec/secretName").map(str::to_owned),
        _ => None,
    });
    own.chain(generated(workloads)).collect()
}

/// What `job secrets` and `job export-api-key` make.
fn generated(workloads: &[Workload]) -> Vec<String> {
    let mut names = Vec::new();
    for workload in workloads {
        let settings = settings(workload);
        for (key, secret) in
            settings.pointer("/secrets").and_then(Value::as_object).into_iter().flatten()
        {
            let is_made = secret.get("generate") == Some(&Value::Bool(true)) || key == "api_key";
            names.extend(text(secret, "/name").filter(|_| is_made).map(str::to_owned));
        }
    }
    names
}

/// What a workload's first container is told.
pub(super) fn settings(workload: &Workload) -> Value {
    let env = workload.pod.containers.first().and_then(|one| one.env.as_deref());
    let held = env.unwrap_or_default().iter().find(|one| one.name == "MAAS_DEPLOYER_SETTINGS");
    let held = held.and_then(|one| one.value.as_deref()).unwrap_or_default();
    serde_json::from_str(held).unwrap_or_default()
}

/// Judges what was found.
pub(super) fn judge(id: &str, names: &Names, wanted: &Wanted, found: &Found) -> Vec<Check> {
    let space = &names.namespace;
    let mut checks = Vec::new();
    for (name, keys) in wanted {
        let what = format!("Secret {name}");
        let recipe: String = keys.iter().map(|key| format!(" --from-file={key}=FILE")).collect();
        match found.get(name) {
            None => {}
            Some(None) => {
                checks.push(
                    Check::fail(id, what, "pods need it, and it is not there")
                        .hint(format!("kubectl -n {space} create secret generic {name}{recipe}")),
                );
            }
            Some(Some(held)) => {
                let lacks: Vec<&str> =
                    keys.iter().filter(|key| !held.contains(*key)).map(String::as_str).collect();
                if !lacks.is_empty() {
                    checks.push(
                        Check::fail(id, what, format!("it lacks {}", lacks.join(" and ")))
                            .hint(format!("kubectl -n {space} edit secret {name}")),
                    );
                }
            }
        }
    }
    if checks.is_empty() {
        let what = match wanted.len() {
            0 => "the release makes every Secret that its pods need".to_owned(),
            count => format!("{} that pods need, with their keys", counted(count, "Secret")),
        };
        checks.push(Check::pass(id, what));
    }
    checks
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Status;
    use super::super::workloads::tests::rendered;
    use super::super::workloads::workloads;
    use super::*;

    fn of_chart(values: Value) -> (Wanted, BTreeSet<String>) {
        let (documents, hooks) = rendered(values);
        let mut all = workloads(&documents);
        all.extend(workloads(&hooks));
        (wanted(&all, &documents), made(&documents, &all))
    }

    #[test]
    fn what_the_operator_has_to_bring_is_what_nobody_makes() {
        let (wanted, made) = of_chart(
            json!({"secrets": {"ssh_key": "mine"}, "manifests": {"secret_ssh_key": true}}),
        );
        let brought: Vec<&String> = wanted.keys().filter(|name| !made.contains(*name)).collect();
        assert_eq!(brought, ["maas-db-admin", "mine"]);
        let keys: Vec<&String> = wanted["maas-db-admin"].iter().collect();
        assert_eq!(keys, ["DATABASE_PASSWORD", "DATABASE_USERNAME"]);
        let (wanted, made) = of_chart(json!({"postgresql": {"enabled": true}}));
        assert!(wanted.keys().all(|name| made.contains(name)), "{wanted:?} {made:?}");
    }

    #[test]
    fn absent_secrets_and_keys_are_told() {
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let keys =
            |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        let wanted = Wanted::from([("a".into(), keys(&["k"])), ("b".into(), keys(&["x", "y"]))]);
        let found = Found::from([("a".into(), None), ("b".into(), Some(keys(&["x"])))]);
        let checks = judge("secrets.there", &names, &wanted, &found);
        assert_eq!(
            checks[0].hint.as_deref(),
            Some("kubectl -n ns create secret generic a --from-file=k=FILE")
        );
        assert_eq!(checks[1].why, "it lacks y");
        let all =
            Found::from([("a".into(), Some(keys(&["k"]))), ("b".into(), Some(keys(&["x", "y"])))]);
        assert_eq!(judge("x", &names, &wanted, &all)[0].status, Status::Pass);
    }
}
