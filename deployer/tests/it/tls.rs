//! TLS of MAAS's API: enable-tls, disable-tls, and what the other jobs make of both.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use fixtures::Certificate;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::region::{spied, sql, world};
use crate::support::{Maas, World, eventually};

/// Mounts the certificate's Secret as a private authority's: all three files.
pub(crate) fn mount(world: &mut World, certificate: &Certificate) {
    world.public("maas-tls/tls.crt", &certificate.cert_pem);
    world.secret("maas-tls/tls.key", certificate.key_pem.trim());
    world.public("maas-tls/ca.crt", &certificate.ca_pem);
}

/// Settings of a chart that wants TLS, on a port that is free.
fn want_tls(world: &mut World) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    world.settings["tls"] = json!({"enabled": true, "port": port});
}

/// What was run, an argument list a line.
fn argv(world: &World) -> String {
    std::fs::read_to_string(world.path("argv.log")).unwrap_or_default()
}

#[test]
fn tls_is_enabled_once_and_then_used() {
    let mut world = world("tls_once");
    spied(&world);
    mount(&mut world, &Certificate::generate().unwrap());
    want_tls(&mut world);
    let maas = Maas::with_key(&mut world, &[]);
    world.job(&["wait", "api", "--timeout", "30s"]).run().expect(0);
    world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    assert!(argv(&world).contains("--cacert"), "{}", argv(&world));
    world.job(&["enable-tls"]).run().expect(0).unchanged();
    // Jobs reach it over TLS, by the CA that is mounted; the plain port does no more.
    world.settings["config"] = json!({"enable_analytics": false});
    world.job(&["configure"]).run().expect(0);
    world.job(&["wait", "api", "--timeout", "30s"]).run().expect(0);
    world.job(&["probe", "region", "--url", &maas.url]).run().expect(0);
    world.job(&["probe", "region", "--live", "--url", &maas.url]).run().expect(0);
    // Another CA: not trusted, unless that is asked for.
    world.public("maas-tls/ca.crt", Certificate::generate().unwrap().ca_pem);
    let run = world.job(&["configure", "--timeout", "5s"]).run().expect(1);
    assert!(run.message().contains("certificate"), "{}", run.stderr);
    world.settings["tls"]["insecure"] = json!(true);
    world.job(&["configure"]).run().expect(0);
}

#[test]
fn a_renewed_certificate_is_given_to_maas() {
    let mut world = world("tls_renewed");
    mount(&mut world, &Certificate::generate().unwrap());
    want_tls(&mut world);
    let _maas = Maas::with_key(&mut world, &[]);
    world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    // Of another authority, so that what is served now is the new one for sure.
    mount(&mut world, &Certificate::generate().unwrap());
    world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    world.settings["config"] = json!({"enable_analytics": false});
    world.job(&["configure"]).run().expect(0);
    world.job(&["enable-tls"]).run().expect(0).unchanged();
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let mut world = world("tls_pair");
    let (one, two) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
    world.public("maas-tls/tls.crt", &one.cert_pem);
    world.secret("maas-tls/tls.key", two.key_pem.trim());
    world.settings["tls"] = json!({"enabled": true});
    world.job(&["enable-tls"]).run().failed(5, "enable-tls-pair");
    std::fs::remove_file(world.path("etc/maas-tls/tls.key")).unwrap();
    world.job(&["enable-tls"]).run().failed(5, "enable-tls-no-key");
}

#[test]
fn tls_is_switched_off_again() {
    let mut world = world("tls_off");
    spied(&world);
    mount(&mut world, &Certificate::generate().unwrap());
    want_tls(&mut world);
    let maas = Maas::with_key(&mut world, &[]);
    world.job(&["disable-tls"]).run().expect(0).unchanged();
    assert!(!argv(&world).contains("config_tls"), "{}", argv(&world));
    world.job(&["enable-tls"]).run().expect(0);

    // The chart wants none any more. Until disable-tls has run, the others wait, and say for what.
    world.settings.as_object_mut().unwrap().remove("tls");
    world.settings["config"] = json!({"enable_analytics": false});
    for (args, name) in [
        (&["wait", "api", "--timeout", "3s"][..], "wait-api-still-tls"),
        (&["configure", "--timeout", "3s"], "configure-still-tls"),
        (&["register-rack", "--timeout", "3s"], "register-rack-still-tls"),
    ] {
        world.job(args).run().failed(1, name);
    }
    world.job(&["probe", "region", "--url", &maas.url]).run().expect(0);
    let waiting = world.job(&["wait", "api", "--timeout", "2m"]).spawn();
    let configure = world.job(&["configure", "--timeout", "2m"]).spawn();
    for running in [&waiting, &configure] {
        eventually("the job to wait", || running.stderr().contains("job disable-tls"));
    }
    world.job(&["disable-tls"]).run().expect(0).changed("switched TLS off");
    waiting.wait().expect(0);
    configure.wait().expect(0);
    assert!(argv(&world).lines().any(|line| line == "config_tls disable"), "{}", argv(&world));

    // And it is off: by the plain port, for people, probes, racks and the next run.
    assert_eq!(maas.get(&world, "version/")["version"], "3.6.4");
    let held = "SELECT count(*) FROM maasserver_secret WHERE path = 'global/tls'";
    assert_eq!(sql("tls_off", held), "0");
    world.job(&["disable-tls"]).run().expect(0).unchanged();
    world.job(&["probe", "region", "--url", &maas.url]).run().expect(0);
    let (state, conf) = (world.path("root/var/lib/maas"), world.path("root/etc/maas/rackd.conf"));
    let places = ["--state", state.to_str().unwrap(), "--configuration", conf.to_str().unwrap()];
    world.job(&[&["register-rack"], &places[..]].concat()).run().expect(0);

    // And on again.
    want_tls(&mut world);
    world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    world.job(&["configure"]).run().expect(0);
}

#[test]
fn a_certificate_in_vault_is_seen_by_its_port() {
    let mut world = world("tls_vault");
    spied(&world);
    let _maas = Maas::start(&mut world, &[]);
    // As MAAS's own table; the stand-in has no such.
    let table = "CREATE TABLE maasserver_config (name text, value jsonb); \
        INSERT INTO maasserver_config VALUES ('tls_port', '5443'); \
        GRANT SELECT ON maasserver_config TO public";
    sql("tls_vault", table);
    world.job(&["disable-tls"]).run().expect(0).changed("switched TLS off");
    assert!(argv(&world).contains("config_tls disable"), "{}", argv(&world));
    sql("tls_vault", "UPDATE maasserver_config SET value = 'null'");
    world.job(&["disable-tls"]).run().expect(0).unchanged();
}

#[test]
fn a_command_that_fails_leaves_tls_on_and_says_why() {
    let mut world = world("tls_stays");
    mount(&mut world, &Certificate::generate().unwrap());
    want_tls(&mut world);
    let _maas = Maas::start(&mut world, &[]);
    world.job(&["enable-tls"]).run().expect(0);
    let tls = world.settings["tls"].take();
    world.settings.as_object_mut().unwrap().remove("tls");
    world.program("maas-region", "echo 'CommandError: no' >&2; exit 1");
    world.job(&["disable-tls"]).run().failed(1, "disable-tls-fails");
    // MAAS has it still, and the next run switches it off.
    world.settings["tls"] = tls;
    world.job(&["wait", "api", "--timeout", "30s"]).run().expect(0);
    world.settings.as_object_mut().unwrap().remove("tls");
    world.stand_in();
    world.job(&["disable-tls"]).run().expect(0).changed("switched TLS off");
}

#[test]
fn a_public_authoritys_certificate_needs_no_ca_file() {
    let mut world = world("tls_public");
    spied(&world);
    let certificate = Certificate::generate().unwrap();
    mount(&mut world, &certificate);
    std::fs::remove_file(world.path("etc/maas-tls/ca.crt")).unwrap();
    want_tls(&mut world);
    let _maas = Maas::with_key(&mut world, &[]);
    // A private one without its file is refused before MAAS has it.
    let run = world.job(&["enable-tls"]).run().failed(5, "enable-tls-unknown-ca");
    assert!(!argv(&world).contains("config_tls"), "{}", run.stderr);
    // An authority that the system trusts.
    std::fs::write(world.path("roots.pem"), &certificate.ca_pem).unwrap();
    world.env("SSL_CERT_FILE", world.path("roots.pem"));
    world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    assert!(argv(&world).contains("config_tls enable"), "{}", argv(&world));
    assert!(!argv(&world).contains("--cacert"), "{}", argv(&world));
    world.settings["config"] = json!({"enable_analytics": false});
    world.job(&["configure"]).run().expect(0);
    // cert-manager may leave the file there, empty.
    world.public("maas-tls/ca.crt", "\n");
    world.job(&["enable-tls"]).run().expect(0).unchanged();
    world.job(&["configure"]).run().expect(0);
}

#[test]
fn an_authority_that_comes_late_is_taken_up() {
    let mut world = world("tls_late");
    let certificate = Certificate::generate().unwrap();
    mount(&mut world, &certificate);
    want_tls(&mut world);
    let _maas = Maas::with_key(&mut world, &[]);
    world.job(&["enable-tls"]).run().expect(0);
    std::fs::remove_file(world.path("etc/maas-tls/ca.crt")).unwrap();
    world.settings["config"] = json!({"enable_analytics": false});
    let configure = world.job(&["configure", "--timeout", "2m"]).spawn();
    eventually("the job to wait", || configure.stderr().contains("certificate"));
    world.public("maas-tls/ca.crt", &certificate.ca_pem);
    configure.wait().expect(0);
}

#[test]
fn jobs_verify_the_name_that_the_chart_says() {
    let mut world = world("tls_name");
    mount(&mut world, &Certificate::for_names(&["maas.example.org"]).unwrap());
    want_tls(&mut world);
    let _maas = Maas::with_key(&mut world, &[]);
    // Without it, the host's that they connect to: nothing was given to MAAS.
    world.job(&["enable-tls"]).run().failed(5, "enable-tls-other-name");
    let held = "SELECT count(*) FROM maasserver_secret WHERE path = 'global/tls'";
    assert_eq!(sql("tls_name", held), "0");
    world.settings["tls"]["server_name"] = json!("maas.example.org");
    world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    world.settings["config"] = json!({"enable_analytics": false});
    world.job(&["configure"]).run().expect(0);
    world.job(&["wait", "api", "--timeout", "30s"]).run().expect(0);
    // Another name is not the certificate's.
    world.settings["tls"]["server_name"] = json!("other.example.org");
    let run = world.job(&["configure", "--timeout", "3s"]).run().expect(1);
    assert!(run.message().contains(" as other.example.org;"), "{}", run.stderr);
    let wrong = "certificate not valid for name \"other.example.org\"";
    assert!(run.message().contains(wrong), "{}", run.stderr);
    world.settings["tls"]["server_name"] = json!("192.0.2.1");
    world.job(&["configure", "--timeout", "3s"]).run().failed(1, "maas-name-is-an-address");
}

/// A TLS server that answers one request as MAAS's version; it gives the name of the handshake and
/// the request's head.
pub(crate) fn one_answer(certificate: &Certificate) -> (u16, JoinHandle<(String, String)>) {
    let chain = CertificateDer::pem_slice_iter(certificate.cert_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let body = r#"{"version": "3.6.4"}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        let name = stream.conn.server_name().unwrap_or_default().to_owned();
        (name, String::from_utf8(head).unwrap())
    });
    (port, serving)
}

#[test]
fn the_name_is_sent_and_the_service_is_connected_to() {
    let mut world = World::new();
    let certificate = Certificate::for_names(&["maas.example.org"]).unwrap();
    mount(&mut world, &certificate);
    let (port, serving) = one_answer(&certificate);
    world.settings["region"] = json!({"url": format!("https://localhost:{port}/MAAS")});
    world.settings["tls"] = json!({"enabled": true, "server_name": "maas.example.org"});
    world.job(&["wait", "api", "--timeout", "30s"]).run().expect(0);
    let (name, head) = serving.join().unwrap();
    assert_eq!(name, "maas.example.org");
    let host = format!("\r\nhost: maas.example.org:{port}\r\n");
    assert!(head.to_lowercase().contains(&host), "{head}");
}

#[test]
fn a_certificate_whose_time_is_over_is_told() {
    let mut world = world("tls_expired");
    let expired = Certificate::expired().unwrap();
    mount(&mut world, &expired);
    want_tls(&mut world);
    // Before MAAS has it.
    world.job(&["enable-tls"]).run().failed(5, "enable-tls-expired");
    // And where MAAS, or what stands before it, serves one.
    let (port, _serving) = one_answer(&expired);
    world.settings["region"]["url"] = json!(format!("https://127.0.0.1:{port}/MAAS"));
    let run = world.job(&["wait", "api", "--timeout", "2s"]).run().expect(1);
    assert!(run.stderr.contains("certificate expired"), "{}", run.stderr);
}

#[test]
fn an_import_outlives_a_certificate_of_another_authority() {
    let mut site = crate::images::site("tls_rotated");
    mount(&mut site.world, &Certificate::generate().unwrap());
    want_tls(&mut site.world);
    site.world.job(&["enable-tls"]).run().expect(0);
    site.world.job(&["configure"]).run().expect(0);
    let held = fixtures::Gate::new();
    site.upstream.fault(fixtures::Fault::on("squashfs").hold_after(1000, &held));
    let running = site.world.job(&["import-images", "--retries", "0"]).spawn();
    eventually("the import to begin", || running.stderr().contains("asked MAAS to import"));
    mount(&mut site.world, &Certificate::generate().unwrap());
    site.world.job(&["enable-tls"]).run().expect(0).changed("gave MAAS the certificate");
    eventually("it to meet the new one", || running.stderr().contains("cannot ask MAAS"));
    held.open();
    running.wait().expect(0).changed("imported ubuntu/xenial amd64");
}
