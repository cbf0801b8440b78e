//! configure, import-images and test, against the stand-in region and a signed upstream.

use fixtures::{Postgres, Release, Server, SigningKey, StreamSpec};
use serde_json::{Value, json};

use crate::support::{Answer, ApiServer, Asked, Gate, HttpServer, Maas, World, eventually};

/// A region with an administrator, and an upstream that it can import from.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) maas: Maas,
    pub(crate) upstream: Server,
    pub(crate) key: SigningKey,
}

pub(crate) fn site(name: &str) -> Site {
    site_with(name, &[])
}

/// A site whose region has more variables.
pub(crate) fn site_with(name: &str, extra: &[(&str, &str)]) -> Site {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!(name);
    world.public("secrets/db-user/DATABASE_USERNAME", name);
    world.stand_in();
    world.made_database();
    let key = SigningKey::generate("Test <test@example.org>").expect("key");
    let folder = world.path("upstream");
    std::fs::create_dir(&folder).expect("folder");
    let spec = StreamSpec::new().releases(&[Release::Xenial, Release::Noble]).scale(0.01);
    spec.build().publish(&folder, &key).expect("publish");
    let upstream = Server::start(folder).expect("server");
    let maas = Maas::with_key(&mut world, extra);
    let keyring = world.path("keyring.gpg");
    key.write_keyring(&keyring).expect("keyring");
    world.public("keyring/keyring.gpg", std::fs::read(keyring).expect("keyring"));
    world.settings["boot_source"] = json!({"url": upstream.url(), "keyring": true});
    world.settings["images"] = json!({"os": "ubuntu", "release": "xenial", "kernel": "ga-16.04",
        "commissioning_release": "noble", "releases": ["noble", "xenial"], "arches": ["amd64"],
        "timeout_s": 60, "stall_s": 2});
    Site { world, maas, upstream, key }
}

impl Site {
    pub(crate) fn get(&self, path: &str) -> Value {
        self.maas.get(&self.world, path)
    }

    pub(crate) fn config(&self, name: &str) -> Value {
        self.get(&format!("maas/?op=get_config&name={name}"))
    }
}

#[test]
fn a_fresh_region_gets_source_selections_and_images() {
    let mut site = site("images_fresh");
    site.world.settings["config"] = json!({"ntp_servers": "a.example.org,b.example.org",
        "enable_analytics": false, "active_discovery_interval": 0, "network_discovery": "disabled",
        "default_min_hwe_kernel": "ga-16.04"});
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("set ntp_servers");
    run.changed("made the boot source");
    run.changed("selected ubuntu/xenial (amd64)");
    run.changed("removed the boot source 1");
    let sources = site.get("boot-sources/");
    assert_eq!(sources.as_array().unwrap().len(), 1, "{sources}");
    assert_ne!(sources[0]["id"], 1);
    site.world.job(&["configure"]).run().expect(0).unchanged();

    let run = site.world.job(&["import-images"]).run().expect(0);
    run.changed("imported ubuntu/xenial amd64");
    run.changed("imported ubuntu/noble amd64");
    run.changed("set default_distro_series to 'xenial'").changed("default_min_hwe_kernel");
    assert!(run.stderr.contains("percent=100"), "{}", run.stderr);
    // A line for each file, and no more than one.
    assert!(run.stderr.contains("imported image=\"ubuntu/xenial amd64/ga-16.04\" file=\"squashfs"));
    assert_eq!(run.stderr.matches("ga-16.04\" file=\"squashfs 2").count(), 1, "{}", run.stderr);
    assert_eq!(site.config("default_distro_series"), "xenial");
    assert_eq!(site.config("default_min_hwe_kernel"), "ga-16.04");
    let run = site.world.job(&["import-images", "-o", "json"]).run().expect(0);
    let report = run.json();
    assert_eq!(report["changed"], false);
    let images = report["images"].as_array().unwrap();
    let whole = |one: &Value| one["complete"] == true && one["held_bytes"] == one["size_bytes"];
    assert!(images.iter().all(whole), "{report}");
    let files: Vec<&Value> = images.iter().flat_map(|i| i["files"].as_array().unwrap()).collect();
    assert!(files.len() >= 2 * images.len() && files.into_iter().all(whole), "{report}");
    assert!(!run.stderr.contains("imported image="), "{}", run.stderr);
}

#[test]
fn an_armored_keyring_is_sent_binary() {
    let site = site("images_armored");
    let armored = site.key.armored_keyring().expect("armor");
    site.world.public("keyring/keyring.gpg", armored);
    site.world.job(&["configure"]).run().expect(0).changed("selected ubuntu/noble");
}

#[test]
fn a_keyring_that_does_not_verify_is_told_at_the_end_of_the_wait() {
    let site = site("images_wrong_key");
    let other = SigningKey::generate("Other <other@example.org>").expect("key");
    let path = site.world.path("other.gpg");
    other.write_keyring(&path).expect("keyring");
    site.world.public("keyring/keyring.gpg", std::fs::read(&path).unwrap());
    site.world.job(&["configure", "--timeout", "3s"]).run().failed(1, "configure-wrong-key");
    // What was there is left, until the new source is known to work.
    assert!(site.get("boot-sources/").as_array().unwrap().iter().any(|source| source["id"] == 1));
    // With the right one it goes on from there.
    let right = site.world.path("keyring.gpg");
    site.world.public("keyring/keyring.gpg", std::fs::read(right).unwrap());
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("its keyring differs").changed("selected ubuntu/xenial");
    assert_eq!(site.get("boot-sources/").as_array().unwrap().len(), 1);
}

#[test]
fn a_mirror_that_comes_later_is_read_when_it_is_there() {
    let site = site("images_later");
    let index = site.world.path("upstream/streams");
    let aside = site.world.path("upstream/aside");
    std::fs::rename(&index, &aside).unwrap();
    let running = site.world.job(&["configure", "--timeout", "2m"]).spawn();
    eventually("it to wait for the index", || running.stderr().contains("no available images"));
    std::fs::rename(&aside, &index).unwrap();
    running.wait().expect(0).changed("selected ubuntu/xenial");
}

#[test]
fn stale_selections_go_also_that_of_the_former_commissioning_release() {
    let mut site = site("images_stale");
    site.world.job(&["configure"]).run().expect(0);
    site.world.job(&["import-images"]).run().expect(0);
    site.world.settings["images"]["releases"] = json!([]);
    site.world.settings["images"]["release"] = json!("noble");
    site.world.settings["images"]["kernel"] = json!("");
    site.world.job(&["configure"]).run().expect(0).changed("removed the selection ubuntu/xenial");
    site.world
        .job(&["import-images"])
        .run()
        .expect(0)
        .changed("set default_distro_series to 'noble'");
    let source = site.get("boot-sources/")[0]["id"].clone();
    let selections = site.get(&format!("boot-sources/{source}/selections/"));
    assert_eq!(selections.as_array().unwrap().len(), 1, "{selections}");
}

#[test]
fn an_import_that_cannot_end_says_what_is_missing() {
    let site = site("images_stuck");
    site.world.job(&["configure"]).run().expect(0);
    // The payload of xenial is not to be had.
    let folder = site.world.path("upstream/xenial");
    let aside = site.world.path("upstream/xenial-aside");
    std::fs::rename(&folder, &aside).unwrap();
    let run = site.world.job(&["import-images", "--timeout", "12s"]).run().expect(1);
    let message = run.message();
    assert!(message.contains("not every image is there after 12 s"), "{message}");
    assert!(message.contains("\n  - ubuntu/xenial amd64"), "{message}");
    // File by file.
    assert!(message.contains(": squashfs ") && message.contains(" bytes, 0 %"), "{message}");
    assert!(run.stderr.contains("nothing arrives"), "{}", run.stderr);
    assert_ne!(site.config("default_distro_series"), "xenial");
    // The next run goes on.
    std::fs::rename(&aside, &folder).unwrap();
    site.world.job(&["import-images"]).run().expect(0).changed("imported ubuntu/xenial");
}

#[test]
fn import_waits_for_the_mirror() {
    let mut site = site("images_mirror");
    site.world.job(&["configure"]).run().expect(0);
    let ready = site.world.path("ready");
    let look = ready.clone();
    let mirror = HttpServer::start(move |_| match look.exists() {
        true => Answer::text(200, "ok"),
        false => Answer::text(503, "no snapshot yet"),
    });
    site.world.settings["mirror"] = json!({"url": mirror.url()});
    let running = site.world.job(&["import-images"]).spawn();
    eventually("it to wait for the mirror", || running.stderr().contains("no snapshot yet"));
    std::fs::write(&ready, "").unwrap();
    running.wait().expect(0).changed("imported");
    assert!(mirror.count("GET", "/readyz") >= 2);
    assert!(site.upstream.count("streams/v1/index.sjson") > 0);
}

/// Each region imports from the mirror beside it: that one has images says nothing of another.
#[test]
fn each_regions_mirror_is_waited_for_and_those_that_lack_are_named() {
    let world = World::new();
    let full = world.path("second-is-full");
    let look = full.clone();
    let mirrors = HttpServer::start(move |request| {
        match request.target.starts_with("/0/") || look.exists() {
            true => Answer::text(200, "ok"),
            false => Answer::text(503, "no snapshot yet"),
        }
    });
    let url = mirrors.url();
    let each = format!("{}/{{}}", url.trim_end_matches('/'));
    let settings = json!({"mirror": {"url": url, "each": each, "regions": 2}}).to_string();
    let wait = || {
        world.job(&["wait", "mirror", "--timeout", "2s"]).env("MAAS_DEPLOYER_SETTINGS", &settings)
    };
    let message = wait().run().expect(1).message();
    let lacking = "the mirrors of 2 regions; the last reason was: http://127.0.0.1:PORT/1: \
        it is not ready yet: no snapshot yet\n";
    assert!(message.contains(lacking), "{message}");
    std::fs::write(&full, "").unwrap();
    wait().run().expect(0);
    assert!(mirrors.count("GET", "/0/readyz") >= 2);
}

#[test]
fn unknown_settings_are_all_named_and_none_is_set() {
    let mut site = site("images_unknown");
    site.world.settings["config"] = json!({"enable_analytics": false, "ntp_serverss": "x",
        "maas_url": "http://x", "enable_http_proxy": "maybe"});
    let before = site.config("enable_analytics");
    let run = site.world.job(&["configure"]).run().expect(1);
    let message = run.message();
    for name in
        ["- ntp_serverss: ", "- maas_url: ", "- the setting enable_http_proxy is true or false"]
    {
        assert!(message.contains(name), "{message}");
    }
    assert!(site.get("boot-sources/").as_array().unwrap().iter().any(|source| source["id"] == 1));
    let _ = before;
}

#[test]
fn test_says_all_that_is_wrong() {
    let mut site = site("images_test");
    site.world.settings["mirror"] = json!({"url": "http://127.0.0.1:1"});
    let run = site.world.job(&["test", "--timeout", "8s"]).run().expect(1);
    let message = run.message();
    for part in
        ["no rack is connected", "ubuntu/xenial amd64: MAAS has not begun it", "the mirror at"]
    {
        assert!(message.contains(part), "{message}");
    }
}

/// A region that was scaled away: MAAS waits for its free space, for a quarter of an hour.
fn scaled_away(site: &Site, database: &str, hostname: &str) {
    let sql = format!(
        "INSERT INTO standin_controller (system_id, kind, hostname, version, seen) \
         VALUES ('{hostname}-id', 'region', '{hostname}', '3.6.4', now() - interval '1 hour')"
    );
    Postgres::shared().expect("PostgreSQL").sql(database, &sql).expect("SQL");
    let regions = site.get("regioncontrollers/");
    assert_eq!(regions.as_array().unwrap().len(), 2, "{regions}");
}

#[test]
fn a_region_that_is_no_more_does_not_hold_up_an_import() {
    let mut site = site("images_dead_region");
    site.world.job(&["configure"]).run().expect(0);
    scaled_away(&site, "images_dead_region", "maas-region-3");
    let cluster = ApiServer::start(&mut site.world, |_| {});
    cluster.put("statefulsets/maas-region", json!({"metadata": {}, "spec": {"replicas": 1}}));
    let run = site.world.job(&["import-images"]).run().expect(0);
    run.changed("removed the region maas-region-3, which is no more").changed("imported");
    assert_eq!(site.get("regioncontrollers/").as_array().unwrap().len(), 1);
}

/// Its pod has a grace period, and MAAS's import would wait for it.
#[test]
fn a_region_that_is_ending_is_waited_for() {
    let mut site = site("images_ending_region");
    site.world.job(&["configure"]).run().expect(0);
    scaled_away(&site, "images_ending_region", "maas-region-1");
    // Each request is a step of its end.
    let cluster = ApiServer::start(&mut site.world, |objects| {
        let Some(pod) = objects.get_mut("maas/pods/maas-region-1") else { return };
        if pod["metadata"]["deletionTimestamp"].is_null() {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        } else {
            objects.remove("maas/pods/maas-region-1");
        }
    });
    cluster.put("statefulsets/maas-region", json!({"metadata": {}, "spec": {"replicas": 1}}));
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "maas-region", "uid": "x"}]);
    let labels = json!({"app.kubernetes.io/instance": "maas"});
    let metadata = json!({"ownerReferences": owner, "labels": labels});
    cluster
        .put("pods/maas-region-1", json!({"metadata": metadata, "status": {"phase": "Running"}}));
    let run = site.world.job(&["import-images"]).run().expect(0);
    assert!(run.stderr.contains("the pod of maas-region-1 has not ended"), "{}", run.stderr);
    run.changed("removed the region maas-region-1, which is no more").changed("imported");
}

#[test]
fn a_region_that_may_come_back_is_left() {
    let mut site = site("images_dead_pod");
    site.world.job(&["configure"]).run().expect(0);
    scaled_away(&site, "images_dead_pod", "maas-region-1");
    let cluster = ApiServer::start(&mut site.world, |_| {});
    // It is wanted still: its pod is on another node, or not made yet.
    cluster.put("statefulsets/maas-region", json!({"metadata": {}, "spec": {"replicas": 2}}));
    site.world.job(&["import-images", "--timeout", "5s"]).run().expect(1);
    assert_eq!(site.get("regioncontrollers/").as_array().unwrap().len(), 2);
    // And where the cluster does not say.
    cluster.refuse("/pods", 403);
    let run = site.world.job(&["import-images", "--timeout", "5s"]).run().expect(1);
    assert!(run.stderr.contains("cannot tell whether dead regions are no more"), "{}", run.stderr);
    assert_eq!(site.get("regioncontrollers/").as_array().unwrap().len(), 2);
}

#[test]
fn sigterm_in_an_import_leaves_what_the_next_run_goes_on_from() {
    let site = site("images_sigterm");
    site.world.job(&["configure"]).run().expect(0);
    let running = site.world.job(&["import-images"]).spawn();
    eventually("the import to begin", || running.stderr().contains("asked MAAS to import"));
    running.signal(rustix::process::Signal::TERM);
    running.wait().expect(143);
    site.world.job(&["import-images"]).run().expect(0);
    assert_eq!(site.config("default_distro_series"), "xenial");
}

#[test]
fn an_equal_source_is_adopted() {
    let mut site = site("images_adopt");
    site.world.job(&["configure"]).run().expect(0);
    let before = site.get("boot-sources/")[0]["id"].clone();
    let keyring = std::fs::read(site.world.path("keyring.gpg")).unwrap();
    // The same key in armor, the same URL without its slash: the same source.
    site.world.public("keyring/keyring.gpg", site.key.armored_keyring().expect("armor"));
    let url = site.upstream.url();
    site.world.settings["boot_source"]["url"] = json!(url.trim_end_matches('/'));
    site.world.job(&["configure"]).run().expect(0).unchanged();
    assert_eq!(site.get("boot-sources/")[0]["id"], before);
    site.world.public("keyring/keyring.gpg", keyring);
}

#[test]
fn another_architecture_is_selected_and_one_that_is_not_there_is_told() {
    let mut site = site("images_arches");
    site.world.job(&["configure"]).run().expect(0);
    site.world.settings["images"]["arches"] = json!(["amd64", "s390x"]);
    let run = site.world.job(&["configure", "--timeout", "3s"]).run().expect(1);
    assert!(run.message().contains("(amd64, s390x)"), "{}", run.stderr);
    // What was selected is selected still.
    let source = site.get("boot-sources/")[0]["id"].clone();
    let selections = site.get(&format!("boot-sources/{source}/selections/"));
    assert_eq!(selections.as_array().unwrap().len(), 2, "{selections}");
}

#[test]
fn without_a_mounted_key_the_admins_login_will_do() {
    let mut site = site("images_login");
    std::fs::remove_file(site.world.path("etc/secrets/api-key/token")).unwrap();
    site.world.settings["config"] = json!({"enable_analytics": false});
    site.world.job(&["configure"]).run().expect(0);
}

#[test]
fn an_import_that_stands_still_is_told_file_by_file_and_nothing_is_restarted() {
    let mut site = site("images_still");
    site.world.job(&["configure"]).run().expect(0);
    let gate = Gate::before(&mut site.world, &site.maas);
    let held = fixtures::Gate::new();
    site.upstream.fault(fixtures::Fault::on("squashfs").hold_after(1000, &held));
    let running = site.world.job(&["import-images"]).spawn();
    // What MAAS has not begun may be told before.
    let told = |said: &str| {
        let mut lines = said.lines().filter(|line| line.contains("an import stands still"));
        lines.find(|line| line.contains("amd64/ga-16.04: squashfs ")).map(str::to_owned)
    };
    eventually("what stands still", || told(&running.stderr()).is_some());
    let line = told(&running.stderr()).unwrap();
    assert!(line.contains("% for ") && line.contains("kubectl logs"), "{line}");
    held.open();
    running.wait().expect(0).changed("imported ubuntu/xenial amd64");
    let (writes, _) = gate.writes();
    let only = ["POST boot-resources/?op=import", "POST maas/?op=set_config"];
    assert!(writes.iter().all(|call| only.contains(&call.as_str())), "{writes:?}");
}

#[test]
fn a_region_that_restarts_in_an_import_is_waited_for() {
    let mut site = site("images_restart");
    let gate = Gate::before(&mut site.world, &site.maas);
    site.world.job(&["configure"]).run().expect(0);
    let held = fixtures::Gate::new();
    site.upstream.fault(fixtures::Fault::on("squashfs").hold_after(1000, &held));
    let running = site.world.job(&["import-images", "--retries", "0"]).spawn();
    eventually("the import to begin", || running.stderr().contains("asked MAAS to import"));
    site.maas.kill();
    eventually("it to be missed", || running.stderr().contains("cannot ask MAAS how far it is"));
    site.maas = Maas::start(&mut site.world, &[]);
    gate.lead_to(&site.maas);
    held.open();
    let run = running.wait().expect(0);
    run.changed("imported ubuntu/xenial amd64");
    // Told once, not at each look.
    let times = run.stderr.matches("cannot ask MAAS how far it is").count();
    assert!(times <= 2, "{}", run.stderr);
}

#[test]
fn an_import_whose_maas_is_gone_says_what_was_missing() {
    let mut site = site("images_gone");
    let gate = Gate::before(&mut site.world, &site.maas);
    site.world.job(&["configure"]).run().expect(0);
    let held = fixtures::Gate::new();
    site.upstream.fault(fixtures::Fault::on("squashfs").hold_after(1000, &held));
    let job = site.world.job(&["import-images", "--retries", "0", "--timeout", "30s"]);
    let running = job.spawn();
    eventually("the import to begin", || running.stderr().contains("asked MAAS to import"));
    eventually("a look at the images to end", || {
        let calls: Vec<String> = gate.http.asked().iter().map(Asked::call).collect();
        let is_image =
            |call: &String| call.starts_with("GET boot-resources/") && call.ends_with('/');
        let of_one = |call: &String| is_image(call) && call != "GET boot-resources/";
        let first = calls.iter().position(of_one).unwrap_or(calls.len());
        calls[first..].iter().any(|call| call == "GET boot-resources/?op=is_importing")
    });
    site.maas.kill();
    let run = running.wait().expect(1);
    let message = run.message();
    assert!(message.contains("MAAS does not answer"), "{message}");
    assert!(message.contains(": squashfs "), "{message}");
    held.open();
}
