//! configure against the stand-in region, where the state is not what it was left as.

use fixtures::SigningKey;
use serde_json::{Value, json};

use crate::images::{Site, site, site_with};
use crate::support::{Answer, Gate, Spoil};

/// A site that is configured, and the gate before its region.
fn configured(name: &str) -> (Site, Gate) {
    let mut site = site(name);
    site.world.settings["config"] = json!({"ntp_servers": ["a.example.org", "b.example.org"],
        "enable_analytics": false, "active_discovery_interval": 0, "dnssec_validation": "no",
        "remote_syslog": "log.example.org", "upstream_dns": "192.0.2.1, 192.0.2.2",
        "http_proxy": "http://proxy.example.org:3128", "boot_images_no_proxy": true,
        "kernel_opts": null});
    let gate = Gate::before(&mut site.world, &site.maas);
    site.world.job(&["configure"]).run().expect(0);
    (site, gate)
}

impl Site {
    fn source(&self) -> Value {
        let sources = self.get("boot-sources/");
        assert_eq!(sources.as_array().unwrap().len(), 1, "{sources}");
        sources[0].clone()
    }

    fn selections(&self) -> Vec<Value> {
        let path = format!("boot-sources/{}/selections/", self.source()["id"]);
        self.get(&path).as_array().unwrap().clone()
    }

    fn post(&self, path: &str, fields: &[&str]) {
        let args: Vec<&str> = fields.iter().flat_map(|field| ["--data-urlencode", field]).collect();
        self.maas.call(&self.world, &args, path);
    }
}

#[test]
fn a_second_run_writes_nothing() {
    let (site, gate) = configured("drift_none");
    let (before, _) = gate.writes();
    assert!(before.contains(&"POST boot-sources/".to_owned()), "{before:?}");
    site.world.job(&["configure"]).run().expect(0).unchanged();
    site.world.job(&["configure"]).run().expect(0).unchanged();
    let (after, _) = gate.writes();
    assert_eq!(after, before, "a run that changes nothing writes nothing");
}

#[test]
fn what_was_changed_by_hand_is_put_right_and_told() {
    let (site, gate) = configured("drift_hand");
    site.post("maas/?op=set_config", &["name=ntp_servers", "value=other.example.org"]);
    site.post("maas/?op=set_config", &["name=enable_analytics", "value=true"]);
    let xenial = site.selections().into_iter().find(|one| one["release"] == "xenial").unwrap();
    let source = site.source()["id"].clone();
    let path = format!("boot-sources/{source}/selections/{}/", xenial["id"]);
    site.maas.call(&site.world, &["-X", "DELETE"], &path);
    let (before, _) = gate.writes();
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("set ntp_servers").changed("set enable_analytics");
    run.changed("selected ubuntu/xenial (amd64)");
    assert_eq!(run.stdout.matches("changed: ").count(), 3, "{}", run.stdout);
    assert_eq!(gate.writes().0.len() - before.len(), 3);
    assert_eq!(site.config("ntp_servers"), "a.example.org b.example.org");
    assert_eq!(site.selections().len(), 2);
    assert_eq!(site.source()["id"], source);
    site.world.job(&["configure"]).run().expect(0).unchanged();
}

#[test]
fn a_selection_of_other_architectures_or_labels_is_changed_and_not_doubled() {
    let (site, gate) = configured("drift_labels");
    let before = site.selections();
    let sql = format!(
        "UPDATE standin_selection SET labels = '{{daily}}', subarches = '{{ga-16.04}}' WHERE id = {}",
        before[0]["id"]
    );
    fixtures::Postgres::shared().unwrap().sql("drift_labels", &sql).unwrap();
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("changed the selection to ubuntu/");
    assert_eq!(site.selections(), before);
    assert_eq!(gate.writes().0.iter().filter(|call| call.starts_with("PUT ")).count(), 1);
    site.world.job(&["configure"]).run().expect(0).unchanged();
}

#[test]
fn a_source_that_was_changed_or_added_is_replaced_or_removed() {
    let (site, _gate) = configured("drift_sources");
    let source = site.source()["id"].clone();
    let path = format!("boot-sources/{source}/");
    // Its URL changed, as in MAAS's own pages: with the key, else MAAS fails.
    let keyring = format!("keyring_data=@{}", site.world.path("keyring.gpg").display());
    let args = ["-X", "PUT", "-F", "url=http://127.0.0.1:9/elsewhere/", "-F", &keyring];
    site.maas.call(&site.world, &args, &path);
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("made the boot source").changed("removed the boot source");
    run.changed("(http://127.0.0.1:9/elsewhere/)").changed("selected ubuntu/noble (amd64)");
    assert_eq!(site.source()["url"], site.upstream.url());
    // Another one added.
    let ours = site.source()["id"].clone();
    let args = ["-F", "url=http://127.0.0.1:9/more/", "-F", &keyring];
    site.maas.call(&site.world, &args, "boot-sources/");
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("(http://127.0.0.1:9/more/)");
    assert_eq!(run.stdout.matches("changed: ").count(), 1, "{}", run.stdout);
    assert_eq!(site.source()["id"], ours);
    site.world.job(&["configure"]).run().expect(0).unchanged();
}

#[test]
fn a_source_whose_keyring_file_is_missing_does_not_hold_up_the_others() {
    let (site, _gate) = configured("drift_keyring_file");
    // Ours loses a selection, and MAAS what it knew; and from now on it reads no source.
    let fields = ["url=http://127.0.0.1:9/x/", "keyring_filename=/nonexistent/keyring.gpg"];
    site.post("boot-sources/", &fields);
    let xenial = site.selections_of_ours().into_iter().find(|one| one["release"] == "xenial");
    let path = format!("boot-sources/{}/selections/{}/", site.ours(), xenial.unwrap()["id"]);
    site.maas.call(&site.world, &["-X", "DELETE"], &path);
    let database = fixtures::Postgres::shared().unwrap();
    database.sql("drift_keyring_file", "DELETE FROM standin_cache").unwrap();
    let run = site.world.job(&["configure", "--timeout", "1m"]).run().expect(0);
    run.changed("where its keyring /nonexistent/keyring.gpg is missing, MAAS reads no source");
    run.changed("selected ubuntu/xenial (amd64)");
    assert_eq!(site.selections().len(), 2);
}

impl Site {
    /// The id of the source that the chart names.
    fn ours(&self) -> Value {
        let sources = self.get("boot-sources/");
        let mut all = sources.as_array().unwrap().iter();
        all.find(|one| one["url"] == self.upstream.url()).unwrap()["id"].clone()
    }

    fn selections_of_ours(&self) -> Vec<Value> {
        self.get(&format!("boot-sources/{}/selections/", self.ours())).as_array().unwrap().clone()
    }
}

#[test]
fn a_keyring_file_that_the_region_lacks_is_told_and_leaves_what_worked() {
    let mut site = site("drift_no_file");
    site.world.settings["boot_source"] =
        json!({"url": site.upstream.url(), "keyring_filename": "/nonexistent/keyring.gpg"});
    let run = site.world.job(&["configure", "--timeout", "10s"]).run();
    run.failed(1, "configure-no-keyring-file");
    // MAAS can read the source that it had before.
    assert_eq!(site.source()["id"], 1);
}

#[test]
fn source_1_is_adopted_and_read_though_writing_it_reads_nothing() {
    let mut site = site("drift_source_1");
    // As a region whose image names our mirror as its default source.
    let keyring = format!("keyring_data=@{}", site.world.path("keyring.gpg").display());
    let url = format!("url={}", site.upstream.url());
    let args = ["-X", "PUT", "-F", &url, "-F", &keyring, "-F", "keyring_filename="];
    site.maas.call(&site.world, &args, "boot-sources/1/");
    let gate = Gate::before(&mut site.world, &site.maas);
    let run = site.world.job(&["configure", "--timeout", "1m"]).run().expect(0);
    run.changed("selected ubuntu/xenial (amd64)");
    assert_eq!(site.source()["id"], 1);
    assert!(gate.count("POST boot-resources/?op=import") >= 1, "{:?}", gate.writes());
    assert!(!gate.writes().0.iter().any(|call| call.starts_with("PUT ")), "{:?}", gate.writes());
}

#[test]
fn a_url_that_maas_would_take_as_unsigned_is_refused() {
    let mut site = site("drift_unsigned");
    let gate = Gate::before(&mut site.world, &site.maas);
    site.world.settings["boot_source"]["url"] = json!("http://mirror/images/streams/v1/index.json");
    site.world.job(&["configure"]).run().failed(5, "configure-unsigned");
    assert_eq!(gate.writes().1, 0, "nothing was asked");
}

#[test]
fn another_keyring_for_the_same_source_is_taken_up() {
    let (site, gate) = configured("drift_keyring");
    let other = SigningKey::generate("Other <other@example.org>").unwrap();
    let path = format!("boot-sources/{}/", site.source()["id"]);
    let file = site.world.path("other.gpg");
    other.write_keyring(&file).unwrap();
    let keyring = format!("keyring_data=@{}", file.display());
    site.maas.call(&site.world, &["-X", "PUT", "-F", &keyring], &path);
    let run = site.world.job(&["configure"]).run().expect(0);
    run.changed("its keyring differs").changed("made the boot source");
    assert_eq!(site.selections().len(), 2);
    // Never by a PUT, after which MAAS may keep what it knew.
    assert!(!gate.writes().0.iter().any(|call| call.starts_with("PUT ")), "{:?}", gate.writes());
    site.world.job(&["configure"]).run().expect(0).unchanged();
}

#[test]
fn answers_that_are_lost_make_nothing_twice() {
    let mut site = site("drift_lost");
    let gate = Gate::before(&mut site.world, &site.maas);
    let port = site.upstream.url().rsplit(':').next().unwrap().to_owned();
    let lost = [Answer::Cut, Answer::page(502, "502 Bad Gateway"), Answer::page(504, "504")];
    // Each time from the start: another source of the same content.
    for (host, answer) in ["127.0.0.1", "localhost", "127.1"].into_iter().zip(lost) {
        site.world.settings["boot_source"]["url"] = json!(format!("http://{host}:{port}"));
        let before = gate.count("POST boot-sources/");
        gate.spoil("POST boot-sources/", Spoil::After(answer.clone()), 1);
        let run = site.world.job(&["configure"]).run().expect(0);
        run.changed("made the boot source");
        assert_eq!(gate.count("POST boot-sources/") - before, 1, "{:?}", gate.writes());
        assert_eq!(site.selections().len(), 2);
        // The selections too, and what removes one.
        let selections = format!("boot-sources/{}/selections/", site.source()["id"]);
        let xenial = site.selections().into_iter().find(|one| one["release"] == "xenial").unwrap();
        let path = format!("{selections}{}/", xenial["id"]);
        site.maas.call(&site.world, &["-X", "DELETE"], &path);
        let call = format!("POST {selections}");
        let before = gate.count(&call);
        gate.spoil(&call, Spoil::After(answer), 1);
        site.world.job(&["configure"]).run().expect(0).changed("selected ubuntu/xenial");
        assert_eq!(gate.count(&call) - before, 1);
        assert_eq!(site.selections().len(), 2);
    }
}

#[test]
fn trouble_that_passes_is_waited_out_and_what_the_server_asks_for_is_granted() {
    let (site, gate) = configured("drift_trouble");
    // A single 500, as after a restart of the database; a region that starts; one that asks for
    // patience; a connection that is cut.
    let call = "GET maas/?op=get_config";
    gate.spoil(call, Spoil::Instead(Answer::text(500, "server closed the connection")), 1);
    let patience = ("Retry-After", "2".to_owned());
    gate.spoil(call, Spoil::Instead(Answer::With(503, patience, String::new())), 1);
    gate.spoil("GET boot-sources/", Spoil::Instead(Answer::page(502, "502 Bad Gateway")), 2);
    gate.spoil("GET version/", Spoil::Instead(Answer::page(502, "502 Bad Gateway")), 2);
    gate.spoil("GET boot-sources/", Spoil::Instead(Answer::Cut), 1);
    let run = site.world.job(&["configure"]).run().expect(0);
    run.unchanged();
    assert!(run.stderr.contains("pause_ms=2000"), "{}", run.stderr);
    assert_eq!(run.stderr.matches("trying again").count(), 5, "{}", run.stderr);
}

#[test]
fn clocks_that_differ_by_ten_minutes_are_made_up_for_and_told() {
    for (name, ahead) in [("drift_clock_ahead", "600"), ("drift_clock_behind", "-600")] {
        // curl's requests, of our clock, are not taken: the gate alone tells.
        let mut site = site_with(name, &[("STAND_IN_CLOCK_AHEAD_S", ahead)]);
        let gate = Gate::before(&mut site.world, &site.maas);
        site.world.settings["config"] = json!({"enable_analytics": false});
        let run = site.world.job(&["configure"]).run().expect(0);
        run.changed("set enable_analytics").changed("selected ubuntu/noble (amd64)");
        assert_eq!(run.stderr.matches("set the nodes' clocks by NTP").count(), 1, "{}", run.stderr);
        let told = run.stderr.split("maas_is_ahead_s=").nth(1).unwrap();
        let told: i64 = told.split_whitespace().next().unwrap().parse().unwrap();
        // A busy machine takes its time between two looks at a clock.
        assert!((told - ahead.parse::<i64>().unwrap()).abs() < 60, "{}", run.stderr);
        // Every request has a nonce of its own, that of the request before it was told as well.
        let asked = gate.http.asked();
        let mut nonces: Vec<&str> = asked
            .iter()
            .filter_map(|one| one.header("Authorization")?.split("oauth_nonce=\"").nth(1))
            .collect();
        let all = nonces.len();
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), all);
    }
}
