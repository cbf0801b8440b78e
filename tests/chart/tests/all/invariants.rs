//! What holds for every object that the chart makes, whatever the values say.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::{Helm, Object, Objects, Pod, files, yaml};
use serde_json::Value;

/// Every value file rendered for a plain release, and one for names of the
/// greatest length.
fn each(check: impl Fn(&str, &Objects)) {
    let (Some(helm), Some(rendered)) = (Helm::find(), files::rendered()) else { return };
    for (name, objects) in rendered {
        check(name, objects);
    }
    let long = helm.release("a-release-whose-name-is-as-long-as-helm-can-have-them");
    check("a long release's name", &long.objects(&[&files::named("tls-own-secret")]));
}

/// Objects of the chart's own: not those that the operator added.
fn own(objects: &Objects) -> impl Iterator<Item = &Object> {
    objects.0.iter().filter(|object| !object.at("/metadata/labels").is_null())
}

fn is_subset(small: &Value, large: &Value) -> bool {
    let (small, large) = (small.as_object().unwrap(), large.as_object().unwrap());
    !small.is_empty() && small.iter().all(|(key, value)| large.get(key) == Some(value))
}

fn is_label(name: &str, length: usize) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty()
        && name.len() <= length
        && name.chars().all(good)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[test]
fn names_are_valid_and_unlike() {
    each(|file, objects| {
        let mut seen = BTreeSet::new();
        for object in &objects.0 {
            let id = object.id();
            let name = object.name();
            let valid = name.split('.').all(|part| is_label(part, 63)) && name.len() <= 253;
            assert!(valid, "{file}: {id}");
            if matches!(object.kind(), "Service" | "Job" | "StatefulSet" | "Pod") {
                assert!(is_label(name, 63), "{file}: {id}");
                assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{file}: {id}");
            }
            // The label of its pods' revision adds a dash and ten signs.
            assert!(object.kind() != "StatefulSet" || name.len() <= 52, "{file}: {id}");
            let place = object.at("/metadata/namespace").as_str().unwrap_or_default().to_owned();
            assert!(seen.insert((place, id.clone())), "{file}: {id} is there twice");
            let labels = object.at("/metadata/labels").as_object();
            for value in labels.into_iter().flat_map(|labels| labels.values()) {
                assert!(value.as_str().unwrap().len() <= 63, "{file}: {id}: {value}");
            }
        }
    });
}

#[test]
fn names_begin_with_the_releases() {
    let Some(helm) = Helm::find() else { return };
    let names = [
        ("maas", "maas-region"),
        ("my-maas", "my-maas-region"),
        ("site1", "site1-maas-region"),
        (
            "a-release-whose-name-is-as-long-as-helm-can-have-them",
            "a-release-whose-name-is-as-long-as-helm-region",
        ),
    ];
    for (release, region) in names {
        let objects = helm.clone().release(release).objects(&[&files::named("network-policy")]);
        let fullname = region.strip_suffix("region").unwrap();
        assert!(objects.get("StatefulSet", region).is_some(), "{release}");
        for object in own(&objects) {
            assert!(object.name().starts_with(fullname), "{release}: {}", object.id());
        }
    }
    for (release, wrong) in [
        ("my.maas", "has a dot, which names of Services cannot have"),
        ("1-maas", "begins with a digit, which names of Services cannot"),
    ] {
        let error = helm.clone().release(release).refusal(&[]);
        assert!(error.contains(wrong), "{error}");
    }
}

#[test]
fn two_releases_of_one_namespace_share_nothing() {
    let Some(helm) = Helm::find() else { return };
    let ids = |release: &str| -> BTreeSet<String> {
        let objects =
            helm.clone().release(release).objects(&[&files::named("passwords-postgresql")]);
        objects.0.iter().map(Object::id).collect()
    };
    let both: Vec<_> = ids("one").intersection(&ids("two")).cloned().collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn every_object_is_labelled() {
    each(|file, objects| {
        for object in own(objects) {
            let label =
                |name: &str| object.at("/metadata/labels")[name].as_str().map(str::to_owned);
            let id = object.id();
            assert_eq!(label("app.kubernetes.io/name").as_deref(), Some("maas"), "{file}: {id}");
            for name in ["instance", "component", "managed-by", "version"] {
                let name = format!("app.kubernetes.io/{name}");
                assert!(
                    label(&name).is_some_and(|value| !value.is_empty()),
                    "{file}: {id}: {name}"
                );
            }
            assert!(label("helm.sh/chart").is_some(), "{file}: {id}");
        }
    });
}

#[test]
fn selectors_find_what_they_are_for() {
    each(|file, objects| {
        for set in objects.kind("StatefulSet") {
            let pod = set.pod().unwrap();
            assert!(is_subset(set.at("/spec/selector/matchLabels"), pod.labels()), "{file}");
            let service = set.at("/spec/serviceName").as_str().unwrap();
            let service = objects.get("Service", service);
            if set.component() != "syslog" {
                let selector = service.unwrap_or_else(|| panic!("{file}: {}", set.id()));
                assert!(is_subset(selector.at("/spec/selector"), pod.labels()), "{file}");
            }
        }
        let finds = |selector: &Value| {
            objects.kind("StatefulSet").any(|set| is_subset(selector, set.pod().unwrap().labels()))
        };
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            for object in objects.kind(kind) {
                let selector = object.at(if kind == "NetworkPolicy" {
                    "/spec/podSelector/matchLabels"
                } else {
                    "/spec/selector/matchLabels"
                });
                assert!(finds(selector), "{file}: {}", object.id());
            }
        }
        for service in objects.kind("Service") {
            let gone = file == "syslog-off";
            assert!(gone || finds(service.at("/spec/selector")), "{file}: {}", service.id());
        }
        for monitor in objects.kind("ServiceMonitor") {
            let selector = monitor.at("/spec/selector/matchLabels");
            let port = monitor.at("/spec/endpoints/0/port");
            let found: Vec<_> = objects
                .kind("Service")
                .filter(|service| is_subset(selector, service.at("/metadata/labels")))
                .collect();
            assert_eq!(found.len(), 1, "{file}: {}", monitor.id());
            let ports = found[0].at("/spec/ports").as_array().unwrap();
            assert!(ports.iter().any(|one| &one["name"] == port), "{file}");
        }
    });
}

/// What would lead to it would lead nowhere.
#[test]
fn racks_alone_come_with_nothing_of_a_region() {
    let Some(helm) = Helm::find() else { return };
    let wanted = [
        "manifests.ingress_region=true",
        "network.region_api.node_port.enabled=true",
        "network.region_api.ingress.tls.enabled=true",
        "cert_manager.enabled=true",
        "cert_manager.create=true",
    ];
    let objects = helm.set(&wanted).objects(&[&files::named("rack-only")]);
    let services: Vec<_> = objects.kind("Service").map(Object::name).collect();
    assert_eq!(services, ["maas-rack"]);
    for kind in ["Ingress", "Certificate"] {
        assert_eq!(objects.kind(kind).count(), 0, "{kind}");
    }
}

#[test]
fn services_lead_to_ports_that_have_names_and_numbers() {
    each(|file, objects| {
        for service in objects.kind("Service") {
            let id = service.id();
            let mut seen = BTreeSet::new();
            for port in service.at("/spec/ports").as_array().unwrap() {
                let name = port["name"].as_str().unwrap();
                assert!(is_label(name, 15), "{file}: {id}: {name}");
                // A patch knows ports by their numbers alone, whatever their protocols.
                let number = port["port"].as_u64();
                assert!(seen.insert(number), "{file}: {id}: {port} is there twice");
                let Some(target) = port["targetPort"].as_str() else { continue };
                let component = service.at("/spec/selector")["app.kubernetes.io/component"].clone();
                let named = objects
                    .pods()
                    .filter(|pod| pod.labels()["app.kubernetes.io/component"] == component);
                let ports = named.flat_map(|pod| pod.containers().collect::<Vec<_>>());
                let mut ports =
                    ports.flat_map(|one| one["ports"].as_array().cloned().unwrap_or_default());
                assert!(ports.any(|one| one["name"] == target), "{file}: {id}: {target}");
            }
        }
    });
}

/// Where a volume's content is: the kind and the name of its object.
fn source(volume: &Value) -> Option<(&'static str, &str, bool)> {
    if let Some(map) = volume.get("configMap") {
        return Some(("ConfigMap", map["name"].as_str().unwrap(), false));
    }
    let secret = volume.get("secret")?;
    Some(("Secret", secret["secretName"].as_str().unwrap(), secret["optional"] == true))
}

#[test]
fn volumes_are_there_and_mounted() {
    each(|file, objects| {
        for pod in objects.pods() {
            let id = pod.owner.id();
            let mut names: Vec<&str> =
                pod.volumes().map(|one| one["name"].as_str().unwrap()).collect();
            names.extend(pod.claims());
            let unlike: BTreeSet<_> = names.iter().copied().collect();
            assert_eq!(unlike.len(), names.len(), "{file}: {id}: {names:?}");
            let mut mounted = BTreeSet::new();
            for container in pod.containers() {
                let mut paths = BTreeSet::new();
                let ports = container["ports"].as_array().into_iter().flatten();
                let ports: Vec<_> = ports.map(|port| port["containerPort"].as_u64()).collect();
                let unlike_ports: BTreeSet<_> = ports.iter().collect();
                assert_eq!(unlike_ports.len(), ports.len(), "{file}: {id}: {ports:?}");
                for mount in Pod::mounts(container) {
                    let (name, path) = (mount["name"].as_str().unwrap(), &mount["mountPath"]);
                    assert!(
                        unlike.contains(name),
                        "{file}: {id} {}: no volume {name}",
                        container["name"]
                    );
                    assert!(paths.insert(path.as_str().unwrap()), "{file}: {id}: {path} twice");
                    mounted.insert(name);
                }
            }
            // A volume of its own for the mirror is there before the mirror is.
            let idle: Vec<_> =
                unlike.difference(&mounted).filter(|name| **name != "mirror").collect();
            assert!(idle.is_empty(), "{file}: {id}: not mounted: {idle:?}");
        }
    });
}

#[test]
fn files_are_there_and_each_is_mounted() {
    each(|file, objects| {
        let mut used: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
        for pod in objects.pods() {
            let id = pod.owner.id();
            for volume in pod.volumes() {
                let Some((kind, name, _)) = source(volume) else { continue };
                let Some(object) = objects.get(kind, name) else {
                    let known = kind == "Secret" || name == "our-keyring";
                    assert!(known, "{file}: {id}: there is no {kind} {name}");
                    continue;
                };
                let data = if object.at("/data").is_null() { "/binaryData" } else { "/data" };
                let keys = object.at(data).as_object().unwrap();
                let keys_used = used.entry((kind, name.to_owned())).or_default();
                let items = volume.pointer("/secret/items").or(volume.pointer("/configMap/items"));
                let paths = pod.containers().flat_map(Pod::mounts);
                let paths: Vec<_> = paths.filter(|mount| mount["name"] == volume["name"]).collect();
                let key_of = |item: &Value| item["key"].as_str().unwrap().to_owned();
                let wanted: Vec<String> = match items.and_then(Value::as_array) {
                    Some(items) => items.iter().map(key_of).collect(),
                    None if paths.iter().all(|mount| mount["subPath"].is_string()) => paths
                        .iter()
                        .map(|mount| mount["subPath"].as_str().unwrap().to_owned())
                        .collect(),
                    None => keys.keys().cloned().collect(),
                };
                for key in wanted {
                    let optional = volume.pointer("/secret/optional") == Some(&Value::Bool(true));
                    assert!(
                        optional || keys.contains_key(&key),
                        "{file}: {id}: {name} has no {key}"
                    );
                    if keys.contains_key(&key) {
                        keys_used.insert(key);
                    }
                }
            }
        }
        for ((kind, name), used) in used {
            let object = objects.one(kind, &name);
            let data = if object.at("/data").is_null() { "/binaryData" } else { "/data" };
            let keys: BTreeSet<_> = object.at(data).as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys, used, "{file}: {kind} {name}: all of it is used");
        }
        for map in objects.kind("ConfigMap").filter(|map| !map.component().is_empty()) {
            let mounted = objects.pods().any(|pod| {
                pod.volumes().any(|one| source(one).is_some_and(|(_, name, _)| name == map.name()))
            });
            assert!(mounted, "{file}: {} is mounted nowhere", map.id());
        }
    });
}

#[test]
fn pods_have_the_rights_that_they_need_and_no_other() {
    // Component, whether it speaks to Kubernetes.
    let speaks = ["secrets", "quiesce", "seed-secret", "export-api-key", "import-images"];
    each(|file, objects| {
        for pod in objects.pods() {
            let id = pod.owner.id();
            let account = pod.spec("serviceAccountName").as_str().unwrap();
            assert!(objects.get("ServiceAccount", account).is_some(), "{file}: {id}: {account}");
            let token = pod.spec("automountServiceAccountToken").as_bool().unwrap();
            assert_eq!(token, speaks.contains(&pod.owner.component()), "{file}: {id}");
            let bound =
                objects.kind("RoleBinding").any(|one| one.at("/subjects/0/name") == account);
            assert_eq!(token, bound, "{file}: {id}: a Role, and a token to use it");
            assert_eq!(pod.spec("enableServiceLinks"), false, "{file}: {id}");
        }
        for binding in objects.kind("RoleBinding") {
            let (role, place) = (binding.at("/roleRef/name"), binding.at("/metadata/namespace"));
            let role = objects.one("Role", role.as_str().unwrap());
            assert_eq!(role.at("/metadata/namespace"), place, "{file}: {}", binding.id());
            let account = binding.at("/subjects/0/name").as_str().unwrap();
            let account = objects.one("ServiceAccount", account);
            assert_eq!(binding.at("/subjects/0/namespace"), "maas", "{file}");
            assert_eq!(account.at("/automountServiceAccountToken"), false, "{file}");
            assert_eq!(account.is_hook(), binding.is_hook(), "{file}: {}", binding.id());
            assert_eq!(role.is_hook(), binding.is_hook(), "{file}: {}", binding.id());
        }
        for role in objects.kind("Role") {
            for rule in role.at("/rules").as_array().unwrap() {
                let secret = rule["resources"][0] == "secrets";
                let named = rule["resourceNames"].is_array();
                let creates = rule["verbs"] == serde_json::json!(["create"]);
                assert!(!secret || named != creates, "{file}: {}: {rule}", role.id());
                let text = rule.to_string();
                assert!(!text.contains('*'), "{file}: {}: {rule}", role.id());
            }
        }
        let cluster = objects.0.iter().find(|object| object.kind().starts_with("Cluster"));
        assert!(cluster.is_none(), "{file}: nothing is the cluster's");
    });
}

#[test]
fn containers_say_what_they_are_and_use() {
    each(|file, objects| {
        for pod in objects.pods() {
            for container in pod.containers() {
                let id = format!("{file}: {} {}", pod.owner.id(), container["name"]);
                let image = container["image"].as_str().unwrap();
                assert!(!image.ends_with(":latest") && image.contains([':', '@']), "{id}: {image}");
                assert!(container["imagePullPolicy"].is_string(), "{id}");
                assert!(container["securityContext"].is_object(), "{id}");
                let off = ["resources-off", "old-chart"].contains(&file);
                assert_eq!(container["resources"]["requests"].is_object(), !off, "{id}");
                for variable in container["env"].as_array().into_iter().flatten() {
                    let secret = &variable["valueFrom"]["secretKeyRef"];
                    let known = variable["value"].is_string() || secret["key"].is_string();
                    assert!(known, "{id}: {variable}");
                }
            }
        }
    });
}

#[test]
fn only_controllers_may_do_more_than_others() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(&[&files::named("cache"), &files::named("ingress-api-only")]);
    for pod in objects.pods() {
        for container in pod.containers() {
            let id = format!("{} {}", pod.owner.id(), container["name"]);
            let context = &container["securityContext"];
            assert_ne!(context["privileged"], true, "{id}");
            assert_ne!(pod.spec("hostPID"), true, "{id}");
            if container["name"] == "region" || container["name"] == "rack" {
                assert!(pod.spec("securityContext")["fsGroup"].is_null(), "{id}: files are MAAS's");
                continue;
            }
            assert_eq!(context["allowPrivilegeEscalation"], false, "{id}");
            let region = container["image"].as_str().unwrap().starts_with("maas-region-controller");
            let helper = ["mirror-volume", "wait-schema", "wait", "volume", "syslog"];
            if region && !helper.contains(&container["name"].as_str().unwrap()) {
                continue;
            }
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{id}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{id}");
        }
    }
    for volume in objects.pods().flat_map(|pod| pod.volumes().collect::<Vec<_>>()) {
        assert!(volume["hostPath"].is_null(), "{volume}");
    }
}

#[test]
fn the_same_values_render_the_same_bytes() {
    let Some(helm) = Helm::find() else { return };
    for name in ["old-chart", "curtin", "settings"] {
        let path = files::named(name);
        assert!(helm.text(&[&path]) == helm.text(&[&path]), "{name}");
    }
}

#[test]
fn value_files_say_what_they_are() {
    for (name, path) in files::all() {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# ") && yaml(&path).is_object(), "{name}");
    }
}
