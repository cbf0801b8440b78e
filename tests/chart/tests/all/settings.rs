//! What the deployer is told: the sections that its jobs need, and no other.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::{Helm, files, settings};
use maas_deployer::settings::{ConfigValue, Settings};
use serde_json::{Value, json};

/// The sections of a container's settings, by component.
const SECTIONS: [(&str, &[&str]); 15] = [
    ("region", &["database", "region", "release"]),
    ("rack", &["region", "release", "tls"]),
    ("secrets", &["release", "secrets"]),
    ("quiesce", &["database", "region", "release", "upgrade"]),
    ("db-init", &["database", "release"]),
    ("db-sync", &["database", "release"]),
    ("seed-secret", &["database", "release", "secrets"]),
    ("create-admin", &["database", "release"]),
    ("enable-tls", &["database", "region", "release", "tls"]),
    ("disable-tls", &["database", "region", "release"]),
    ("renew-tls", &["database", "region", "release", "tls"]),
    ("configure", &["boot_source", "images", "mirror", "region", "release", "tls"]),
    ("export-api-key", &["region", "release", "secrets", "tls"]),
    ("import-images", &["images", "mirror", "region", "release", "tls"]),
    ("test", &["images", "mirror", "region", "release", "tls"]),
];

/// The keys of each section: an unknown one is refused by the deployer.
fn keys() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("release", vec!["name", "namespace", "fullname"]),
        ("secrets", vec!["db_admin", "db_user", "admin", "region", "api_key"]),
        ("database", vec!["host", "port", "name", "bundled", "tls"]),
        ("region", vec!["url", "maas_url", "statefulset", "workers"]),
        ("tls", vec!["enabled", "insecure", "port", "server_name"]),
        ("mirror", vec!["each", "regions", "url", "wait"]),
        ("upgrade", vec!["region_image"]),
        ("boot_source", vec!["url", "keyring", "keyring_filename"]),
        (
            "images",
            vec![
                "os",
                "release",
                "kernel",
                "commissioning_release",
                "releases",
                "arches",
                "timeout_s",
                "stall_s",
            ],
        ),
    ])
}

#[test]
fn each_pod_is_told_what_it_needs_and_no_more() {
    let Some(rendered) = files::rendered() else { return };
    let (sections, keys) = (BTreeMap::from(SECTIONS), keys());
    let mut told_of = BTreeSet::new();
    for (file, objects) in rendered {
        for told in settings::all(objects) {
            let given = told.json();
            let given = given.as_object().unwrap();
            let mut wanted: BTreeSet<_> = sections[&*told.component].iter().copied().collect();
            if objects.get("Service", "maas-mirror").is_none() {
                wanted.remove("mirror");
            }
            let found: BTreeSet<_> = given.keys().map(String::as_str).collect();
            assert_eq!(found, wanted, "{file}: {} {}", told.owner, told.container);
            for (section, content) in given {
                for key in content.as_object().unwrap().keys() {
                    assert!(keys[&**section].contains(&&**key), "{file}: {section}.{key}");
                }
            }
            let region = given.get("region").and_then(Value::as_object);
            let whole = region.is_some_and(|region| region.contains_key("maas_url"));
            assert_eq!(whole, told.component == "region", "{file}: {}", told.owner);
            told_of.insert(told.component);
        }
    }
    assert_eq!(told_of.len(), sections.len(), "{told_of:?}");
}

fn of(objects: &chart_tests::Objects, component: &str, container: &str) -> Value {
    let told = settings::all(objects);
    let one = told.iter().find(|one| one.component == component && one.container == container);
    one.unwrap_or_else(|| panic!("{component} {container}")).json()
}

fn render(file: &str) -> Option<chart_tests::Objects> {
    files::objects(file)
}

#[test]
fn the_database_is_where_the_values_say() {
    let hosts = [
        ("defaults", "postgresql.maas.svc.cluster.local", 5432, "prefer", false),
        ("postgresql", "maas-postgresql.maas.svc.cluster.local", 5432, "disable", false),
        ("database-external", "db.example.com", 6432, "prefer", false),
        ("database-tls", "10.11.12.13", 5432, "verify-full", true),
        ("database-service", "postgresql-ha.ucp.svc.cluster.example", 5432, "disable", false),
    ];
    for (file, host, port, mode, ca) in hosts {
        let Some(objects) = render(file) else { return };
        let database = of(&objects, "db-init", "db-init")["database"].clone();
        let found = (&database["host"], &database["port"], &database["tls"]);
        assert_eq!(found, (&json!(host), &json!(port), &json!({"mode": mode, "ca": ca})), "{file}");
        assert_eq!(database["bundled"], file == "postgresql", "{file}");
        let region = of(&objects, "region", "region-conf");
        assert_eq!(region["database"], database, "{file}");
    }
}

#[test]
fn boot_images_come_from_where_the_values_say() {
    let sources = [
        ("defaults", "https://images.maas.io/ephemeral-v3/stable/", false),
        ("cache", "http://localhost:8888/images/", false),
        ("cache-selection", "http://localhost:8080/images/", false),
        ("keyring-data", "http://localhost:8888/images/", true),
        ("keyring-secret", "http://mirror.example.com:8888/images/", true),
    ];
    for (file, url, keyring) in sources {
        let Some(objects) = render(file) else { return };
        let source = of(&objects, "configure", "configure")["boot_source"].clone();
        assert_eq!((&source["url"], &source["keyring"]), (&json!(url), &json!(keyring)), "{file}");
        assert_eq!(source["keyring_filename"].as_str().unwrap().ends_with(".gpg"), !keyring);
    }
}

#[test]
fn every_release_is_named_once() {
    let Some(objects) = render("boot-images") else { return };
    let images = of(&objects, "import-images", "import-images")["images"].clone();
    assert_eq!(images["releases"], json!(["jammy", "noble", "xenial"]));
    assert_eq!(images["arches"], json!(["amd64", "arm64"]));
    assert_eq!(images["release"], "jammy");
    let Some(objects) = render("defaults") else { return };
    let images = of(&objects, "import-images", "import-images")["images"].clone();
    let expected = json!({
        "os": "ubuntu", "release": "xenial", "kernel": "ga-16.04", "commissioning_release": "noble",
        "releases": ["noble", "xenial"], "arches": ["amd64"], "timeout_s": 7200, "stall_s": 900,
    });
    assert_eq!(images, expected);
}

#[test]
fn settings_of_maas_are_what_the_values_say() {
    let config = |file: &str| render(file).map(|all| settings::config(&all));
    let Some(default) = config("defaults") else { return };
    let expected = json!({
        "active_discovery_interval": 0, "boot_images_no_proxy": false, "completed_intro": true,
        "dnssec_validation": "no", "prometheus_enabled": false,
        "enable_analytics": false, "enable_http_proxy": false, "enlist_commissioning": false,
        "http_proxy": "", "maas_proxy_port": 8000, "network_discovery": "disabled",
        "ntp_external_only": false, "use_peer_proxy": false,
    });
    assert_eq!(default, expected, "what is empty is left as it is");
    let given = config("settings").unwrap();
    assert_eq!(given["ntp_servers"], json!(["ntp1.example.com", "ntp2.example.com"]));
    assert_eq!(given["upstream_dns"], json!(["192.0.2.53", "2001:db8::53"]));
    assert_eq!(given["dnssec_validation"], "auto");
    assert_eq!(given["http_proxy"], "http://proxy.example.com:3128");
    assert_eq!(given["maas_name"], "<site> & 'more'");
    assert_eq!(given["enable_analytics"], true);
    // Of texts that YAML 1.1 reads as booleans, and names given twice.
    let old = config("settings-old-types").unwrap();
    assert_eq!(
        (&old["dnssec_validation"], &old["enable_http_proxy"]),
        (&json!("no"), &json!(true))
    );
    assert_eq!(old.get("completed_intro"), None);
    assert_eq!(config("cache").unwrap()["boot_images_no_proxy"], true);
    assert_eq!(config("service-monitor").unwrap()["prometheus_enabled"], true);
    assert_eq!(config("syslog").unwrap()["remote_syslog"], "logs.example.com:514");
}

/// Every hint names the release: a command in it can be pasted.
#[test]
fn every_pod_is_told_the_releases_names() {
    let Some(helm) = Helm::find() else { return };
    for file in ["tls-own-secret", "passwords-postgresql", "rack-only"] {
        let helm = helm.clone().release("site").namespace("metal");
        for told in settings::all(&helm.objects(&[&files::named(file)])) {
            let release = json!({"name": "site", "namespace": "metal", "fullname": "site-maas"});
            assert_eq!(
                told.json()["release"],
                release,
                "{file}: {} {}",
                told.owner,
                told.container
            );
        }
    }
}

/// Racks whose region is no part of this release.
#[test]
fn a_region_that_is_elsewhere_is_found_by_its_url() {
    let Some(helm) = Helm::find() else { return };
    let url = "http://maas.example.com:5240/MAAS";
    let set = format!("conf.maas.url.maas_url={url}");
    let region = |file: &str| {
        let objects = helm.clone().set(&[&set]).objects(&[&files::named(file)]);
        of(&objects, "rack", "wait-api")["region"]["url"].clone()
    };
    assert_eq!(region("rack-only"), url);
    assert_eq!(region("defaults"), "http://maas-region.maas.svc.cluster.local:5240/MAAS");
    let notes = helm.notes(&[&files::named("rack-only")]);
    assert!(notes.contains("nothing here knows where that is"), "{notes}");
}

/// The mirrors are asked by the names that their pods have, ready or not.
#[test]
fn each_mirror_is_named_by_its_region() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.set(&["pod.replicas.region=2"]).objects(&[&files::named("cache")]);
    let service = objects.one("Service", "maas-region-headless");
    assert_eq!(service.at("/spec/publishNotReadyAddresses"), true);
    let set = objects.one("StatefulSet", "maas-region");
    assert_eq!(set.at("/spec/serviceName"), service.name());
    for (job, container) in [("configure", "configure"), ("import-images", "import-images")] {
        let mirror = of(&objects, job, container)["mirror"].clone();
        let place = "maas-region-{}.maas-region-headless.maas.svc.cluster.local:8888";
        assert_eq!(mirror["each"], format!("http://{place}"));
        assert_eq!(mirror["regions"], 2);
    }
}

fn refusal(helm: &Helm, set: &[&str]) -> String {
    let refusal = helm.clone().set(set).refusal(&[]);
    let (_, said) = refusal.split_once("by those alone:\n").unwrap_or_else(|| panic!("{refusal}"));
    // Helm's own advice follows, after an empty line.
    let said = said.lines().map(str::trim).take_while(|line| !line.is_empty());
    said.collect::<Vec<_>>().join("; ")
}

/// Two values for one setting: what differs is refused, and where to set it is told.
#[test]
fn settings_that_are_given_twice_are_refused_where_they_differ() {
    let Some(helm) = Helm::find() else { return };
    let extra = |name: &str| format!("conf.maas.extra_settings.{name}");
    for (name, value, other, given) in [
        ("default_osystem", "centos", "conf.maas.images.default_os", None),
        ("default_distro_series", "jammy", "conf.maas.images.default_image", None),
        ("commissioning_distro_series", "jammy", "conf.maas.images.commissioning_image", None),
        ("default_min_hwe_kernel", "ga-22.04", "conf.maas.images.default_kernel", None),
        ("maas_url", "http://x.example/MAAS", "conf.maas.url.maas_url", None),
        ("maas_proxy_port", "3128", "endpoints.maas_region.port.region_proxy.default", None),
        ("ntp_servers", "b.example", "conf.maas.ntp.ntp_servers", Some("{a.example}")),
        ("ntp_external_only", "false", "conf.maas.ntp.use_external_only", Some("true")),
        (
            "http_proxy",
            "http://b.example",
            "conf.maas.proxy.proxy_server",
            Some("http://a.example"),
        ),
        ("enable_http_proxy", "false", "conf.maas.proxy.proxy_enabled", Some("true")),
        ("use_peer_proxy", "false", "conf.maas.proxy.peer_proxy_enabled", Some("true")),
        ("upstream_dns", "192.0.2.2", "conf.maas.dns.dns_servers", Some("{192.0.2.1}")),
        ("dnssec_validation", "yes", "conf.maas.dns.require_dnssec", Some("auto")),
        ("remote_syslog", "b.example", "conf.maas.syslog.remote_syslog", Some("a.example")),
        ("prometheus_enabled", "false", "manifests.service_monitor", Some("true")),
    ] {
        let own = format!("{}={value}", extra(name));
        let mut set = vec![own.as_str()];
        let there = given.map(|given| format!("{other}={given}"));
        set.extend(there.as_deref());
        assert_eq!(refusal(&helm, &set), format!("{name}: {other}"));
    }
    let both = ["default_osystem=centos", "maas_proxy_port=1"].map(&extra);
    let both: Vec<_> = both.iter().map(String::as_str).collect();
    assert_eq!(refusal(&helm, &both).matches(": ").count(), 2, "all at once");
    // Nobody reads them: there is nothing to refuse.
    let off = ["manifests.job_configure=false", both[0]];
    assert!(helm.clone().set(&off).run(&[]).status.success());
}

#[test]
fn settings_that_are_given_twice_and_are_the_same_are_taken() {
    let Some(helm) = Helm::find() else { return };
    let config = |set: &[&str]| settings::config(&helm.clone().set(set).objects(&[]));
    let plain = config(&[]);
    // import-images sets these: configure is not told.
    let same = [
        "conf.maas.extra_settings.default_osystem=ubuntu",
        "conf.maas.extra_settings.default_distro_series=xenial",
        "conf.maas.extra_settings.maas_proxy_port=8000",
    ];
    assert_eq!(config(&same), plain);
    // As text, with a comma, as a list, with a space: they are the same to MAAS.
    let lists = [
        "conf.maas.extra_settings.ntp_servers=a.example\\,b.example",
        "conf.maas.ntp.ntp_servers={a.example,b.example}",
    ];
    assert_eq!(config(&lists)["ntp_servers"], "a.example,b.example");
}

/// A default is nobody's wish.
#[test]
fn extra_settings_win_over_what_nobody_has_set_and_the_notes_say_so() {
    let Some(helm) = Helm::find() else { return };
    let set = [
        "conf.maas.extra_settings.enable_http_proxy=true",
        "conf.maas.extra_settings.upstream_dns=192.0.2.1",
        "conf.maas.extra_settings.kernel_opts=quiet",
    ];
    let helm = helm.set(&set);
    let config = settings::config(&helm.objects(&[]));
    assert_eq!(
        (&config["enable_http_proxy"], &config["upstream_dns"]),
        (&json!(true), &json!("192.0.2.1"))
    );
    let notes = helm.notes(&[]);
    let (_, told) = notes.split_once("say nothing:\n").unwrap_or_else(|| panic!("{notes}"));
    let told: Vec<_> =
        told.lines().take_while(|line| line.starts_with("  ")).map(str::trim).collect();
    let own = [
        "enable_http_proxy: conf.maas.proxy.proxy_enabled",
        "upstream_dns: conf.maas.dns.dns_servers",
    ];
    assert_eq!(told, own);
}

/// What the chart writes, the deployer reads: an unknown key is an error there.
#[test]
fn the_deployer_understands_what_it_is_told() {
    let Some(rendered) = files::rendered() else { return };
    let mut understood = 0;
    for (file, objects) in rendered {
        for told in settings::all(objects) {
            let read: Result<Settings, _> = serde_json::from_str(&told.text);
            assert!(read.is_ok(), "{file}: {} {}: {:?}", told.owner, told.container, read.err());
            understood += 1;
        }
        if objects.get("Secret", "maas-settings").is_some() {
            let config = settings::config(objects);
            let read: Result<BTreeMap<String, ConfigValue>, _> = serde_json::from_value(config);
            assert!(read.is_ok(), "{file}: {:?}", read.err());
        }
    }
    assert!(understood > 100, "{understood}");
}
