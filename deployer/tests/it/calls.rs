//! Every call that jobs make of MAAS, answered in every wrong way: exit code, cause, next step.
//!
//! MAAS here is a list of answers: the same each time, and such that a job makes all of its calls.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::{Value, json};

use fixtures::{Certificate, Postgres};

use crate::kubernetes::quiet;
use crate::region::{self, sql};
use crate::support::{Answer, ApiServer, HttpServer, World};
use crate::tls;

/// The secret of the key that jobs have, and the one that MAAS has: a 401 tells it.
const OURS: &str = "secretsecretsecret";
const MAASS: &str = "theonethatmaashas";

/// What MAAS answers where all is well.
fn well(call: &str, query: &str, looks: &AtomicUsize) -> Answer {
    let json = |value: &Value| Answer::json(200, value);
    let selection = |id: u64, release: &str, arch: &str| {
        json!({"id": id, "os": "ubuntu", "release": release, "arches": [arch],
            "subarches": ["*"], "labels": ["*"]})
    };
    let stock = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg";
    let source = |id: u64, url: &str| json!({"id": id, "url": url, "keyring_filename": stock});
    let image = json!({"id": 1, "name": "ubuntu/noble", "architecture": "amd64/ga-24.04",
        "sets": {"20260101": {"complete": true, "size": 10, "files":
            {"squashfs": {"size": 10, "complete": true}}}}});
    match call {
        "GET version/" => json(&json!({"version": "3.6.4"})),
        "POST accounts/authenticate/" => {
            json(&json!({"consumer_key": "c", "token_key": "t", "token_secret": OURS}))
        }
        "GET users/?op=whoami" => json(&json!({"username": "admin", "is_superuser": true})),
        "GET maas/?op=get_config" if query.contains("enable_") => json(&json!(true)),
        "GET maas/?op=get_config" => json(&json!("another")),
        "POST maas/?op=set_config" => Answer::text(200, "OK"),
        "GET boot-sources/" => json(&json!([source(1, "http://old.example.org/")])),
        "POST boot-sources/" => Answer::json(201, &source(2, "http://mirror.example.org/")),
        "GET boot-sources/1/selections/" => json(&json!([selection(8, "old", "amd64")])),
        "GET boot-sources/2/selections/" => {
            json(&json!([selection(3, "jammy", "arm64"), selection(4, "old", "amd64")]))
        }
        "POST boot-sources/2/selections/" => json(&selection(5, "noble", "amd64")),
        "PUT boot-sources/2/selections/3/" => json(&selection(3, "jammy", "amd64")),
        "DELETE boot-sources/1/"
        | "DELETE boot-sources/2/selections/4/"
        | "DELETE boot-sources/1/selections/8/" => Answer::text(204, ""),
        "GET boot-resources/" => json(&json!([image])),
        "GET boot-resources/1/" => json(&image),
        "POST boot-resources/?op=import" => Answer::text(200, "Import started"),
        // An import that begins, and ends at once.
        "GET boot-resources/?op=is_importing" => {
            json(&json!(looks.fetch_add(1, Ordering::SeqCst) == 0))
        }
        "GET regioncontrollers/" => json(&json!([])),
        "GET rackcontrollers/" => json(&json!([{"system_id": "a", "hostname": "rack-1",
            "service_set": [{"name": "rackd", "status": "running"}]}])),
        other => Answer::text(404, format!("Unknown API endpoint: {other}")),
    }
}

/// The wrong answers.
fn wrong() -> Vec<(&'static str, Answer)> {
    let told = format!("Invalid signature. Expected signature base string: &{MAASS}");
    vec![
        ("400", Answer::json(400, &json!({"name": ["This is wrong."]}))),
        ("401", Answer::text(401, told)),
        ("403", Answer::text(403, "You are not allowed to do that.")),
        ("404", Answer::text(404, "Not Found")),
        ("409", Answer::page(409, "Conflict")),
        ("429", Answer::text(429, "Too Many Requests")),
        ("500", Answer::text(500, "relation does not exist")),
        ("502 page", Answer::page(502, "502 Bad Gateway")),
        ("200 page", Answer::page(200, "Log in to the network")),
        (
            "redirect",
            Answer::With(302, ("Location", "http://portal.example.org/".into()), "".into()),
        ),
        ("no JSON", Answer::text(200, "well, yes")),
        ("cut", Answer::Cut),
    ]
}

/// A job with what it needs, and MAAS; one of its calls may be spoilt.
struct Scene {
    world: World,
    maas: HttpServer,
    _cluster: Option<ApiServer>,
    is_spoilt: Arc<AtomicBool>,
}

/// The name of a database in which MAAS has a certificate; made once for all scenes.
static WITH_TLS: LazyLock<&str> = LazyLock::new(|| {
    let name = "calls_tls";
    drop(region::world(name));
    let held = r#"INSERT INTO maasserver_secret (created, updated, path, value)
        VALUES (now(), now(), 'global/tls', '{"cert": "one", "key": "two"}')"#;
    sql(name, held);
    name
});

/// A world with the programs that jobs run, which do nothing, and write down how they were called.
fn world_of(job: &str) -> World {
    let mut world = World::new();
    if job == "disable-tls" {
        world.use_server(Postgres::shared().expect("PostgreSQL"), *WITH_TLS);
        world.public("secrets/db-user/DATABASE_USERNAME", *WITH_TLS);
    }
    noting_programs(&world);
    world
}

fn noting_programs(world: &World) {
    let log = world.path("programs.log").display().to_string();
    for program in ["maas-region", "maas-rack"] {
        world.program(program, &format!("cat >/dev/null; echo \"{program} $1 $2\" >>'{log}'"));
    }
}

/// The programs that a job ran, each with what it was to do.
fn programs(world: &World) -> Vec<String> {
    let log = std::fs::read_to_string(world.path("programs.log")).unwrap_or_default();
    let words = |line: &str| -> String {
        let words = line.split(' ').take_while(|word| !word.starts_with('-'));
        words.collect::<Vec<_>>().join(" ")
    };
    log.lines().map(words).collect()
}

fn scene(job: &str, spoilt: Option<(&str, Answer)>) -> Scene {
    let looks = AtomicUsize::new(0);
    let is_spoilt = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_spoilt);
    let spoilt = spoilt.map(|(call, answer)| (call.to_owned(), answer));
    let maas = HttpServer::start(move |asked| match &spoilt {
        Some((call, answer)) if *call == asked.call() => {
            seen.store(true, Ordering::SeqCst);
            answer.clone()
        }
        _ => well(&asked.call(), asked.query(), &looks),
    });
    let mut world = world_of(job);
    world.settings["region"] = json!({"url": format!("{}/MAAS", maas.url()),
        "maas_url": "http://maas.example.org/MAAS", "statefulset": "maas-region"});
    world.settings["config"] = json!({"ntp_servers": "ntp.example.org", "enable_x": false});
    world.settings["images"] = json!({"os": "ubuntu", "release": "noble", "kernel": ""});
    if job == "configure" {
        world.settings["images"]["releases"] = json!(["jammy", "noble"]);
        let stock = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg";
        world.settings["boot_source"] =
            json!({"url": "http://mirror.example.org/", "keyring_filename": stock});
    }
    world.settings["secrets"] = json!({"api_key": {"name": "maas-api-key", "namespace": "maas"}});
    world.secret("secrets/api-key/token", &format!("c:t:{OURS}"));
    world.hide(OURS);
    world.hide(MAASS);
    let cluster = (job == "export-api-key").then(|| ApiServer::start(&mut world, quiet));
    Scene { world, maas, _cluster: cluster, is_spoilt }
}

fn args(job: &str, world: &World) -> Vec<String> {
    let mut args: Vec<String> = job.split(' ').map(str::to_owned).collect();
    if job == "register-rack" {
        for (option, path) in
            [("--state", "root/var/lib/maas"), ("--configuration", "root/etc/maas/rackd.conf")]
        {
            args.extend([option.to_owned(), world.path(path).display().to_string()]);
        }
    }
    // Long enough for a busy machine; an import is looked at twice.
    let timeout = if job == "import-images" { "20s" } else { "6s" };
    args.extend(["--retries", "0", "--timeout", timeout].map(str::to_owned));
    args
}

/// The calls that a job makes where all is well, each once, in their order; and what it runs.
fn calls(job: &str) -> (Vec<String>, Vec<String>) {
    let scene = scene(job, None);
    let args = args(job, &scene.world);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    scene.world.job(&args[..args.len() - 2]).run().expect(0);
    let mut known = BTreeSet::new();
    let asked = scene.maas.asked().into_iter().map(|asked| asked.call());
    (asked.filter(|call| known.insert(call.clone())).collect(), programs(&scene.world))
}

/// The same of enable-tls, whose MAAS serves TLS.
fn calls_of_enable_tls() -> (Vec<String>, Vec<String>) {
    let mut world = region::world("calls_enable_tls");
    noting_programs(&world);
    let certificate = Certificate::generate().expect("certificate");
    tls::mount(&mut world, &certificate);
    let (port, serving) = tls::one_answer(&certificate);
    world.settings["region"]["url"] = json!(format!("https://127.0.0.1:{port}/MAAS"));
    world.settings["tls"] = json!({"enabled": true, "port": port});
    world.job(&["enable-tls", "--timeout", "60s"]).run().expect(0);
    let (_, head) = serving.join().expect("answer");
    let (call, _) = head.split_once(" HTTP/").expect("head");
    (vec![call.replace("/MAAS/api/2.0/", "")], programs(&world))
}

const JOBS: [&str; 7] = [
    "wait api",
    "register-rack",
    "disable-tls",
    "configure",
    "import-images",
    "export-api-key",
    "test",
];

/// A row of the page's table: numbers of sources, selections and resources are `ID`.
fn row(job: &str, (calls, programs): (Vec<String>, Vec<String>)) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let general = |call: &String| {
        let parts = call.split('/').map(|part| if is_number(part) { "ID" } else { part });
        format!("`{}`", parts.collect::<Vec<_>>().join("/"))
    };
    let mut known = BTreeSet::new();
    let calls = calls.iter().map(general).filter(|call| known.insert(call.clone()));
    let calls: Vec<String> = calls.collect();
    let programs: Vec<String> = programs.iter().map(|one| format!("`{one}`")).collect();
    let row = format!("| `{job}` | {} | {} |", calls.join(", "), programs.join(", "));
    row.replace("|  |", "| |")
}

#[test]
fn the_page_has_the_calls_and_programs_of_each_job() {
    let page = include_str!("../../../docs/deployer-jobs.md");
    let mut rows: Vec<String> = JOBS.iter().map(|job| row(job, calls(job))).collect();
    rows.push(row("enable-tls", calls_of_enable_tls()));
    let missing: Vec<&String> =
        rows.iter().filter(|row| !page.lines().any(|line| line == *row)).collect();
    assert!(missing.is_empty(), "docs/deployer-jobs.md lacks the rows {missing:#?}");
}

/// What came of it: the exit code, the last cause or the first detail, and the next step.
fn outcome(job: &str, call: &str, answer: &Answer) -> String {
    let scene = scene(job, Some((call, answer.clone())));
    let args = args(job, &scene.world);
    let run = scene.world.job(&args.iter().map(String::as_str).collect::<Vec<_>>()).run();
    assert!(scene.is_spoilt.load(Ordering::SeqCst), "{job} did not make {call}");
    let whole = format!("{}\n{}", run.stdout, run.stderr);
    assert!(!whole.contains("panicked"), "{job}, {call}: {whole}");
    if run.code == 0 {
        let mut notes = run.stdout.lines().filter(|line| line.contains("stays for now"));
        let note = notes.next_back().map(|line| format!(": {line}")).unwrap_or_default();
        return format!("0  done{note}");
    }
    let message = run.message();
    let lines: Vec<&str> = message.lines().collect();
    let cause = lines.iter().rev().find(|line| line.starts_with("  because "));
    let hint = lines.iter().find(|line| line.starts_with("hint: "));
    let (Some(cause), Some(hint)) = (cause, hint) else { panic!("{job}, {call}: {message}") };
    let details = lines.iter().filter(|line| line.starts_with("  - ")).map(|line| line.trim());
    let details: Vec<&str> = details.collect();
    let cause = cause.trim_start_matches("  because ");
    let mut text = format!("{}  {cause}", run.code);
    if !details.is_empty() {
        let _ = write!(text, " {}", details.join(" "));
    }
    let _ = write!(text, "\n              {hint}");
    text
}

#[test]
fn every_call_that_goes_wrong_is_told() {
    let mut cases = Vec::new();
    for job in JOBS {
        for call in calls(job).0 {
            cases.extend(
                wrong().into_iter().map(|(name, answer)| (job, call.clone(), name, answer)),
            );
        }
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, String)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some((job, call, _, answer)) = cases.get(at) else { break };
                    let outcome = outcome(job, call, answer);
                    done.lock().unwrap().push((at, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    assert_eq!(done.len(), cases.len(), "a case failed");
    done.sort();
    let mut table = String::new();
    let mut head = String::new();
    for ((job, call, name, _), (_, outcome)) in cases.iter().zip(done) {
        let this = format!("{job}: {call}");
        if this != head {
            let _ = writeln!(table, "{}{this}", if head.is_empty() { "" } else { "\n" });
            head = this;
        }
        let _ = writeln!(table, "  {name:<9} {outcome}");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/calls.txt");
    if std::env::var_os("E2E_BLESS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    for (at, (found, kept)) in table.lines().zip(kept.lines()).enumerate() {
        assert_eq!(found, kept, "calls.txt, line {}", at + 1);
    }
    assert_eq!(table.lines().count(), kept.lines().count(), "calls.txt");
}
