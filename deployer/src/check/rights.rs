//! Rights: everything that an installation or upgrade asks the API server for.
//!
//! Derived from what was rendered: its objects and hooks, the record, the waits; and what the
//! chart's Roles grant, since the server lets nobody grant what they do not have themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Names;
use super::known::Known;
use super::report::Check;
use crate::apply::runs;
use crate::cluster::Right;
use crate::counted::counted;
use crate::manifest::Document;

/// What rights are needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// To make the release's objects and hooks, and to try them.
    Objects,
    /// To record revisions.
    Record,
    /// To wait, and to tell what is wrong.
    Waits,
    /// To hand on by Roles.
    Grants,
    /// For these checks alone.
    Checks,
}

impl Purpose {
    const ALL: [Self; 5] = [Self::Objects, Self::Record, Self::Waits, Self::Grants, Self::Checks];

    fn id(self) -> &'static str {
        match self {
            Self::Objects => "rights.objects",
            Self::Record => "rights.record",
            Self::Waits => "rights.waits",
            Self::Grants => "rights.grants",
            Self::Checks => "rights.checks",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Objects => "rights to make, change and delete the release's objects and hooks",
            Self::Record => "rights to record revisions in Secrets",
            Self::Waits => "rights to wait for workloads and to read pods, events and logs",
            Self::Grants => {
                "rights that the chart's Roles hand on, which the server asks of who makes them"
            }
            Self::Checks => "rights that only these checks use",
        }
    }
}

/// A right, and what for.
pub(super) type Need = (Purpose, Right);

/// Everything that is needed, each once.
pub(super) fn needs(names: &Names, documents: &[Document], known: &Known) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for document in documents {
        objects(names, document, known, &mut needs);
        grants(names, document, &mut needs);
    }
    let here = |group: &str, resource: &str, verb: &str| Right {
        namespace: Some(names.namespace.clone()),
        resource: resource.to_owned(),
        group: group.to_owned(),
        verb: verb.to_owned(),
        name: None,
    };
    for verb in ["list", "get", "create", "update", "delete"] {
        needs.insert((Purpose::Record, here("", "secrets", verb)));
    }
    for (group, resource, verbs) in [
        ("batch", "jobs", &["list", "watch"][..]),
        ("", "pods", &["list", "watch", "delete"]),
        ("", "pods/log", &["get"]),
        ("", "events", &["list", "watch"]),
    ] {
        needs.extend(verbs.iter().map(|verb| (Purpose::Waits, here(group, resource, verb))));
    }
    needs.insert((Purpose::Checks, here("", "pods", "create")));
    needs.insert((Purpose::Checks, here("", "persistentvolumeclaims", "list")));
    for (group, resource) in [("", "nodes"), ("", "pods"), ("storage.k8s.io", "storageclasses")] {
        needs.insert((Purpose::Checks, Right { namespace: None, ..here(group, resource, "list") }));
    }
    needs
}

/// An object is read, tried and applied; one that left the manifest, and a hook, is deleted.
fn objects(names: &Names, document: &Document, known: &Known, needs: &mut BTreeSet<Need>) {
    let Some(kind) = known.kind(document) else { return };
    let space = document.namespace().unwrap_or(&names.namespace);
    let group = document.api_version().split_once('/').map_or("", |(group, _)| group);
    for verb in ["get", "create", "patch", "delete"] {
        let right = Right {
            namespace: kind.is_namespaced.then(|| space.to_owned()),
            resource: kind.plural.clone(),
            group: group.to_owned(),
            verb: verb.to_owned(),
            name: None,
        };
        if verb == "get" && runs(document.kind()) {
            for verb in ["list", "watch"] {
                let verb = verb.to_owned();
                needs.insert((Purpose::Waits, Right { verb, ..right.clone() }));
            }
        }
        needs.insert((Purpose::Objects, right));
    }
}

fn grants(names: &Names, document: &Document, needs: &mut BTreeSet<Need>) {
    let space = match document.kind() {
        "Role" => Some(document.namespace().unwrap_or(&names.namespace).to_owned()),
        "ClusterRole" => None,
        _ => return,
    };
    let rules = document.object.get("rules").and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let texts = |key: &str| -> Vec<String> {
            let list = rule.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let named = texts("resourceNames");
        let objects: Vec<Option<String>> =
            if named.is_empty() { vec![None] } else { named.into_iter().map(Some).collect() };
        for group in texts("apiGroups") {
            for resource in texts("resources") {
                for (verb, name) in texts("verbs")
                    .iter()
                    .flat_map(|verb| objects.iter().map(move |name| (verb, name)))
                {
                    let right = Right {
                        namespace: space.clone(),
                        resource: resource.clone(),
                        group: group.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    };
                    needs.insert((Purpose::Grants, right));
                }
            }
        }
    }
}

/// Judges by what is missing; `user` is who this account is.
pub(super) fn judge(
    needs: &BTreeSet<Need>,
    missing: &BTreeSet<Need>,
    user: Option<&str>,
) -> Vec<Check> {
    let of = |all: &BTreeSet<Need>, purpose: Purpose| -> Vec<Right> {
        all.iter().filter(|(one, _)| *one == purpose).map(|(_, right)| right.clone()).collect()
    };
    let judged = Purpose::ALL.into_iter().filter_map(|purpose| {
        let (all, missing) = (of(needs, purpose), of(missing, purpose));
        if all.is_empty() {
            return None;
        }
        let (id, what) = (purpose.id(), purpose.what());
        if missing.is_empty() {
            return Some(Check::pass(id, format!("{what}: all of them")));
        }
        let why = format!("missing: {}", grouped(&missing).join("; "));
        let check = match purpose {
            Purpose::Checks => Check::warn(id, what, format!("{why}; what needs them is skipped")),
            _ => Check::fail(id, what, why),
        };
        Some(check.hint(recipes(id, &missing, user).join("\n")))
    });
    judged.collect()
}

/// `statefulsets.apps`, as kubectl names resources.
fn named(right: &Right) -> String {
    let (resource, part) = match right.resource.split_once('/') {
        Some((resource, part)) => (resource, format!("/{part}")),
        None => (right.resource.as_str(), String::new()),
    };
    if right.group.is_empty() {
        format!("{resource}{part}")
    } else {
        format!("{resource}.{}{part}", right.group)
    }
}

/// Where, and on what object alone.
type At<'a> = (Option<&'a str>, Option<&'a str>);

/// Rights by where, on what object, and with which verbs.
fn by_verbs(rights: &[Right]) -> BTreeMap<(At<'_>, Vec<&str>), Vec<String>> {
    let mut verbs: BTreeMap<(At<'_>, String), Vec<&str>> = BTreeMap::new();
    for right in rights {
        let at = (right.namespace.as_deref(), right.name.as_deref());
        verbs.entry((at, named(right))).or_default().push(&right.verb);
    }
    let mut groups: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for ((at, resource), verbs) in verbs {
        groups.entry((at, verbs)).or_default().push(resource);
    }
    groups
}

/// `create, patch on jobs.batch, statefulsets.apps in maas`.
fn grouped(rights: &[Right]) -> Vec<String> {
    let groups = by_verbs(rights);
    groups
        .into_iter()
        .map(|(((space, object), verbs), resources)| {
            let space =
                space.map_or("in the whole cluster".to_owned(), |space| format!("in {space}"));
            let object = object.map(|name| format!(" '{name}'")).unwrap_or_default();
            format!("{} on {}{object} {space}", verbs.join(", "), resources.join(", "))
        })
        .collect()
}

/// Commands by which an administrator gives what is missing.
fn recipes(id: &str, rights: &[Right], user: Option<&str>) -> Vec<String> {
    const MOST: usize = 4;
    let groups = by_verbs(rights);
    let subject = match user.and_then(|user| user.strip_prefix("system:serviceaccount:")) {
        Some(account) => format!("--serviceaccount={account}"),
        None => format!("--user={}", user.unwrap_or("USER")),
    };
    let count = groups.len();
    let mut lines = vec!["an administrator grants it, or installs instead:".to_owned()];
    for (number, (((space, object), verbs), resources)) in groups.into_iter().take(MOST).enumerate()
    {
        // Of all checks at once, no two have one name.
        let name = format!("maas-{}-{}", id.replace('.', "-"), number + 1);
        let (at, kind) = match space {
            Some(space) => (format!("kubectl -n {space}"), ""),
            None => ("kubectl".to_owned(), "cluster"),
        };
        let object = object.map(|name| format!(" --resource-name={name}")).unwrap_or_default();
        let (verbs, resources) = (verbs.join(","), resources.join(","));
        lines.push(format!(
            "{at} create {kind}role {name} --verb={verbs} --resource={resources}{object} && \
             {at} create {kind}rolebinding {name} --{kind}role={name} {subject}"
        ));
    }
    if count > MOST {
        lines.push(format!("and so on for {}", counted(count - MOST, "more line")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Status;
    use super::super::workloads::tests::rendered;
    use super::*;

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    fn of_chart() -> BTreeSet<Need> {
        let (mut documents, hooks) = rendered(json!({}));
        documents.extend(hooks);
        needs(&names(), &documents, &Known::of_chart())
    }

    fn has(
        needs: &BTreeSet<Need>,
        purpose: Purpose,
        group: &str,
        resource: &str,
        verb: &str,
    ) -> bool {
        needs.iter().any(|(one, right)| {
            *one == purpose
                && right.group == group
                && right.resource == resource
                && right.verb == verb
        })
    }

    #[test]
    fn all_that_is_done_is_asked_for() {
        let needs = of_chart();
        for (resource, group) in [
            ("statefulsets", "apps"),
            ("roles", "rbac.authorization.k8s.io"),
            ("jobs", "batch"),
            ("pods", ""),
        ] {
            for verb in ["get", "create", "patch", "delete"] {
                assert!(has(&needs, Purpose::Objects, group, resource, verb), "{verb} {resource}");
            }
        }
        assert!(has(&needs, Purpose::Record, "", "secrets", "update"));
        assert!(has(&needs, Purpose::Waits, "", "pods/log", "get"));
        // The Role of `quiesce` grants it.
        assert!(has(&needs, Purpose::Grants, "apps", "statefulsets/scale", "patch"));
        let named = needs.iter().any(|(purpose, right)| {
            *purpose == Purpose::Grants && right.name.as_deref() == Some("maas-db-admin")
        });
        assert!(named, "rights on named objects are asked for by name");
    }

    #[test]
    fn what_is_missing_is_grouped_and_granted_by_a_command() {
        let needs = of_chart();
        let lacking = |right: &Right| {
            right.resource == "jobs" && right.verb == "patch" || right.resource == "pods/log"
        };
        let missing: BTreeSet<Need> =
            needs.iter().filter(|(_, right)| lacking(right)).cloned().collect();
        let checks = judge(&needs, &missing, Some("system:serviceaccount:ns:me"));
        let objects = &checks[0];
        assert_eq!(
            (objects.status, objects.why.as_str()),
            (Status::Fail, "missing: patch on jobs.batch in ns")
        );
        let hint = objects.hint.clone().unwrap();
        assert!(hint.contains(
            "kubectl -n ns create role maas-rights-objects-1 --verb=patch --resource=jobs.batch && \
             kubectl -n ns create rolebinding maas-rights-objects-1 --role=maas-rights-objects-1 --serviceaccount=ns:me"
        ), "{hint}");
        assert_eq!(checks[2].why, "missing: get on pods/log in ns");
        assert_eq!(checks[1].status, Status::Pass);
    }

    #[test]
    fn what_only_the_checks_need_is_a_warning() {
        let needs = of_chart();
        let missing =
            needs.iter().filter(|(purpose, _)| *purpose == Purpose::Checks).cloned().collect();
        let checks = judge(&needs, &missing, None);
        let last = checks.last().unwrap();
        assert_eq!((last.id.as_str(), last.status), ("rights.checks", Status::Warn));
        assert!(
            last.why.contains(
                "list on nodes, pods, storageclasses.storage.k8s.io in the whole cluster"
            ),
            "{}",
            last.why
        );
    }
}
