//! What all jobs have in common: settings, signals, outputs; and the small ones.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Answer, HttpServer, Job, World, eventually};

#[test]
fn settings_come_from_the_file_then_the_environment_then_beside_the_program() {
    let world = World::new();
    let file = world.path("settings.json");
    std::fs::write(&file, r#"{"mirror": {"url": "http://127.0.0.1:1"}}"#).unwrap();
    let file = file.to_str().unwrap();
    // The environment has no mirror; the file wins.
    let run = world.job(&["wait", "mirror", "--timeout", "1s", "--settings", file]).run().expect(1);
    assert!(run.stderr.contains("http://127.0.0.1:1"), "{}", run.stderr);
    world.job(&["wait", "mirror", "--timeout", "1s"]).run().failed(64, "no-section");
    // install-self puts both beside each other.
    let place = world.path("opt");
    world.job(&["install-self", place.to_str().unwrap()]).run().expect(0).changed("maas-deployer");
    let copy = place.join("maas-deployer");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o755);
    let output = std::process::Command::new(&copy)
        .args(["job", "wait", "api", "--timeout", "1s"])
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("no section 'region'") && said.contains("opt/settings.json"), "{said}");
}

#[test]
fn settings_that_nobody_understands_are_a_usage_error() {
    let world = World::new();
    world
        .job(&["db-init"])
        .env("MAAS_DEPLOYER_SETTINGS", r#"{"database": {"host": "x", "name": "y", "prot": 1}}"#)
        .run()
        .failed(64, "settings-unknown-key");
    world.job(&["db-init", "--settings", "/nonexistent"]).run().failed(64, "settings-no-file");
    world.job(&["db-init"]).without("MAAS_DEPLOYER_SETTINGS").run().failed(64, "settings-none");
}

#[test]
fn a_target_that_is_none_is_a_usage_error() {
    let run = World::new().job(&["wait", "databse"]).run().expect(64);
    assert!(run.stderr.contains("database-admin, schema"), "{}", run.stderr);
}

#[test]
fn sigterm_ends_a_wait_at_once() {
    let world = World::new();
    let mut running = world.job(&["wait", "tcp/127.0.0.1:1", "--timeout", "10m"]).spawn();
    eventually("the wait to say what for", || running.stderr().contains("a server at 127.0.0.1:1"));
    assert!(!running.ended());
    running.signal(Signal::TERM);
    let run = running.wait().expect(143);
    assert!(run.stderr.contains("interrupted: run the job wait again"), "{}", run.stderr);
}

#[test]
fn a_wait_goes_on_when_what_it_waits_for_comes() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::new();
    let running = world.job(&["wait", &format!("tcp/{port}"), "--timeout", "1m"]).spawn();
    eventually("it to wait", || running.stderr().contains("Connection refused"));
    let _listener = std::net::TcpListener::bind(port).unwrap();
    let run = running.wait().expect(0);
    assert!(run.stdout.contains("ready: tcp/"), "{}", run.stdout);
}

#[test]
fn a_wait_says_each_new_reason_once() {
    let world = World::new();
    let file = world.path("state");
    std::fs::write(&file, "503 first sync: 1 of 9").unwrap();
    let read = file.clone();
    let server = HttpServer::start(move |_| {
        let text = std::fs::read_to_string(&read).unwrap();
        let (status, body) = text.split_once(' ').unwrap();
        Answer::text(status.parse().unwrap(), body)
    });
    let settings = json!({"mirror": {"url": server.url()}}).to_string();
    let job = world.job(&["wait", "mirror", "--timeout", "1m"]);
    let running = job.env("MAAS_DEPLOYER_SETTINGS", settings).spawn();
    eventually("the first reason", || running.stderr().contains("1 of 9"));
    eventually("some more looks", || server.count("GET", "/readyz") > 3);
    std::fs::write(&file, "503 first sync: 2 of 9").unwrap();
    eventually("the second reason", || running.stderr().contains("2 of 9"));
    std::fs::write(&file, "200 ok").unwrap();
    let run = running.wait().expect(0);
    assert_eq!(run.stderr.matches("1 of 9").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("after_s="), "{}", run.stderr);
}

#[test]
fn a_wait_that_is_over_says_why() {
    let world = World::new();
    world.job(&["wait", "tcp/127.0.0.1:1", "--timeout", "1s"]).run().expect(1);
    let settings = json!({"mirror": {"url": "http://127.0.0.1:1"}}).to_string();
    let job = world.job(&["wait", "mirror", "--timeout", "1s"]);
    job.env("MAAS_DEPLOYER_SETTINGS", settings).run().failed(1, "wait-mirror");
}

#[test]
fn json_is_one_object_on_stdout() {
    let world = World::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("tcp/{}", listener.local_addr().unwrap());
    let run = world.job(&["wait", &target, "-o", "json", "--log-format", "json"]).run().expect(0);
    assert_eq!(run.json()["schema"], "maas-deployer/job/1");
    assert_eq!(run.json()["changed"], false);
    let job = world.job(&["wait", "mirror", "-o", "json"]);
    let run = job.env("MAAS_DEPLOYER_SETTINGS", "{}").run().expect(64);
    assert_eq!(run.json()["exit_code"], 64);
    let job = world.job(&["wait", "tcp/127.0.0.1:1", "--timeout", "1s", "--log-format", "json"]);
    let run = job.run().expect(1);
    let first = run.stderr.lines().next().unwrap();
    let log: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!((&log["message"], &log["level"]), (&json!("waiting"), &json!("INFO")), "{log}");
    assert_eq!(log["what"], "a server at 127.0.0.1:1");
}

#[test]
fn help_and_version_are_no_errors() {
    assert!(Job::verb(&["--version"]).run().expect(0).stdout.starts_with("maas-deployer "));
    let help = Job::new(&["--help"]).run().expect(0).stdout;
    for job in ["install-self", "db-sync", "import-images", "register-rack", "probe", "test"] {
        assert!(help.contains(job), "{help}");
    }
    Job::verb(&[]).run().expect(64);
}

#[test]
fn a_probe_needs_no_settings_and_is_quick() {
    let server = HttpServer::start(|_| {
        Answer::json(200, &json!({"version": "3.6.4", "subversion": "", "capabilities": []}))
    });
    let url = format!("{}/MAAS", server.url());
    let probe = |url: &str, args: &[&str]| {
        let args = [&["probe", "region", "--url", url], args].concat();
        // Wrong settings are not read either.
        Job::new(&args).env("MAAS_DEPLOYER_SETTINGS", "{").run()
    };
    probe(&url, &[]).expect(0);
    probe(&url, &["--live"]).expect(0);
    // Nothing answers: neither ready nor alive.
    probe("http://127.0.0.1:1/MAAS", &[]).failed(1, "probe-nothing");
    probe("http://127.0.0.1:1/MAAS", &["--live"]).expect(1);
}

#[test]
fn a_region_without_its_database_is_not_ready_and_lives() {
    for answer in [Answer::text(500, "database is down"), Answer::page(502, "502 Bad Gateway")] {
        let server = HttpServer::start(move |_| answer.clone());
        let url = format!("{}/MAAS", server.url());
        Job::new(&["probe", "region", "--url", &url]).run().expect(1);
        Job::new(&["probe", "region", "--live", "--url", &url]).run().expect(0);
    }
}

#[test]
fn a_region_that_does_not_answer_is_alive() {
    // Connections are accepted, by the system, and nothing is ever said.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/MAAS", silent.local_addr().unwrap());
    let world = World::new();
    world.job(&["probe", "region", "--live", "--url", &url]).run().expect(0);
    // So is one that cuts them.
    let cutting = HttpServer::start(|_| Answer::Cut);
    let cut = format!("{}/MAAS", cutting.url());
    world.job(&["probe", "region", "--live", "--url", &cut]).run().expect(0);
    world.job(&["probe", "region", "--url", &cut]).run().expect(1);
    // Where nothing listens, it is not.
    let nobody = "http://127.0.0.1:1/MAAS";
    world
        .job(&["probe", "region", "--live", "--url", nobody])
        .run()
        .failed(1, "probe-live-nothing");
}

#[test]
fn a_rack_is_not_ready_before_it_is_registered() {
    World::new().job(&["probe", "rack"]).run().failed(1, "probe-rack");
}

#[test]
fn systemd_that_answers_is_alive() {
    let world = World::new();
    for (state, code, alive) in
        [("running", 0, true), ("degraded", 1, true), ("starting", 1, true), ("offline", 1, false)]
    {
        world.program("systemctl", &format!("echo {state}; exit {code}"));
        let run = world.job(&["probe", "--live"]).run();
        assert_eq!(run.code == 0, alive, "{state}: {}", run.stderr);
    }
}
