//! Certificate and key: at start, and when the files change.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Serving, World, eventually};
use fixtures::Certificate;
use rustix::process::Signal;

use super::{BOTH, Secured, s_client};

/// Waits until new handshakes are judged good by the authority in `ca.crt`.
fn eventually_trusted(secured: &Secured, serving: &Serving) {
    eventually("the new certificate", || secured.curl(serving, "/healthz", &[]).exit == 0);
}

#[test]
fn a_new_pair_is_taken_up_while_a_download_goes_on() {
    let secured = Secured::large();
    let serving = secured.serving(&[]);
    for version in BOTH {
        let mut slow = secured.halted_download(&serving, version);
        secured.put(&Certificate::generate().expect("certificate"));
        // An authority of its own: the old pair is never trusted by it.
        eventually_trusted(&secured, &serving);
        assert!(slow.runs(), "the download ended too early to show anything");
        assert_eq!(slow.end(), (0, secured.large_item()), "{version}");
    }
    serving.stop();
}

#[test]
fn links_are_swapped_above_the_names() {
    // As mounts of Kubernetes secrets do: tls.crt -> data/tls.crt, data -> one.
    let (secured, _) = Secured::small();
    for name in ["one", "two"] {
        std::fs::create_dir(secured.path(name)).expect("folder");
        let certificate = Certificate::generate().expect("certificate");
        secured.put(&certificate);
        for file in ["tls.crt", "tls.key", "ca.crt"] {
            std::fs::rename(secured.path(file), secured.path(name).join(file)).expect("rename");
        }
    }
    let link = |to: &str, at: PathBuf| std::os::unix::fs::symlink(to, at);
    link("one", secured.path("data")).expect("link");
    for file in ["tls.crt", "tls.key", "ca.crt"] {
        link(&format!("data/{file}"), secured.path(file)).expect("link");
    }
    let serving = secured.serving(&[]);
    link("two", secured.path("data-new")).expect("link");
    std::fs::rename(secured.path("data-new"), secured.path("data")).expect("swap");
    eventually_trusted(&secured, &serving);
    serving.stop();
}

#[test]
fn a_bad_new_pair_leaves_the_old_in_use() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    let complaints = || {
        let said = serving.process().stderr();
        said.matches("cannot be used; the old ones stay in use").count()
    };
    let (new, other) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
    let key = secured.path("tls.key");
    let old = std::fs::read(&key).expect("key");
    // Half written; a stranger's; gone.
    std::fs::write(&key, &new.key_pem.as_bytes()[..100]).expect("write");
    eventually("a complaint", || complaints() == 1);
    assert_eq!(secured.curl(&serving, "/healthz", &[]).exit, 0);
    std::fs::write(&key, &other.key_pem).expect("write");
    eventually("a complaint", || complaints() == 2);
    std::fs::remove_file(&key).expect("remove");
    eventually("a complaint", || complaints() == 3);
    assert_eq!(secured.curl(&serving, "/healthz", &[]).exit, 0);
    // The old pair again, and then a new one: no more complaints.
    std::fs::write(&key, &old).expect("write");
    eventually("the old pair", || {
        serving.process().stderr().contains("a new TLS certificate is in use")
    });
    assert_eq!(secured.curl(&serving, "/healthz", &[]).exit, 0);
    let run = serving.stop();
    assert!(!run.stderr.contains(&new.key_pem[40..90]), "the key is told");
    let told = run.stderr.lines().filter(|line| line.contains("the old ones stay in use")).count();
    assert_eq!(told, 3, "{}", run.stderr);
}

#[test]
fn pairs_that_stop_the_start() {
    let (secured, _) = Secured::small();
    let (cert, key) = (secured.path("tls.crt"), secured.path("tls.key"));
    let good = [std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap()];
    let other = Certificate::generate().expect("certificate");
    let refused = |name: &str| secured.mirror().run().failed(1, name);

    std::fs::write(&key, &other.key_pem).expect("write");
    refused("tls-mismatch");
    std::fs::write(&key, &good[1][..80]).expect("write");
    refused("tls-key-cut");
    std::fs::write(&key, &good[0]).expect("write");
    refused("tls-key-is-a-certificate");
    std::fs::remove_file(&key).expect("remove");
    refused("tls-key-missing");
    std::fs::write(&key, &good[1]).expect("write");
    std::fs::write(&cert, "nothing\n").expect("write");
    refused("tls-cert-is-none");
    std::fs::remove_file(&cert).expect("remove");
    std::fs::create_dir(&cert).expect("folder");
    refused("tls-cert-is-a-folder");
}

#[test]
fn one_of_the_two_options() {
    let (world, _) = World::held();
    for (given, other) in [("--tls-cert", "--tls-key"), ("--tls-key", "--tls-cert")] {
        let run = world.serve().args([given, "x.pem"]).run().expect(64);
        assert!(
            run.stderr.contains(&format!("{given} is given without {other}")),
            "{}",
            run.stderr
        );
    }
    world.serve().env("MAAS_MIRROR_TLS_CERT", "x.pem").run().expect(64);
}

#[test]
fn the_pair_from_file_and_environment() {
    let (secured, _) = Secured::small();
    let config = secured.path("config.toml");
    let text = format!("[serve]\ntls-cert = \"{}\"\n", secured.path("tls.crt").display());
    std::fs::write(&config, text).expect("write");
    let mirror = secured.world.serve().args([Path::new("--config"), &config]);
    let mirror = mirror.args(["--log-format", "json"]);
    let running = mirror.env("MAAS_MIRROR_TLS_KEY", secured.path("tls.key")).spawn();
    eventually("the line", || running.stdout().ends_with('\n'));
    let line: serde_json::Value = serde_json::from_str(&running.stdout()).expect("JSON");
    assert!(line["url"].as_str().expect("url").starts_with("https://127.0.0.1:"), "{line}");
    running.signal(Signal::TERM);
    running.wait().expect(0);
}

#[test]
fn keys_of_every_form() {
    let (secured, _) = Secured::small();
    let (cert, key, first) =
        (secured.path("tls.crt"), secured.path("tls.key"), secured.path("first"));
    let openssl = |args: &[&str], files: &[(&str, &PathBuf)]| {
        let mut command = Command::new("openssl");
        command.args(args);
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        let output = command.output().expect("run openssl (Debian: apt-get install openssl)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let kinds: [(&str, &[&str], &[&str]); 2] = [
        ("BEGIN RSA PRIVATE KEY", &["rsa:2048"], &["rsa", "-traditional"]),
        ("BEGIN EC PRIVATE KEY", &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &["ec"]),
    ];
    for (title, new, convert) in kinds {
        let ask = [
            "req",
            "-x509",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-newkey",
        ];
        openssl(&[&ask, new].concat(), &[("-keyout", &first), ("-out", &cert)]);
        openssl(convert, &[("-in", &first), ("-out", &key)]);
        assert!(std::fs::read_to_string(&key).expect("key").contains(title));
        std::fs::copy(&cert, secured.path("ca.crt")).expect("copy");
        secured.serving(&[]).stop();
    }
}

#[test]
fn a_key_that_everybody_can_read() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    assert!(!serving.stop().stderr.contains("can read the TLS key"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(secured.path("tls.key"), mode).expect("mode");
    let serving = secured.serving(&[]);
    let run = serving.stop();
    assert!(
        run.stderr.contains("every user of this machine can read the TLS key"),
        "{}",
        run.stderr
    );
}

#[test]
fn sessions_are_resumed_until_the_pair_changes() {
    let (secured, _) = Secured::small();
    let serving = secured.serving(&[]);
    let session = secured.path("session");
    let session = session.to_str().expect("path");
    let shake = |args: &[&str]| {
        let mut client = s_client(&serving, &[&["-tls1_2"], args].concat());
        drop(client.stdin.take());
        let mut text = String::new();
        client.stdout.take().expect("stdout").read_to_string(&mut text).expect("text");
        client.wait().expect("openssl");
        text
    };
    assert!(shake(&["-sess_out", session]).contains("New, TLSv1.2"));
    assert!(shake(&["-sess_in", session]).contains("Reused, TLSv1.2"));
    secured.put(&Certificate::generate().expect("certificate"));
    eventually_trusted(&secured, &serving);
    assert!(shake(&["-sess_in", session]).contains("New, TLSv1.2"));
    serving.stop();
}
