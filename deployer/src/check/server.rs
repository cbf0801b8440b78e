//! The API server: reachable, new enough, with a clock like this machine's; the namespace.

use jiff::Timestamp;
use serde_json::Value;

use super::Names;
use super::report::Check;
use crate::chart;
use crate::cluster::{ClusterError, ServerFacts};

/// By how much clocks may differ, in seconds: MAAS refuses a request that is older.
const SKEW_S: i64 = 300;

/// Judges what the API server says of itself, at the moment `now` of this machine.
pub(super) fn judge(facts: &ServerFacts, address: &str, now: Timestamp) -> Vec<Check> {
    vec![
        Check::pass("kubernetes.reachable", format!("the API server at {address} answers")),
        version(&facts.version),
        clock(facts.date, now),
    ]
}

/// Without a server, nothing can be looked at.
pub(super) fn unreachable(error: &ClusterError) -> Check {
    let what = "the API server";
    let why = crate::chain(error);
    match error {
        ClusterError::Config(_) => Check::fail("kubernetes.kubeconfig", "the kubeconfig", why)
            .hint("export KUBECONFIG=FILE, and name a context of it with --kube-context\nkubectl config get-contexts"),
        ClusterError::Api { code: 401, .. } => Check::fail("kubernetes.reachable", what, why)
            .hint("the kubeconfig's credentials are wrong or have expired: log in anew\nkubectl auth whoami"),
        _ => Check::fail("kubernetes.reachable", what, why)
            .hint("check the server's address in the kubeconfig, and the way there\nkubectl cluster-info"),
    }
}

fn version(found: &str) -> Check {
    let id = "kubernetes.version";
    let wanted =
        chart::metadata().all.get("kubeVersion").and_then(Value::as_str).unwrap_or_default();
    let what = format!("Kubernetes {found}; the chart needs {}", wanted.trim_end_matches("-0"));
    match (numbers(found), numbers(wanted)) {
        (Some(found), Some(wanted)) if found < wanted => {
            Check::fail(id, what, "it is too old").hint("upgrade the cluster first")
        }
        (Some(_), Some(_)) => Check::pass(id, what),
        _ => Check::warn(id, what, "its version cannot be understood").hint("kubectl version"),
    }
}

/// Major and minor number of `v1.33.0+k3s1`, `>=1.27.0-0`.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches(['v', '>', '=', ' ']).split('.');
    let minor =
        |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse();
    Some((parts.next()?.parse().ok()?, minor(parts.next()?).ok()?))
}

fn clock(there: Option<Timestamp>, here: Timestamp) -> Check {
    let id = "kubernetes.clock";
    let what = "this machine's clock beside the server's";
    let Some(there) = there else {
        return Check::skip(id, what, "the server does not say what time it is");
    };
    let skew = here.as_second() - there.as_second();
    if skew.abs() <= SKEW_S {
        // What an answer takes is no difference.
        let apart = if skew.abs() < 10 {
            "they agree".to_owned()
        } else {
            format!("{} s apart", skew.abs())
        };
        return Check::pass(id, format!("{what}: {apart}"));
    }
    let side = if skew > 0 { "ahead" } else { "behind" };
    let why = format!(
        "this machine is {} s {side}; MAAS refuses requests that are {SKEW_S} s old, so clocks of nodes and clients must agree",
        skew.abs()
    );
    Check::warn(id, what, why).hint("set the clocks by NTP: timedatectl set-ntp true; date -u")
}

/// The namespace: `Ok(None)` where there is none.
pub(super) fn namespace(
    names: &Names,
    found: &Result<Option<Value>, ClusterError>,
    is_new: bool,
) -> Check {
    let id = "kubernetes.namespace";
    let (name, what) = (&names.namespace, format!("the namespace {}", names.namespace));
    match found {
        Ok(Some(object)) if is_ending(object) => {
            Check::fail(id, what, "it is being deleted: nothing can be made in it")
                .hint(format!("kubectl wait --for=delete namespace/{name} --timeout=10m"))
        }
        Ok(Some(_)) => Check::pass(id, format!("{what} is there")),
        Ok(None) if is_new => Check::warn(
            id,
            what,
            "it is not there yet, so objects, pods, database and images could not be tried",
        )
        .hint(format!("kubectl create namespace {name}\nthen run this again; or install with --create-namespace")),
        Ok(None) => Check::fail(id, what, "it is not there")
            .hint(format!("kubectl create namespace {name}")),
        Err(error) if error.code() == Some(403) => {
            Check::skip(id, what, "this account may not look at namespaces; it is taken to be there")
                .hint(format!("kubectl auth can-i get namespaces/{name}"))
        }
        Err(error) => Check::fail(id, what, crate::chain(error)).hint("kubectl get namespaces"),
    }
}

fn is_ending(namespace: &Value) -> bool {
    namespace.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::report::Status;
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(numbers("v1.33.0+k3s1"), Some((1, 33)));
        assert_eq!(numbers("v1.30-rc.1"), Some((1, 30)));
        assert_eq!(version("v1.26.9").status, Status::Fail);
        assert_eq!(version("v1.27.0").status, Status::Pass);
        assert_eq!(version("v1.100.0").status, Status::Pass);
        assert_eq!(version("what").status, Status::Warn);
    }

    #[test]
    fn clocks_that_differ_by_minutes_are_told() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(clock(Some(at(1000)), at(1300)).status, Status::Pass);
        let ahead = clock(Some(at(1000)), at(1600));
        assert_eq!(ahead.status, Status::Warn);
        assert!(ahead.why.contains("600 s ahead"), "{}", ahead.why);
        assert!(clock(Some(at(1600)), at(1000)).why.contains("600 s behind"));
        assert_eq!(clock(None, at(0)).status, Status::Skipped);
    }

    #[test]
    fn a_namespace_may_be_made_first_and_may_not_be_ending() {
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let of = |phase: &str| Ok(Some(json!({"status": {"phase": phase}})));
        assert_eq!(namespace(&names, &of("Active"), true).status, Status::Pass);
        assert_eq!(namespace(&names, &of("Terminating"), true).status, Status::Fail);
        assert_eq!(namespace(&names, &Ok(None), true).status, Status::Warn);
        assert_eq!(namespace(&names, &Ok(None), false).status, Status::Fail);
    }
}
