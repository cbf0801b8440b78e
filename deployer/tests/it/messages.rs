//! MAAS that answers otherwise than it should.

use serde_json::json;

use crate::support::{Answer, HttpServer, World};

const KEY: &str = "consumerconsumer:tokentokentoken:secretsecretsecret";

/// A world whose MAAS answers its version, and all else as the test says.
fn world(answer: Answer) -> (World, HttpServer) {
    let server = HttpServer::start(move |asked| {
        if asked.path().ends_with("/version/") {
            return Answer::json(200, &json!({"version": "3.6.4"}));
        }
        answer.clone()
    });
    let mut world = World::new();
    world.settings["region"] =
        json!({"url": format!("{}/MAAS", server.url()), "statefulset": "maas-region"});
    world.settings["config"] = json!({"ntp_servers": "ntp.example.org"});
    world.secret("secrets/api-key/token", KEY);
    world.hide("secretsecretsecret");
    (world, server)
}

fn fails(answer: Answer, name: &str) -> usize {
    let (world, server) = world(answer);
    world.job(&["configure", "--retries", "1"]).run().failed(1, name);
    server.count("GET", "/maas/")
}

#[test]
fn a_401_never_shows_its_body() {
    // As MAAS does: the body of a wrong signature has the right one.
    let body = "Invalid signature. Expected signature base string: &secretsecretsecret";
    assert_eq!(fails(Answer::text(401, body), "maas-401"), 1);
    let unknown = Answer::text(401, "Authorization Error: Invalid API key.");
    assert_eq!(fails(unknown, "maas-401-unknown"), 1);
}

#[test]
fn clocks_that_differ_are_told() {
    let (world, _server) = world(Answer::With(
        401,
        ("Date", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
        "Expired timestamp: given 1 and now 900 has a greater difference than threshold 300".into(),
    ));
    let run = world.job(&["configure"]).run().expect(1);
    assert!(
        run.stderr.contains("the clock here is") && run.stderr.contains("NTP"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_nonce_that_was_used_is_tried_again_with_another() {
    let (world, server) = world(Answer::text(401, "Nonce already used: x"));
    world.job(&["configure", "--retries", "2"]).run().failed(1, "maas-401-nonce");
    let asked = server.asked();
    let mut nonces: Vec<&str> = asked
        .iter()
        .filter_map(|one| one.header("Authorization"))
        .filter_map(|header| header.split("oauth_nonce=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(nonces.len(), 3);
    nonces.dedup();
    assert_eq!(nonces.len(), 3, "{nonces:?}");
}

#[test]
fn a_403_is_an_answer() {
    assert_eq!(fails(Answer::text(403, ""), "maas-403"), 1);
}

#[test]
fn a_400_names_the_field() {
    let body = json!({"ntp_servers": ["ntp_servers is not a valid config setting (valid settings are: enable_analytics, ntp_external_only)."]});
    assert_eq!(fails(Answer::json(400, &body), "maas-400"), 1);
}

#[test]
fn a_404_names_the_url() {
    assert_eq!(fails(Answer::text(404, "Unknown API endpoint: /MAAS/api/2.0/x."), "maas-404"), 1);
}

#[test]
fn a_500_is_tried_again() {
    assert_eq!(fails(Answer::text(500, "could not connect to server"), "maas-500"), 2);
}

#[test]
fn a_web_page_is_no_answer() {
    assert_eq!(fails(Answer::page(200, "Log in to the network"), "maas-page"), 1);
    assert_eq!(fails(Answer::page(502, "502 Bad Gateway"), "maas-502"), 2);
}

#[test]
fn a_redirect_is_not_followed_with_the_key() {
    let to = HttpServer::start(|_| Answer::json(200, &"[]"));
    let location = format!("{}/MAAS/api/2.0/maas/", to.url());
    let (world, _server) = world(Answer::With(301, ("Location", location), String::new()));
    world.job(&["configure"]).run().failed(1, "maas-redirect");
    assert!(to.asked().is_empty());
}

#[test]
fn an_answer_that_is_no_json_is_told() {
    assert_eq!(fails(Answer::text(200, "true, or so"), "maas-nonsense"), 1);
}

#[test]
fn a_connection_that_is_cut_is_tried_again_where_that_does_no_harm() {
    let (world, server) = world(Answer::Cut);
    let run = world.job(&["configure", "--retries", "2"]).run().expect(1);
    assert!(run.message().contains("no whole answer"), "{}", run.stderr);
    drop(server);
}

#[test]
fn a_key_that_is_none_is_not_shown() {
    let (mut world, _server) = world(Answer::json(200, &"[]"));
    world.secret("secrets/api-key/token", "half:akeythatisnone");
    world.job(&["configure"]).run().failed(1, "key-form");
}

#[test]
fn a_word_that_maas_would_take_for_true_is_refused() {
    let (mut world, _server) = world(Answer::json(200, &"true"));
    world.settings["config"] = json!({"enable_http_proxy": "no"});
    world.job(&["configure"]).run().failed(1, "config-bool");
}

#[test]
fn a_keyring_that_maas_would_take_in_silence_is_refused_before_it_is_sent() {
    let (mut world, server) = world(Answer::json(200, &"[]"));
    world.settings["boot_source"] = json!({"url": "http://mirror/images/", "keyring": true});
    world.settings["images"] = json!({"os": "ubuntu", "release": "noble"});
    world.public("keyring/keyring.gpg", "<html>not found</html>");
    world.job(&["configure"]).run().failed(5, "keyring-garbage");
    world.public("keyring/keyring.gpg", "");
    world.job(&["configure"]).run().failed(5, "keyring-empty");
    world.public("keyring/keyring.gpg", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n");
    world.job(&["configure"]).run().failed(5, "keyring-secret");
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}
