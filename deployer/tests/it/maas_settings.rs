//! MAAS's own settings, as configure gets them: from Secrets, the chart's and the operator's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Answer, HttpServer, World};

const LOGIN: &str = "http://site:sesame@proxy.example.com:3128";

/// A world with the chart's Secret, and a MAAS that has none of it yet.
fn world(config: &Value) -> (World, HttpServer) {
    let server = HttpServer::start(|asked| match asked.path() {
        path if path.ends_with("/version/") => Answer::json(200, &json!({"version": "3.6.4"})),
        _ if asked.method == "POST" => Answer::text(200, "OK"),
        _ => Answer::json(200, &json!("old")),
    });
    let mut world = World::new();
    world.settings["region"] =
        json!({"url": format!("{}/MAAS", server.url()), "statefulset": "maas-region"});
    world.secret("secrets/api-key/token", "consumerconsumer:tokentokentoken:secretsecretsecret");
    world.public("secrets/maas-settings/config.json", config.to_string());
    world.hide("sesame");
    (world, server)
}

/// What MAAS was given.
fn given(server: &HttpServer) -> BTreeMap<String, String> {
    let asked = server.asked();
    let sets =
        asked.iter().filter(|one| one.method == "POST" && one.query().contains("set_config"));
    let pairs = sets.map(|one| {
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(one.body.as_bytes()).into_owned().collect();
        (form["name"].clone(), form["value"].clone())
    });
    pairs.collect()
}

#[test]
fn settings_come_of_secrets_and_the_operators_own_win() {
    let (world, server) =
        world(&json!({"http_proxy": "", "ntp_servers": ["a.example"], "maas_name": "site"}));
    // As the kubelet mounts a Secret: links beside a folder of its own.
    world.public("secrets/own-settings/..2026/http_proxy", "not read by this name");
    world.public("secrets/own-settings/http_proxy", format!("{LOGIN}\n"));
    world.public("secrets/own-settings/maas_name", "site");
    let run = world.job(&["configure"]).run().expect(0);
    let expected = [("http_proxy", LOGIN), ("maas_name", "site"), ("ntp_servers", "a.example")];
    assert_eq!(given(&server), expected.map(|(name, value)| (name.into(), value.into())).into());
    run.changed("set http_proxy");
    let told = "http_proxy is as the Secret of secrets.maas_settings says, not the values";
    assert!(run.stdout.contains(told), "{}", run.stdout);
    assert!(!run.stdout.contains("maas_name is as the Secret"), "{}", run.stdout);
}

#[test]
fn what_import_images_sets_is_no_setting_of_the_operators() {
    let (world, server) = world(&json!({}));
    world.public("secrets/own-settings/default_distro_series", "jammy");
    world.job(&["configure"]).run().failed(5, "own-settings-of-images");
    assert_eq!(given(&server), BTreeMap::new());
}

#[test]
fn settings_that_cannot_be_read_are_told_without_what_they_say() {
    let (world, _server) = world(&json!({"http_proxy": {"url": LOGIN}}));
    world.job(&["configure"]).run().expect(64);
}
