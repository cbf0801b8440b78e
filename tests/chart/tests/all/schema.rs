//! Values that the schema takes, and those that it refuses, with what it says.

use std::collections::BTreeSet;

use chart_tests::{Helm, files, snapshot, values, yaml};
use maas_deployer::render::{self, ReleaseInfo};
use maas_deployer::values::{Values, Wanted};
use serde_json::Value;

fn schema() -> Value {
    let text = std::fs::read_to_string(files::chart().join("values.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn is_ignored(property: &Value) -> bool {
    property["$ref"] == "#/definitions/ignored"
}

/// Every `--set` here is a slip that somebody makes.
const SLIPS: [(&str, &[&str]); 16] = [
    ("an-unknown-key", &["conf.maas.imgaes.default_image=noble"]),
    ("an-unknown-key-at-the-top", &["cache.enabled=true"]),
    ("a-toggle-that-is-no-boolean", &["postgresql.enabled=yes", "conf.cache.enabled=enabled"]),
    ("a-count-that-is-no-number", &["pod.replicas.region=two"]),
    ("a-port-out-of-range", &["endpoints.maas_db.port.postgresql.default=54320000"]),
    ("a-size-without-sense", &["storage.region.pvc.size=50GB"]),
    ("a-schedule-without-unit", &["conf.cache.every=6"]),
    ("an-upstream-that-is-no-url", &["conf.cache.upstream=images.maas.io"]),
    ("a-url-without-scheme", &["conf.maas.url.maas_url=maas.example.com"]),
    ("a-release-in-capitals", &["conf.maas.images.default_image=Xenial"]),
    ("a-mode-of-tls", &["endpoints.maas_db.tls.mode=verify"]),
    ("a-dns-server-by-name", &["conf.maas.dns.dns_servers={ns.example.com}"]),
    ("a-pull-policy", &["images.pull_policy=ifnotpresent"]),
    ("a-probe-that-is-unknown", &["pod.probes.region.readiness.params.periodSecond=3"]),
    ("a-section-that-is-null", &["conf=null", "pod.resources.jobs=null"]),
    ("a-setting-that-is-a-map", &["conf.maas.extra_settings.a.b=1"]),
];

#[test]
fn slips_are_refused_and_named() {
    let Some(helm) = Helm::find() else { return };
    for (name, settings) in SLIPS {
        let refusal = helm.clone().set(settings).refusal(&[]);
        snapshot::compare(&format!("refused/{name}"), &refusal);
    }
}

/// What is valid, each for itself.
const TOGETHER: [(&str, &[&str]); 7] = [
    ("a-proxy-on-the-apis-port", &["endpoints.maas_region.port.region_proxy.default=443"]),
    ("a-proxy-on-a-port-of-temporal", &["endpoints.maas_region.port.region_proxy.default=5271"]),
    ("a-mirror-on-maas-port", &["conf.cache.enabled=true", "conf.cache.port=5240"]),
    ("a-mirror-on-the-proxys-port", &["conf.cache.enabled=true", "conf.cache.port=8000"]),
    ("a-mirror-without-region", &["conf.cache.enabled=true", "manifests.region_statefulset=false"]),
    (
        "one-port-of-nodes-for-api-and-proxy",
        &[
            "network.region_api.node_port.enabled=true",
            "network.region_proxy.node_port.enabled=true",
            "endpoints.maas_region.port.region_proxy.nodeport=31900",
        ],
    ),
    (
        "one-port-of-nodes-for-api-and-tls",
        &[
            "network.region_api.node_port.enabled=true",
            "conf.maas.tls.enabled=true",
            "endpoints.maas_region.port.region_api.nodeporttls=31900",
        ],
    ),
];

#[test]
fn values_that_do_not_go_together_are_refused_and_named() {
    let Some(helm) = Helm::find() else { return };
    for (name, settings) in TOGETHER {
        let refusal = helm.clone().set(settings).refusal(&[]);
        let (_, why) =
            refusal.split_once("services.yaml:1:4): ").unwrap_or_else(|| panic!("{refusal}"));
        let (why, _) = why.split_once("\n\nUse --debug").unwrap_or((why, ""));
        snapshot::compare(&format!("refused/{name}"), why);
        // The deployer renders the same templates, and says the same.
        let wanted = Wanted {
            set: settings.iter().map(|one| (*one).to_owned()).collect(),
            ..Wanted::default()
        };
        let values = Values::load(&wanted).unwrap();
        let refused = render::render(&values, &ReleaseInfo::install("maas", "maas")).unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(why.trim()), "{name}: {said}");
    }
    // Neither is there where nothing has it.
    for fine in [
        &["conf.cache.port=5240"][..],
        &["endpoints.maas_region.port.region_proxy.nodeport=31900"],
        &["conf.cache.enabled=true", "conf.cache.port=8889"],
    ] {
        assert!(!helm.clone().set(fine).objects(&[]).0.is_empty(), "{fine:?}");
    }
}

#[test]
fn what_the_schema_cannot_tell_the_chart_does() {
    let Some(helm) = Helm::find() else { return };
    let tls = ["conf.maas.tls.enabled=true", "conf.maas.tls.create=true"];
    let refusal = helm.set(&tls).refusal(&[]);
    assert!(refusal.contains("set conf.maas.tls.cert, or cert_manager.enabled"), "{refusal}");
}

#[test]
fn every_default_is_in_the_schema_and_every_key_of_it_has_a_default() {
    fn compare(path: &str, schema: &Value, values: &Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], false, "{path}");
        let empty = serde_json::Map::new();
        let values = values.as_object().unwrap_or(&empty);
        for (key, property) in properties {
            let path = format!("{path}.{key}");
            if path == ".global" || is_ignored(property) {
                assert!(!values.contains_key(key), "{path} is ignored and has a default");
                continue;
            }
            let value = values.get(key).unwrap_or_else(|| panic!("{path} has no default"));
            let required = schema["required"].as_array();
            let required = required.is_some_and(|all| all.contains(&Value::from(&**key)));
            let nullable = property.to_string().contains("\"null\"")
                || property["$ref"] == "#/definitions/mounts";
            assert!(required || nullable, "{path}: a null would reach the templates");
            if !value.is_null() {
                compare(&path, property, value);
            }
        }
        for key in values.keys() {
            assert!(properties.contains_key(key), "{path}.{key} is not in the schema");
        }
    }
    compare("", &schema(), &yaml(&files::chart().join("values.yaml")));
}

#[test]
fn maps_that_take_any_key_are_these() {
    fn collect(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
        let map = match &schema["type"] {
            Value::String(kind) => kind == "object",
            Value::Array(kinds) => kinds.contains(&Value::from("object")),
            _ => false,
        };
        if map && schema["additionalProperties"] != false {
            found.insert(path.to_owned());
        }
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            collect(&format!("{path}.{key}"), property, found);
        }
        if schema["items"].is_object() {
            collect(&format!("{path}[]"), &schema["items"], found);
        }
    }
    let schema = schema();
    let mut found = BTreeSet::new();
    collect("", &schema, &mut found);
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        collect(&format!("#{name}"), definition, &mut found);
    }
    snapshot::compare("free-maps", &found.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn ignored_keys_are_named_by_the_notes() {
    let Some(helm) = Helm::find() else { return };
    fn collect(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if is_ignored(property) {
                found.push(path);
            } else {
                collect(&path, property, found);
            }
        }
    }
    let mut keys = Vec::new();
    collect("", &schema(), &mut keys);
    assert!(keys.len() > 60, "{}", keys.len());
    keys.push("endpoints.maas_region.port.region_int_api".to_owned());
    keys.push("endpoints.maas_region.port.region_temporal_gossip_5281".to_owned());
    let settings: Vec<_> = keys.iter().map(|key| format!("{key}=1")).collect();
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    let notes = helm.clone().set(&settings).notes(&[]);
    let (_, named) = notes.split_once("Ignored:\n").unwrap();
    let named: BTreeSet<_> = named.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(named, keys.iter().map(String::as_str).collect());
    // And they do nothing.
    let (with, without) = (helm.clone().set(&settings), helm.clone());
    assert!(with.text(&[]) == without.text(&[]));
    assert!(!helm.notes(&[]).contains("Ignored"));
}

#[test]
fn the_overrides_of_the_earlier_chart_are_taken() {
    let Some(helm) = Helm::find() else { return };
    let path = files::named("old-chart");
    let objects = helm.objects(&[&path]);
    assert!(objects.get("StatefulSet", "maas-region").is_some());
    let all = yaml(&files::chart().join("values.yaml"));
    let old = values::leaves(&yaml(&path));
    let known = old.iter().filter(|leaf| values::at(&all, leaf).is_some()).count();
    assert!(known > 90, "{known} of {} are known", old.len());
}

#[test]
fn helm_finds_nothing_to_object_to() {
    let Some(helm) = Helm::find() else { return };
    for name in ["defaults", "cache", "tls-cert-manager", "old-chart"] {
        let mut command = helm.command();
        command.args(["lint", "--strict"]).arg(files::chart());
        let output = command.arg("--values").arg(files::named(name)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("0 chart(s) failed"), "{name}: {text}");
    }
}

#[test]
fn an_older_kubernetes_is_refused() {
    let Some(helm) = Helm::find() else { return };
    for version in ["1.20.0", "1.26.9"] {
        let refusal = helm.clone().kubernetes(version).refusal(&[]);
        assert!(refusal.contains("kubeVersion: >=1.27.0-0"), "{refusal}");
    }
    // Also as clusters of providers call themselves.
    for version in ["1.27.0", "1.27.16-gke.1000", "v1.33.1+k3s1", "1.30.0-eks-abc"] {
        assert!(!helm.clone().kubernetes(version).objects(&[]).0.is_empty(), "{version}");
    }
}
