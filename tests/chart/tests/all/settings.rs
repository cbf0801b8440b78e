//! What the deployer is told: the sections that its jobs need, and no other.

use std::collections::{BTreeMap, BTreeSet};

use chart_tests::{files, settings};
use serde_json::{Value, json};

/// The sections of a container's settings, by component.
const SECTIONS: [(&str, &[&str]); 15] = [
    ("region", &["database", "region"]),
    ("rack", &["region", "tls"]),
    ("secrets", &["release", "secrets"]),
    ("quiesce", &["database", "region", "release", "upgrade"]),
    ("db-init", &["database"]),
    ("db-sync", &["database", "region"]),
    ("seed-secret", &["database", "release", "secrets"]),
    ("create-admin", &["database", "region"]),
    ("enable-tls", &["database", "region", "tls"]),
    ("disable-tls", &["database", "region"]),
    ("renew-tls", &["database", "region", "tls"]),
    ("configure", &["boot_source", "config", "images", "mirror", "region", "tls"]),
    ("export-api-key", &["region", "release", "secrets", "tls"]),
    ("import-images", &["images", "mirror", "region", "release", "tls"]),
    ("test", &["images", "mirror", "region", "release", "tls"]),
];

/// The keys of each section: an unknown one is refused by the deployer.
fn keys() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("release", vec!["name", "namespace", "fullname", "chart_version"]),
        ("secrets", vec!["db_admin", "db_user", "admin", "region", "api_key"]),
        ("database", vec!["host", "port", "name", "bundled", "tls"]),
        ("region", vec!["url", "maas_url", "statefulset", "workers"]),
        ("tls", vec!["enabled", "insecure", "port", "server_name"]),
        ("mirror", vec!["url"]),
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
            for (section, content) in given.iter().filter(|(name, _)| *name != "config") {
                for key in content.as_object().unwrap().keys() {
                    assert!(keys[&**section].contains(&&**key), "{file}: {section}.{key}");
                }
            }
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
        assert!(source["keyring_filename"].as_str().unwrap().ends_with(".gpg"));
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
    let images = of(&objects, "configure", "configure")["images"].clone();
    let expected = json!({
        "os": "ubuntu", "release": "xenial", "kernel": "ga-16.04", "commissioning_release": "noble",
        "releases": ["noble", "xenial"], "arches": ["amd64"], "timeout_s": 7200, "stall_s": 900,
    });
    assert_eq!(images, expected);
}

#[test]
fn settings_of_maas_are_what_the_values_say() {
    let config =
        |file: &str| render(file).map(|all| of(&all, "configure", "configure")["config"].clone());
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

/// What the chart writes, the deployer reads: an unknown key is an error there.
#[test]
fn the_deployer_understands_what_it_is_told() {
    let Some(rendered) = files::rendered() else { return };
    let mut understood = 0;
    for (file, objects) in rendered {
        for told in settings::all(objects) {
            let read: Result<maas_deployer::settings::Settings, _> =
                serde_json::from_str(&told.text);
            assert!(read.is_ok(), "{file}: {} {}: {:?}", told.owner, told.container, read.err());
            understood += 1;
        }
    }
    assert!(understood > 100, "{understood}");
}
