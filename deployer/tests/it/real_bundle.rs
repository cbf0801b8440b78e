//! A bundle on a real Kubernetes: as in `real_release`, whose variables it needs. All images of the
//! chart go from the cluster's registry into a file and back below another path, from which a small
//! part of the chart is installed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::real_cluster::Namespace;
use crate::support::{World, small_part};

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set; scripts/cluster-tests sets it"))
}

/// The chart's images as the cluster's registry has them; of the chart no more than hooks, the
/// database, and what makes a role in it.
fn values(registry: &str) -> Value {
    let image = |name: &str| format!("{registry}/{name}");
    json!({
        "images": {"tags": {
            "maas_region": image("maas-region-controller:3.6.4"),
            "maas_rack": image("maas-rack-controller:3.6.4"),
            "maas_cache": image("maas-mirror:test"),
            "maas_deployer": image("maas-deployer:test"),
            "postgresql": image("postgres:15"),
        }},
        "postgresql": {"enabled": true},
        "manifests": small_part(),
    })
}

#[test]
fn pods_pull_what_a_bundle_brought() {
    let mut world = World::new();
    let Some(namespace) = Namespace::new(&mut world, "bundle-images") else { return };
    let registry = variable("CLUSTER_REGISTRY");
    let small = values(&registry);
    // All of the chart, the mirror too.
    let mut all = small.clone();
    all["manifests"] = json!({});
    all["conf"] = json!({"cache": {"enabled": true}});
    let file = |name: &str| world.path(name).display().to_string();
    std::fs::write(world.path("small.json"), small.to_string()).expect("values");
    std::fs::write(world.path("all.json"), all.to_string()).expect("values");
    let (bundle, all, small) = (file("maas.tar"), file("all.json"), file("small.json"));
    let there = format!("{registry}/bundle-{}", std::process::id());

    let made = ["bundle", &bundle, "--plain-http", "-f", &all, "-o", "json"];
    let made = world.verb(&made).run().expect(0).json();
    let pushed = ["bundle", "push", &bundle, &there, "--plain-http", "-o", "json"];
    let pushed = world.verb(&pushed).run().expect(0).json();
    // What is there has the names that a release with --registry asks for.
    let named = world.verb(&["images", "-f", &all, "--registry", &there]).run().expect(0);
    let names = |list: &Value| -> BTreeSet<String> {
        list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let pushed = names(&pushed["images"]);
    let asked: Vec<&str> = named.stdout.lines().collect();
    assert_eq!(asked.len(), made["images"].as_array().unwrap().len());
    assert!(asked.iter().all(|name| pushed.contains(*name)), "{asked:?} and {pushed:?}");

    let install = ["install", "-n", &namespace.name, "-f", &small, "--registry", &there];
    let install = [&install[..], &["--timeout", "5m", "--progress", "plain"]].concat();
    world.verb(&install).run().expect(0);
    let pods: Value =
        serde_json::from_str(&namespace.kubectl(&["get", "pods", "-o", "json"], "")).expect("JSON");
    let pods = pods["items"].as_array().expect("pods");
    assert!(!pods.is_empty());
    for pod in pods {
        for container in pod["status"]["containerStatuses"].as_array().expect("containers") {
            let id = container["imageID"].as_str().unwrap_or_default();
            assert!(id.contains(&there), "{id} is not of {there}");
        }
    }
    let purged = ["uninstall", "-n", &namespace.name, "--purge-data", "--yes"];
    world.verb(&purged).run().expect(0);
}
