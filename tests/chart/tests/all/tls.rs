//! TLS of MAAS's API: which jobs there are, what they are told, what certificates are made.

use chart_tests::{Helm, Object, Objects, files, settings};
use serde_json::{Value, json};

fn render(helm: &Helm, file: &str, set: &[&str]) -> Objects {
    helm.clone().set(set).objects(&[&files::named(file)])
}

/// Whether there is a job of each of the two components.
fn jobs(objects: &Objects) -> (bool, bool) {
    let is = |component: &str| objects.kind("Job").any(|job| job.component() == component);
    (is("enable-tls"), is("disable-tls"))
}

#[test]
fn one_job_switches_tls_on_or_off() {
    let Some(helm) = Helm::find() else { return };
    for file in ["defaults", "tls", "tls-cert-manager", "tls-own-secret", "rack-only", "cache"] {
        let wanted = match file {
            "rack-only" => (false, false),
            file => (file.starts_with("tls"), !file.starts_with("tls")),
        };
        assert_eq!(jobs(&render(&helm, file, &[])), wanted, "{file}");
        let without = render(&helm, file, &["manifests.job_tls=false"]);
        assert_eq!(jobs(&without), (false, false), "{file}");
        assert_eq!(without.kind("CronJob").count(), 0, "{file}");
    }
    // It waits for what it reads, and for no API that waits for it.
    let off = render(&helm, "defaults", &[]);
    let pod = off.job("disable-tls").pod().unwrap();
    let argv = pod.argv("wait");
    assert!(argv.ends_with(&["database", "schema"]), "{argv:?}");
    assert_eq!(pod.argv("disable-tls").last(), Some(&"disable-tls"));
    assert!(pod.volume("maas-tls").is_none(), "there may be no such Secret");
}

#[test]
fn there_and_back_the_first_jobs_names_return() {
    let Some(helm) = Helm::find() else { return };
    let names = |set: &[&str]| -> Vec<String> {
        let objects = render(&helm, "cache", set);
        objects.kind("Job").map(|job| job.name().to_owned()).collect()
    };
    let (off, on) = (names(&[]), names(&["conf.maas.tls.enabled=true"]));
    assert_ne!(off, on);
    assert_eq!(names(&["conf.maas.tls.enabled=false"]), off);
}

fn told(objects: &Objects, component: &str) -> Value {
    let all = settings::all(objects);
    let one = all.iter().find(|one| one.component == component && one.container == component);
    one.unwrap_or_else(|| panic!("{component}")).json()["tls"].clone()
}

#[test]
fn all_that_speak_to_the_api_are_told_the_name() {
    let Some(helm) = Helm::find() else { return };
    let objects = render(&helm, "tls-acme", &[]);
    let tls = json!({"enabled": true, "insecure": false, "port": 5443,
        "server_name": "maas.example.org"});
    for component in ["configure", "export-api-key", "import-images", "enable-tls", "test"] {
        assert_eq!(told(&objects, component), tls, "{component}");
    }
    let racks = settings::all(&objects);
    let racks: Vec<_> = racks.iter().filter(|one| one.component == "rack").collect();
    assert_eq!(racks.len(), 2);
    assert!(racks.iter().all(|one| one.json()["tls"] == tls));
    let default = render(&helm, "tls", &[]);
    assert_eq!(told(&default, "configure")["server_name"], "");
    for wrong in ["192.0.2.1", "a b", "https://maas", "maas:443"] {
        let helm = helm.clone().set(&[&format!("conf.maas.tls.server_name={wrong}")]);
        assert!(helm.refusal(&[]).contains("server_name"), "{wrong}");
    }
}

#[test]
fn a_certificate_without_an_authority_is_mounted_all_the_same() {
    let Some(helm) = Helm::find() else { return };
    for file in ["tls-own-secret", "tls-cert-manager", "tls-acme", "tls-no-ca"] {
        let objects = render(&helm, file, &[]);
        let pod = objects.job("configure").pod().unwrap();
        let secret = &pod.volume("maas-ca").unwrap()["secret"];
        assert_eq!(secret["optional"], true, "{file}: nor need the Secret have ca.crt");
        let enable = objects.job("enable-tls").pod().unwrap();
        assert!(enable.volume("maas-tls").unwrap()["secret"]["items"].is_null(), "{file}");
    }
}

fn names(helm: &Helm, file: &str, set: &[&str]) -> (Vec<String>, Value) {
    let objects = render(helm, file, set);
    let certificate = objects.one("Certificate", "maas-region-api");
    let names = certificate.at("/spec/dnsNames").as_array().unwrap();
    let names = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    (names, certificate.at("/spec/ipAddresses").clone())
}

#[test]
fn certificates_have_every_name_once() {
    let Some(helm) = Helm::find() else { return };
    let service = [
        "maas-region",
        "maas-region.maas",
        "maas-region.maas.svc",
        "maas-region.maas.svc.cluster.local",
    ];
    let plain = [&["maas"], &service[..]].concat();
    let of = |set: &[&str]| names(&helm, "tls-cert-manager", set);
    assert_eq!(of(&[]), (plain.iter().map(ToString::to_string).collect(), Value::Null));
    for (url, name, addresses) in [
        ("https://maas.example.org:5443/MAAS", Some("maas.example.org"), Value::Null),
        ("http://maas.example.org/MAAS", Some("maas.example.org"), Value::Null),
        ("http://maas.example.org", Some("maas.example.org"), Value::Null),
        ("http://maas-region.maas/MAAS", None, Value::Null),
        ("http://10.0.0.5:5240/MAAS", None, json!(["10.0.0.5"])),
        ("http://10.0.0.0/MAAS", None, json!(["10.0.0.0"])),
        ("http://[fd00::1]:5240/MAAS", None, json!(["fd00::1"])),
        ("http://[fd00::1]/MAAS", None, json!(["fd00::1"])),
    ] {
        let mut wanted: Vec<String> = plain.iter().map(ToString::to_string).collect();
        wanted.extend(name.map(str::to_owned));
        assert_eq!(of(&[&format!("conf.maas.url.maas_url={url}")]), (wanted, addresses), "{url}");
    }
    // A public authority would sign none of the Service's.
    let public = names(&helm, "tls-acme", &[]);
    assert_eq!(public, (vec!["maas.example.org".to_owned()], Value::Null));
    let two = names(&helm, "tls-acme", &["conf.maas.tls.server_name=api.example.org"]);
    assert_eq!(two.0, ["api.example.org", "maas.example.org"]);
}

fn cron(objects: &Objects) -> Option<&Object> {
    objects.kind("CronJob").next()
}

#[test]
fn a_renewed_certificate_is_looked_for_where_the_chart_does_not_know_it() {
    let Some(helm) = Helm::find() else { return };
    for (file, schedule) in [
        ("tls-own-secret", "17 3 * * *"),
        ("tls-cert-manager", "17 3 * * *"),
        ("tls-acme", "@daily"),
    ] {
        let objects = render(&helm, file, &[]);
        let renew = cron(&objects).unwrap_or_else(|| panic!("{file}"));
        assert_eq!(renew.name(), "maas-renew-tls");
        assert_eq!(renew.at("/spec/schedule"), schedule);
        assert_eq!(renew.at("/spec/concurrencyPolicy"), "Forbid");
        // The same work as the job's, of a pod that selectors tell from it.
        let (pod, job) = (renew.pod().unwrap(), objects.job("enable-tls").pod().unwrap());
        assert_eq!(pod.argv("renew-tls"), job.argv("enable-tls"));
        assert_eq!(pod.spec("volumes"), job.spec("volumes"), "{file}");
        assert_eq!(pod.spec("initContainers"), job.spec("initContainers"), "{file}");
        let never = render(&helm, file, &["conf.maas.tls.renew="]);
        assert!(cron(&never).is_none(), "{file}");
        let off = render(&helm, file, &["conf.maas.tls.enabled=false"]);
        assert!(cron(&off).is_none(), "{file}");
    }
    // Texts of the values are given by the upgrade that changes them, and only by that.
    let name = |set: &[&str]| {
        let objects = render(&helm, "tls", set);
        assert!(cron(&objects).is_none());
        objects.job("enable-tls").name().to_owned()
    };
    let before = name(&[]);
    assert_ne!(name(&["conf.maas.tls.cert=another"]), before);
    assert_ne!(name(&["conf.maas.tls.ca=another"]), before);
    assert_eq!(name(&["conf.maas.tls.key=another"]), before, "no name is made of a secret");
    for wrong in ["daily", "* * * *", "@never", "1 2 3 4 5 6"] {
        let helm = helm.clone().set(&[&format!("conf.maas.tls.renew={wrong}")]);
        assert!(helm.refusal(&[]).contains("renew"), "{wrong}");
    }
}
