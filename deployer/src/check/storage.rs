//! Storage: classes, and what an earlier release left on volumes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;

use super::Names;
use super::fit::amount;
use super::report::{Check, listed};
use super::workloads::Workload;

/// Marks the class of claims that name none.
const DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// A Secret that belongs to what is on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tied {
    /// The component whose volumes it belongs to.
    pub(super) component: &'static str,
    /// The Secret.
    pub(super) secret: String,
    /// Whether it is there.
    pub(super) is_there: bool,
    /// Whether the values bring a password, and if there is a Secret, whether it is that one.
    pub(super) given: Option<bool>,
}

/// A claim that the release will ask for.
struct Wanted<'a> {
    name: String,
    workload: &'a Workload,
    claim: &'a PersistentVolumeClaim,
}

fn wanted(workloads: &[Workload]) -> Vec<Wanted<'_>> {
    let mut all = Vec::new();
    for workload in workloads {
        for claim in &workload.claims {
            all.extend((0..workload.replicas.min(1000)).map(|number| Wanted {
                name: format!("{}-{}-{number}", claim.name_any(), workload.name),
                workload,
                claim,
            }));
        }
    }
    all
}

/// Whether there is a class for every claim.
pub(super) fn classes(workloads: &[Workload], classes: &[StorageClass]) -> Vec<Check> {
    let is_default = |class: &&StorageClass| {
        DEFAULT.iter().any(|name| class.annotations().get(*name).is_some_and(|it| it == "true"))
    };
    let default = classes.iter().find(is_default);
    let mut by_class: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
    for one in wanted(workloads) {
        let class = one.claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
        by_class.entry(class).or_default().insert(one.workload.component.clone());
    }
    let names: Vec<String> = classes.iter().map(ResourceExt::name_any).collect();
    let there = if names.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are: {}", listed(&names, 8))
    };
    let judged = by_class.into_iter().map(|(class, users)| {
        let users: Vec<String> = users.into_iter().collect();
        let whose = format!("the volumes of {}", users.join(", "));
        let id = "storage.class";
        let value = |user: &String| match user.as_str() {
            "rack" => "storage.rackd.pvc.class_name".to_owned(),
            other => format!("storage.{other}.pvc.class_name"),
        };
        let set = users.first().map(value).unwrap_or_default();
        match (class.as_deref(), default) {
            // An empty name asks for a volume that somebody made by hand.
            (Some(""), _) => Check::warn(
                id,
                whose,
                "they ask for volumes without a class, which somebody has to make",
            )
            .hint("kubectl get persistentvolumes"),
            (Some(name), _) if names.iter().any(|one| one == name) => {
                Check::pass(id, format!("{whose}: storage class {name}"))
            }
            (Some(name), _) => {
                Check::fail(id, whose, format!("there is no storage class {name}; {there}")).hint(
                    format!(
                        "set {set} in the values to one that is there\nkubectl get storageclass"
                    ),
                )
            }
            (None, Some(default)) => Check::pass(
                id,
                format!("{whose}: the default storage class, {}", default.name_any()),
            ),
            (None, None) => Check::fail(
                id,
                whose,
                format!("the values name no storage class, and none is the default; {there}"),
            )
            .hint(format!(
                "set {set} in the values, or make one the default:\n{}",
                mark_default(names.first().map(String::as_str))
            )),
        }
    });
    judged.collect()
}

fn mark_default(class: Option<&str>) -> String {
    format!("kubectl annotate storageclass {} {}=true", class.unwrap_or("NAME"), DEFAULT[0])
}

/// Whether claims that are there already fit what is asked for.
pub(super) fn claims(
    names: &Names,
    workloads: &[Workload],
    there: &[PersistentVolumeClaim],
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut used = 0_usize;
    for one in wanted(workloads) {
        let Some(found) = there.iter().find(|claim| claim.name_any() == one.name) else { continue };
        used += 1;
        checks.extend(misfit(names, &one, found));
    }
    if checks.is_empty() {
        let what = match used {
            0 => "no volume of an earlier release is in the way".to_owned(),
            _ => format!("{used} of the volumes are there already, and fit"),
        };
        checks.push(Check::pass("storage.claims", what));
    }
    checks
}

fn misfit(names: &Names, wanted: &Wanted<'_>, found: &PersistentVolumeClaim) -> Option<Check> {
    let (id, space) = ("storage.claims", &names.namespace);
    let what = format!("PersistentVolumeClaim {}, which is there already", wanted.name);
    let describe = format!("kubectl -n {space} describe pvc {}", wanted.name);
    let phase = found.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase == Some("Lost") {
        return Some(Check::fail(id, what, "its volume is lost").hint(describe));
    }
    if found.metadata.deletion_timestamp.is_some() {
        let why = "it is being deleted, and goes when no pod uses it any more";
        return Some(Check::fail(id, what, why).hint(describe));
    }
    let size = |claim: &PersistentVolumeClaim| {
        let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        requests.get("storage").map(|quantity| quantity.0.clone())
    };
    let modes = |claim: &PersistentVolumeClaim| {
        claim.spec.as_ref().and_then(|spec| spec.access_modes.clone()).unwrap_or_default()
    };
    let (asked, has) = (size(wanted.claim)?, size(found)?);
    let (asked_number, has_number) = (amount(&asked)?, amount(&has)?);
    if asked_number < has_number {
        let why = format!("it has {has}, and volumes cannot shrink to {asked}; it stays as it is");
        return Some(
            Check::warn(id, what, why).hint(format!("set the size in the values to {has}")),
        );
    }
    if asked_number > has_number {
        let why = format!("it has {has}, and {asked} is asked for; it stays as it is");
        let patch = format!(r#"{{"spec":{{"resources":{{"requests":{{"storage":"{asked}"}}}}}}}}"#);
        return Some(Check::warn(id, what, why).hint(format!(
            "where its storage class allows it: kubectl -n {space} patch pvc {} -p '{patch}'",
            wanted.name
        )));
    }
    if modes(wanted.claim).iter().any(|mode| !modes(found).contains(mode)) {
        let why = format!(
            "its access modes are {}, not {}",
            modes(found).join(", "),
            modes(wanted.claim).join(", ")
        );
        return Some(Check::warn(id, what, why).hint(describe));
    }
    None
}

/// An old volume wants its old password.
pub(super) fn passwords(
    names: &Names,
    workloads: &[Workload],
    there: &[PersistentVolumeClaim],
    tied: &[Tied],
) -> Vec<Check> {
    let id = "storage.password";
    let judged = tied.iter().filter_map(|tied| {
        let of = |one: &Wanted<'_>| one.workload.component == tied.component;
        let old: Vec<String> = wanted(workloads)
            .into_iter()
            .filter(of)
            .map(|one| one.name)
            .filter(|name| there.iter().any(|claim| claim.name_any() == *name))
            .collect();
        let volume = old.first()?;
        let (space, secret) = (&names.namespace, &tied.secret);
        let what = format!("volume {volume} and its Secret {secret}");
        let purge = format!(
            "restore the Secret from a backup; or, where the data may go: kubectl -n {space} delete pvc {}",
            old.join(" ")
        );
        Some(match (tied.is_there, tied.given) {
            (true, Some(false)) => {
                let why = "the values bring another password than the Secret that belongs to the volume has";
                let fix = format!("take the password out of the values, or set the old one: kubectl -n {space} get secret {secret} -o yaml");
                Check::fail(id, what, why).hint(fix)
            }
            (true, _) => Check::pass(id, format!("{what} are both there")),
            (false, Some(_)) => {
                let why = "the volume keeps its old password; the values have to bring that one, which cannot be seen from here";
                Check::warn(id, what, why).hint(purge)
            }
            (false, None) if tied.component == "postgresql" => {
                let why = "the volume is of an earlier release, and the Secret with its password is gone: a new one would not open it";
                Check::fail(id, what, why).hint(purge)
            }
            (false, None) => {
                let why = "the volume is of an earlier release, and the Secret is gone: a new password would not be that of a user whom the database has";
                Check::warn(id, what, why).hint(format!("{purge}; the database keeps its users"))
            }
        })
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::report::Status;
    use super::super::workloads::tests::of_chart;
    use super::*;

    fn names() -> Names {
        Names { release: "maas".into(), namespace: "ns".into() }
    }

    fn class(name: &str, is_default: bool) -> StorageClass {
        let marks = if is_default { json!({DEFAULT[0]: "true"}) } else { json!({}) };
        let object = json!({"metadata": {"name": name, "annotations": marks}, "provisioner": "x"});
        serde_json::from_value(object).unwrap()
    }

    fn claim(name: &str, size: &str, change: &Value) -> PersistentVolumeClaim {
        let mut object = json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}}}, "status": {"phase": "Bound"}});
        for (pointer, value) in change.as_object().unwrap() {
            *object.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn postgresql() -> Workload {
        of_chart("postgresql", json!({"postgresql": {"enabled": true}}))
    }

    #[test]
    fn a_class_that_is_not_there_is_named_with_the_value() {
        let rack = of_chart("rack", json!({"storage": {"rackd": {"pvc": {"class_name": "fast"}}}}));
        let found = &classes(std::slice::from_ref(&rack), &[class("slow", true)])[0];
        assert_eq!(
            (found.status, found.why.as_str()),
            (Status::Fail, "there is no storage class fast; there are: slow")
        );
        assert!(found.hint.as_ref().unwrap().starts_with("set storage.rackd.pvc.class_name"));
        assert_eq!(classes(&[rack], &[class("fast", false)])[0].status, Status::Pass);
    }

    #[test]
    fn without_a_name_there_has_to_be_a_default() {
        let rack = of_chart("rack", json!({}));
        assert_eq!(
            classes(std::slice::from_ref(&rack), &[class("a", true)])[0].status,
            Status::Pass
        );
        let none = &classes(&[rack], &[class("a", false)])[0];
        assert_eq!(none.status, Status::Fail);
        assert!(
            none.hint.as_ref().unwrap().contains("kubectl annotate storageclass a "),
            "{none:?}"
        );
    }

    #[test]
    fn volumes_cannot_shrink_or_be_lost() {
        let name = "data-maas-postgresql-0";
        let judge =
            |there: PersistentVolumeClaim| claims(&names(), &[postgresql()], &[there]).remove(0);
        assert_eq!(judge(claim(name, "10Gi", &json!({}))).status, Status::Pass);
        let large = judge(claim(name, "20Gi", &json!({})));
        assert_eq!(
            (large.status, large.why.contains("cannot shrink to 10Gi")),
            (Status::Warn, true)
        );
        assert!(judge(claim(name, "5Gi", &json!({}))).hint.unwrap().contains("patch pvc"));
        assert_eq!(
            judge(claim(name, "10Gi", &json!({"/status/phase": "Lost"}))).status,
            Status::Fail
        );
        let other = judge(claim(name, "10Gi", &json!({"/spec/accessModes": ["ReadOnlyMany"]})));
        assert!(other.why.contains("ReadOnlyMany, not ReadWriteOnce"), "{other:?}");
    }

    #[test]
    fn an_old_volume_wants_its_old_password() {
        let there = [claim("data-maas-postgresql-0", "10Gi", &json!({}))];
        let judge = |is_there, given| {
            let tied =
                [Tied { component: "postgresql", secret: "maas-db-admin".into(), is_there, given }];
            passwords(&names(), &[postgresql()], &there, &tied).remove(0)
        };
        assert_eq!(judge(true, None).status, Status::Pass);
        assert_eq!(judge(true, Some(true)).status, Status::Pass);
        assert_eq!(judge(true, Some(false)).status, Status::Fail);
        assert_eq!(judge(false, Some(true)).status, Status::Warn);
        let gone = judge(false, None);
        assert_eq!(gone.status, Status::Fail);
        assert!(gone.hint.unwrap().contains("kubectl -n ns delete pvc data-maas-postgresql-0"));
        let tied =
            [Tied { component: "postgresql", secret: "s".into(), is_there: false, given: None }];
        assert!(passwords(&names(), &[postgresql()], &[], &tied).is_empty());
    }
}
