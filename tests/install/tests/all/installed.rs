//! What stands after an install.

use e2e::sha256;
use install_tests::{Forward, Maas, Release, Tool, Use, eventually};
use serde_json::Value;

/// The Xenial item that every machine gets.
pub(crate) const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

/// Far above what the deployer is to have, 64 MB: other builds hold other amounts.
const MEMORY_MB: f64 = 160.0;

/// Says what a run of the deployer took.
#[track_caller]
pub(crate) fn figure(what: &str, used: Use) {
    let seconds = used.wall.as_secs_f64();
    println!("== figure: {what}: {seconds:.1} s, {:.0} MB resident at its peak", used.peak_mb);
    assert!(used.peak_mb > 0.0 && used.peak_mb < MEMORY_MB, "{} MB", used.peak_mb);
}

pub(crate) fn install(release: &Release) {
    let said = release.looked("check", &["--pre"]).expect("maas-deployer check --pre");
    assert!(!said.contains("FAIL"), "{said}");
    let (output, used) = release.applied(Tool::Deployer, "install", &[]);
    let said = output.expect("maas-deployer install");
    assert!(said.contains("installed maas in metal: revision 1, "), "{said}");
    figure("maas-deployer install to images imported", used);
    let name = release.kube.complete(&release.object("import-images"));
    let log = release.kube.logs(&name);
    assert!(log.contains("xenial"), "{log}");
}

/// What the deployer says of it: nothing is wrong.
pub(crate) fn status(release: &Release) {
    let (output, used) = release.deployer("status", &[&release.name]);
    println!("{}", output.expect("maas-deployer status"));
    figure("maas-deployer status", used);
    assert_eq!(status_tells_all(release)["schema"], "maas-deployer/status/1");
    let (checked, _) = release.deployer("check", &[&release.name]);
    let said = checked.expect("maas-deployer check");
    assert!(!said.contains("FAIL"), "{said}");
}

/// Of MAAS and its mirrors status knows all, and nothing of it is wrong.
pub(crate) fn status_tells_all(release: &Release) -> Value {
    let status = eventually("a status in which nothing is wrong", || {
        let (output, _) = release.deployer("status", &[&release.name, "--output", "json"]);
        output.success.then(|| serde_json::from_str::<Value>(&output.stdout).expect("JSON"))
    });
    let (maas, mirrors) = (&status["maas"], &status["mirrors"]);
    assert!(maas["version"].as_str().is_some_and(|version| version.starts_with("3.")), "{maas}");
    for (list, done) in [("racks", "connected"), ("images", "complete")] {
        let list = maas[list].as_array().unwrap_or_else(|| panic!("{list}: {maas}"));
        assert!(!list.is_empty() && list.iter().all(|one| one[done] == true), "{maas}");
    }
    assert_eq!(mirrors.as_array().map(Vec::len), Some(1), "{mirrors}");
    assert_eq!(mirrors[0]["readyz"]["ready"], true, "{mirrors}");
    assert!(mirrors[0]["status"]["unknown"].is_null(), "{mirrors}");
    status
}

/// A client with the key that the chart left in its Secret.
pub(crate) fn maas(release: &Release) -> Maas {
    let secret = release.object("api-key");
    let key = release.kube.secret(&secret, "token").expect("the Secret of the API key");
    Maas::new(&release.kube, &release.object("region"), &key)
}

pub(crate) fn systemd(release: &Release) {
    for (component, container) in [("region", "region"), ("rack", "rack")] {
        let pod = release.pod(component);
        let state = eventually("an end of the boot", || {
            let args = ["systemctl", "is-system-running", "--wait"];
            let said = release.kube.exec(&pod, container, &args).stdout;
            (!said.is_empty()).then_some(said)
        });
        let failed =
            release.kube.exec(&pod, container, &["systemctl", "list-units", "--failed", "--plain"]);
        assert_eq!(state.trim(), "running", "{component}: {}", failed.stdout);
    }
}

pub(crate) fn mirror(release: &Release) {
    let pod = format!("pod/{}", release.pod("region"));
    let forward = eventually("a way to the mirror", || Forward::to(&release.kube, &pod, 8888));
    let index = std::fs::read(release.folder().join("upstream/streams/v1/index.sjson"));
    let get = |path: &str| e2e::http::request(forward.address(), "GET", path, &[]).expect(path);
    assert_eq!(get("/images/streams/v1/index.sjson").body, index.expect("index"));
    let held = get(&format!("/images/{SQUASHFS}"));
    assert_eq!(sha256(&held.body), release.stream.items[SQUASHFS].sha256());
    // The address that the old chart's region had, too.
    assert_eq!(get("/maas/images/ephemeral-v3/daily/streams/v1/index.sjson").status, 200);
}

pub(crate) fn rack(release: &Release) {
    let maas = maas(release);
    let racks = eventually("a rack that is connected", || {
        let racks = maas.get("rackcontrollers/")?;
        let services = racks[0]["service_set"].as_array()?.clone();
        services.iter().any(|s| s["name"] == "rackd" && s["status"] == "running").then_some(racks)
    });
    assert_eq!(racks.as_array().map(Vec::len), Some(1), "{racks}");
}

/// The releases whose boot resources are complete; bootloaders are boot resources too.
pub(crate) fn complete_images(maas: &Maas) -> Option<Vec<String>> {
    let mut complete = Vec::new();
    for resource in maas.get("boot-resources/")?.as_array()? {
        let whole = maas.get(&format!("boot-resources/{}/", resource["id"]))?;
        let sets = whole["sets"].as_object()?;
        if !sets.is_empty() && sets.values().all(|set| set["complete"] == true) {
            complete.push(resource["name"].as_str()?.to_owned());
        }
    }
    complete.retain(|name| name.starts_with("ubuntu/"));
    complete.sort();
    complete.dedup();
    Some(complete)
}

pub(crate) fn images(release: &Release) {
    let maas = maas(release);
    let complete = complete_images(&maas).expect("boot resources");
    assert_eq!(complete, ["ubuntu/noble", "ubuntu/xenial"]);
    let sources = maas.get("boot-sources/").expect("boot sources");
    assert_eq!(sources.as_array().map(Vec::len), Some(1), "{sources}");
    assert_eq!(sources[0]["url"], "http://localhost:8888/images/");
    assert!(sources[0]["keyring_data"].as_str().is_some_and(|data| !data.is_empty()), "{sources}");
    assert_eq!(maas.setting("default_distro_series"), "xenial");
    assert_eq!(maas.setting("commissioning_distro_series"), "noble");
    // Nothing but the mirror spoke to the upstream, and it fetched each item once.
    let requests = release.upstream.requests();
    let others: Vec<_> = requests
        .iter()
        .filter(|r| !r.user_agent.as_deref().unwrap_or_default().starts_with("maas-mirror/"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(release.upstream.count(SQUASHFS), 1);
}

pub(crate) fn api_key(release: &Release) {
    let whoami = maas(release).get("users/?op=whoami").expect("whoami");
    assert_eq!(whoami["username"], "admin");
    assert_eq!(whoami["is_superuser"], true);
}

/// No generated secret stands in a log, a ConfigMap, a release record or a pod's description.
pub(crate) fn secrets(release: &Release) {
    let secret = |name: &str, key: &str| {
        release.kube.secret(name, key).unwrap_or_else(|| panic!("Secret {name} with {key}"))
    };
    let secrets = [
        secret(&release.object("admin"), "PASSWORD"),
        secret(&release.object("db-user"), "DATABASE_PASSWORD"),
        secret(&release.object("db-admin"), "DATABASE_PASSWORD"),
        secret(&release.object("region-secret"), "REGION_SECRET"),
        secret("maas-api-key", "token").rsplit(':').next().expect("parts").to_owned(),
    ];
    let mut all = release.helm(&["get", "all", &release.name]).expect("helm get all");
    for kind in ["configmaps", "pods", "jobs", "events", "statefulsets"] {
        all += &release.kube.ok(&["get", kind, "--output", "yaml"]);
    }
    let pods = release.kube.uids("pods", &release.selector(None));
    assert!(pods.len() > 5, "{pods:?}");
    for pod in pods.keys() {
        all += &release.kube.ok(&["logs", pod, "--all-containers"]);
    }
    for component in ["region", "rack"] {
        let args = ["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/1/environ | tr '\\0' ' '"];
        all += &release.kube.exec(&release.pod(component), component, &args).stdout;
    }
    for (at, secret) in secrets.iter().enumerate() {
        assert!(secret.len() >= 16, "secret {at} is short");
        assert!(!all.contains(secret.as_str()), "secret {at} is told");
    }
}

pub(crate) fn helm_test(release: &Release) {
    release.helm(&["test", &release.name, "--logs", "--timeout", "5m"]).expect("helm test");
}
