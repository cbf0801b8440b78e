//! Faults of the earlier chart (0.2), one test each where a chart can have it.

use std::collections::BTreeSet;

use chart_tests::{Helm, Object, Objects, Pod, files};
use serde_json::json;

fn render(file: &str) -> Option<Objects> {
    files::objects(file)
}

/// Jobs that pods wait for, by their components.
fn waits_for(pod: &Pod<'_>) -> BTreeSet<&'static str> {
    let targets = [
        ("database-admin", &[][..]),
        ("database", &["db-init"][..]),
        ("schema", &["db-sync"]),
        ("shared-secret", &["seed-secret"]),
        ("api", &["region"]),
        ("job/", &["configure"]),
    ];
    let inits = pod.inits();
    let words =
        inits.iter().filter(|name| name.starts_with("wait")).flat_map(|name| pod.argv(name));
    let words: Vec<_> = words.collect();
    let found = targets.iter().filter(|(target, _)| {
        words.iter().any(|word| word == target || (*target == "job/" && word.starts_with(target)))
    });
    found.flat_map(|(_, who)| who.iter().copied()).collect()
}

#[test]
fn f1_nothing_waits_for_what_is_not_made_nor_in_a_circle() {
    for file in ["cache", "tls", "postgresql"] {
        let Some(objects) = render(file) else { return };
        let mut ready: BTreeSet<&str> = BTreeSet::new();
        let pods: Vec<_> = objects.pods().filter(|pod| !pod.owner.is_hook()).collect();
        // Whoever waits for nothing more comes to its end; until all do.
        for _ in 0..pods.len() {
            for pod in &pods {
                if waits_for(pod).is_subset(&ready) {
                    ready.insert(pod.owner.component());
                }
            }
        }
        assert_eq!(ready.len(), pods.len(), "{file}: these alone: {ready:?}");
    }
}

#[test]
fn f2_a_jobs_template_is_never_changed_and_the_schema_never_under_a_region() {
    let Some(helm) = Helm::find() else { return };
    let name = |tag: &str| {
        let image = format!("images.tags.maas_region=region:{tag}");
        helm.clone().set(&[&image]).objects(&[]).job("db-sync").name().to_owned()
    };
    assert_ne!(name("3.6.4"), name("3.7.3"), "db-sync runs again with another MAAS");
    let objects = helm.objects(&[]);
    let quiesce = objects.job("quiesce");
    assert_eq!(quiesce.annotation("helm.sh/hook"), Some("pre-upgrade,pre-rollback"));
    assert_eq!(quiesce.pod().unwrap().argv("quiesce")[1..4], ["job", "quiesce", "--coming"]);
    let image = &quiesce.pod().unwrap().container("quiesce")["image"];
    assert_eq!(image, &objects.pod_of("maas-region").container("region")["image"]);
    // What it compares with what runs; `images.registry` stands in it too.
    for objects in [objects.clone(), render("registry").unwrap()] {
        let told = chart_tests::settings::all(&objects);
        let told = told.iter().find(|one| one.container == "quiesce").unwrap().json();
        let region = objects.pod_of("maas-region").container("region").clone();
        assert_eq!(told["upgrade"]["region_image"], region["image"]);
    }
    for job in objects.kind("Job") {
        assert_eq!(job.at("/spec/ttlSecondsAfterFinished"), &json!(null), "{}", job.id());
        assert!(job.at("/spec/backoffLimit").is_u64(), "{}", job.id());
        // One whose pod a drain moved has not failed: it may have waited for days.
        let moved = json!({"action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]});
        let rules = job.at("/spec/podFailurePolicy/rules").as_array().unwrap();
        assert!(rules.contains(&moved), "{}: {rules:?}", job.id());
    }
}

#[test]
fn f3_images_survive_a_restart_of_the_region() {
    let Some(objects) = render("defaults") else { return };
    let pod = objects.pod_of("maas-region");
    assert!(pod.claims().contains(&"data"));
    let mount =
        Pod::mounts(pod.container("region")).find(|mount| mount["mountPath"] == "/var/lib/maas");
    assert_eq!(mount.unwrap()["name"], "data");
}

#[test]
fn f4_no_pod_template_says_which_revision_it_is() {
    let Some(rendered) = files::rendered() else { return };
    for (file, objects) in rendered {
        for set in objects.kind("StatefulSet") {
            let template = set.at("/spec/template").to_string();
            for word in ["revision", "helm.sh/chart", "app.kubernetes.io/version"] {
                assert!(!template.contains(word), "{file}: {}: {word}", set.id());
            }
        }
    }
}

#[test]
fn f6_tls_is_probed_and_mounted_as_maas_has_it() {
    let Some(objects) = render("tls") else { return };
    let secret = objects.one("Secret", "maas-region-api-tls");
    assert_eq!(secret.at("/type"), "kubernetes.io/tls");
    assert_eq!(secret.at("/data").as_object().unwrap().len(), 3);
    // The probe finds out by itself which port answers: it is the same without TLS.
    let without = render("defaults").unwrap();
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let of =
            |objects: &Objects| objects.pod_of("maas-region").container("region")[probe].clone();
        let command = of(&objects)["exec"]["command"].clone();
        assert_eq!(command[0], "/opt/maas-deployer/maas-deployer", "{probe}");
        assert_eq!(of(&objects), of(&without), "{probe}");
    }
    // The authority is at hand wherever the API is spoken to.
    for component in ["configure", "export-api-key", "import-images"] {
        let pod = objects.job(component).pod().unwrap();
        for container in [component, "wait"] {
            let mut mounts = Pod::mounts(pod.container(container));
            let ca = mounts.any(|mount| mount["mountPath"] == "/etc/maas-deployer/maas-tls");
            assert!(ca, "{component} {container}");
        }
    }
    // enable-tls waits for the schema, not for an API that waits for it.
    let enable = objects.job("enable-tls").pod().unwrap();
    assert!(!enable.argv("wait").contains(&"api"));
    assert!(enable.volume("maas-tls").unwrap()["secret"]["items"].is_null(), "all three files");

    let ingress = render("ingress-api-only").unwrap();
    let ingress = ingress.one("Ingress", "maas-region-api");
    assert_eq!(ingress.at("/spec/tls/0/secretName"), "maas-region-api-ingress-tls");
    let paths = ingress.at("/spec/rules/0/http/paths").as_array().unwrap();
    assert_eq!(paths.len(), 8);
    for path in paths {
        assert_eq!(path["backend"]["service"]["port"]["name"], "region-api-tls");
        assert!(path["path"].as_str().unwrap().starts_with("/MAAS"));
    }
}

#[test]
fn f7_the_node_port_lands_on_the_api() {
    for (file, node_port, port) in
        [("node-port", 30240, 5240), ("node-port-tls", 30443, 5443), ("node-port-tls", 31900, 5240)]
    {
        let Some(objects) = render(file) else { return };
        let service = objects.one("Service", "maas-region-nodeport");
        let ports = service.at("/spec/ports").as_array().unwrap();
        let found = ports.iter().find(|one| one["nodePort"] == node_port).unwrap();
        assert_eq!(found["targetPort"], port, "{file}");
        assert!(ports.iter().all(|one| one["nodePort"].is_u64()), "{file}: no other is opened");
        assert!(objects.one("Service", "maas-region").at("/spec/type").is_null(), "{file}");
    }
}

#[test]
fn f8_no_password_by_default_and_none_in_a_config_map() {
    let Some(objects) = render("defaults") else { return };
    let text = format!("{:?}", objects.0);
    for word in ["password\"", "\"admin\"", "database_pass"] {
        let found = text.matches(word).count();
        // The admin's name is a setting; there is no password beside it.
        assert!(found == 0 || word == "\"admin\"", "{word}");
    }
    let region = render("database-external").unwrap();
    let pod = region.pod_of("maas-region");
    assert!(pod.inits().contains(&"region-conf"), "the port is written by region-conf");
    assert_eq!(pod.volume("regiond-conf").unwrap()["emptyDir"]["medium"], "Memory");
}

#[test]
fn f9_the_ingress_is_of_today_and_rewrites_nothing() {
    let Some(objects) = render("defaults") else { return };
    let ingress = objects.one("Ingress", "maas-region-api");
    assert_eq!(ingress.at("/apiVersion"), "networking.k8s.io/v1");
    assert_eq!(ingress.at("/metadata/annotations"), &json!(null));
    assert_eq!(ingress.at("/spec/ingressClassName"), &json!(null), "the cluster's default");
    assert_eq!(ingress.at("/spec/rules/0/http/paths/0/path"), "/");
    let named = render("ingress").unwrap();
    assert_eq!(named.one("Ingress", "maas-region-api").at("/spec/ingressClassName"), "nginx");
}

#[test]
fn f11_no_hook_comes_after_an_install() {
    let Some(rendered) = files::rendered() else { return };
    for (file, objects) in rendered {
        for hook in objects.0.iter().filter(|object| object.is_hook()) {
            let events = hook.annotation("helm.sh/hook").unwrap();
            assert!(!events.contains("post-"), "{file}: {}", hook.id());
            let policy = hook.annotation("helm.sh/hook-delete-policy").unwrap();
            assert!(policy.contains("before-hook-creation"), "{file}: {}", hook.id());
            // What a hook needs is there before it, and gone after it.
            let weight: i32 =
                hook.annotation("helm.sh/hook-weight").unwrap_or("0").parse().unwrap();
            let expected = match hook.kind() {
                "Job" => weight > -20 && policy.contains("hook-succeeded"),
                "Pod" => events == "test",
                _ => weight == -20 && policy.contains("hook-succeeded"),
            };
            assert!(expected, "{file}: {}", hook.id());
        }
    }
}

#[test]
fn f12_a_racks_probes_ask_the_rack_and_its_registration_is_kept() {
    let Some(objects) = render("defaults") else { return };
    let pod = objects.pod_of("maas-rack");
    let rack = pod.container("rack");
    for (probe, arguments) in [
        ("startupProbe", json!(["job", "probe", "rack"])),
        ("readinessProbe", json!(["job", "probe", "rack"])),
        ("livenessProbe", json!(["job", "probe", "rack", "--live"])),
    ] {
        let command = rack[probe]["exec"]["command"].as_array().unwrap();
        assert_eq!(json!(command[1..]), arguments, "{probe}");
    }
    for path in ["/var/lib/maas", "/etc/maas", "/var/cache/maas"] {
        let mount = Pod::mounts(rack).find(|mount| mount["mountPath"] == path).unwrap();
        assert_eq!(mount["name"], "state", "{path}");
    }
    assert_eq!(pod.spec("hostNetwork"), true);
    assert_eq!(pod.spec("dnsPolicy"), "ClusterFirstWithHostNet");
    let apart = &pod.spec("affinity")["podAntiAffinity"];
    let term = &apart["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(&term["labelSelector"]["matchLabels"], pod.labels());
}

#[test]
fn f13_more_mounts_and_resources_render() {
    let Some(objects) = render("mounts") else { return };
    for (set, container) in
        [("maas-region", "region"), ("maas-rack", "rack"), ("maas-syslog", "syslog")]
    {
        let pod = objects.pod_of(set);
        assert!(pod.volume("more").is_some(), "{set}");
        let more = |one| Pod::mounts(one).any(|mount| mount["name"] == "more");
        assert!(more(pod.container(container)), "{set}");
        assert_eq!(pod.containers().filter(|one| more(one)).count(), 2, "{set}: an init container");
    }
    let resources = render("resources").unwrap();
    let requests: BTreeSet<_> = resources
        .pods()
        .flat_map(|pod| pod.containers().collect::<Vec<_>>())
        .map(|one| one["resources"]["requests"]["memory"].as_str().unwrap())
        .collect();
    assert_eq!(requests.len(), 13, "each has its own: {requests:?}");
}

#[test]
fn f14_machines_are_not_told_names_of_the_clusters() {
    let Some(objects) = render("defaults") else { return };
    assert_eq!(chart_tests::settings::config(&objects).get("remote_syslog"), None);
    let notes = Helm::find().unwrap().notes(&[&files::named("defaults")]);
    assert!(notes.contains("conf.maas.url.maas_url is not set"), "{notes}");
}

#[test]
fn f15_images_have_versions_and_objects_the_releases_name() {
    let Some(objects) = render("cache") else { return };
    let images: BTreeSet<_> = objects
        .pods()
        .flat_map(|pod| pod.containers().collect::<Vec<_>>())
        .map(|one| one["image"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(images.len(), 5, "{images:?}");
    let registry = render("registry").unwrap();
    for container in registry.pods().flat_map(|pod| pod.containers().collect::<Vec<_>>()) {
        let image = container["image"].as_str().unwrap();
        assert!(image.starts_with("registry.example.com:5000/maas/"), "{image}");
        assert_eq!(container["imagePullPolicy"], "Always");
    }
    for pod in registry.pods() {
        assert_eq!(pod.spec("imagePullSecrets")[0]["name"], "registry-login", "{}", pod.owner.id());
    }
}

#[test]
fn the_mirror_serves_what_the_values_say_and_keeps_nobody_waiting() {
    let argv = |file: &str| {
        render(file).map(|objects: Objects| objects.pod_of("maas-region").argv("mirror").join(" "))
    };
    let Some(plain) = argv("cache") else { return };
    let store = "serve --store /var/lib/maas-mirror --listen";
    let upstream = "--upstream https://images.maas.io/ephemeral-v3/stable/";
    let selection = "--release noble,xenial --arch amd64 --max-versions 1";
    assert_eq!(plain, format!("{store} 0.0.0.0:8888 {upstream} --every 6h {selection}"));
    let never = argv("cache-never").unwrap();
    let all = selection.replace('1', "all");
    assert_eq!(never, format!("{store} [::]:8888 {upstream} --once {all}"));
    for file in ["cache-air-gap", "cache-baked"] {
        assert_eq!(argv(file).unwrap(), format!("{store} 0.0.0.0:8888"), "{file}");
    }
    let given = argv("cache-selection").unwrap();
    for words in [
        "--upstream http://images.example.com/ephemeral-v3/candidate/ --every 12h",
        "--release jammy,noble --arch amd64,arm64 --kernel ga-22.04,ga-24.04 --max-versions 3",
        "--no-bootloaders --pull-through --ca-file /etc/maas-mirror/ca/ca.crt --parallel 8",
    ] {
        assert!(given.contains(words), "{given}");
    }
    assert!(
        argv("keyring-data").unwrap().ends_with("--keyring /etc/maas-deployer/keyring/keyring.gpg")
    );
    for file in ["cache", "cache-baked"] {
        let objects = render(file).unwrap();
        let mirror = objects.pod_of("maas-region").container("mirror").clone();
        assert_eq!(mirror["livenessProbe"]["httpGet"]["path"], "/healthz");
        assert!(mirror["readinessProbe"].is_null() && mirror["startupProbe"].is_null());
    }
    let baked = render("cache-baked").unwrap();
    let mounts = Pod::mounts(baked.pod_of("maas-region").container("mirror")).count();
    assert_eq!(mounts, 1, "no volume hides the store in the image");
}

#[test]
fn every_key_of_a_drain_and_a_spread_is_kept() {
    let Some(objects) = render("replicas") else { return };
    for budget in objects.kind("PodDisruptionBudget") {
        assert_eq!(budget.at("/spec/maxUnavailable"), 1, "{}", budget.id());
    }
    assert_eq!(objects.kind("PodDisruptionBudget").count(), 3);
    for name in ["maas-region", "maas-syslog"] {
        let spread = &objects.pod_of(name).spec("topologySpreadConstraints")[0];
        assert_eq!(&spread["labelSelector"]["matchLabels"], objects.pod_of(name).labels());
    }
}

#[test]
fn policies_name_the_ports_that_pods_have() {
    let Some(objects) = render("network-policy") else { return };
    assert_eq!(objects.kind("NetworkPolicy").count(), 3);
    for policy in objects.kind("NetworkPolicy") {
        for rule in policy.at("/spec/ingress").as_array().unwrap() {
            let ports = rule["ports"].as_array().unwrap();
            assert!(!ports.is_empty() && ports.iter().all(|port| port["port"].is_u64()));
        }
    }
    let region = objects.one("NetworkPolicy", "maas-region");
    let open = |number: u64| {
        region.at("/spec/ingress/0/ports").as_array().unwrap().iter().any(|one| {
            let first = one["port"].as_u64().unwrap();
            (first..=one["endPort"].as_u64().unwrap_or(first)).contains(&number)
        })
    };
    let service = objects.one("Service", "maas-region");
    for port in service.at("/spec/ports").as_array().unwrap() {
        assert!(open(port["targetPort"].as_u64().unwrap()), "{port}");
    }
    assert!(open(123), "racks take the time from the region");
    for closed in [22, 5249, 5432, 8888] {
        assert!(!open(closed), "{closed}");
    }
    let database = objects.one("NetworkPolicy", "maas-postgresql");
    let from = database.at("/spec/ingress/0/from/0/podSelector/matchLabels");
    assert_eq!(from["app.kubernetes.io/instance"], "maas");
}

#[test]
fn the_key_may_be_anothers_and_its_role_is_there() {
    let Some(objects) = render("api-key-elsewhere") else { return };
    let role = objects.one("Role", "maas-export-api-key-maas");
    assert_eq!(role.at("/metadata/namespace"), "ucp");
    assert_eq!(role.at("/rules/1/resourceNames/0"), "drydock-maas-key");
    let mounted = objects.pods().any(|pod| pod.volume("api-key").is_some());
    assert!(!mounted, "a Secret of another namespace cannot be mounted");
    let others: Vec<_> = objects.kind("Role").map(Object::name).collect();
    assert!(!others.contains(&"maas-export-api-key"), "{others:?}");
}
