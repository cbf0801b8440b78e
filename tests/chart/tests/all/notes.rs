//! What Helm prints after an install.

use chart_tests::{Helm, Pod, files, snapshot};
use serde_json::Value;

#[test]
fn notes_say_what_to_do_next() {
    let Some(helm) = Helm::find() else { return };
    for name in [
        "defaults",
        "cache",
        "cache-air-gap",
        "keyring-air-gap",
        "logins",
        "settings-twice",
        "passwords",
        "old-chart",
        "tls",
        "tls-acme",
        "tls-own-secret",
        "rack-only",
        "database-tls",
    ] {
        let notes = helm.notes(&[&files::named(name)]);
        snapshot::compare(&format!("notes/{name}"), &notes);
    }
}

#[test]
fn commands_of_the_notes_name_what_is_there() {
    let Some(helm) = Helm::find() else { return };
    let path = files::named("cache");
    let helm = helm.release("site1").namespace("metal");
    let (notes, objects) = (helm.notes(&[&path]), helm.objects(&[&path]));
    for words in [
        "kubectl -n metal get pods,jobs -l app.kubernetes.io/instance=site1",
        "app.kubernetes.io/component=import-images",
        "helm test -n metal site1",
        "get secret site1-maas-admin",
        "get secret site1-maas-api-key",
        "service/site1-maas-region 5240:5240",
    ] {
        assert!(notes.contains(words), "{words}\n{notes}");
    }
    assert_eq!(
        objects.job("import-images").pod().unwrap().labels()["app.kubernetes.io/instance"],
        "site1"
    );
    assert!(objects.get("Service", "site1-maas-region").is_some());
}

/// They stand in Helm's record, as every value does; nowhere else but in Secrets.
#[test]
fn logins_in_the_values_are_told() {
    let Some(helm) = Helm::find() else { return };
    let notes = helm.notes(&[&files::named("logins")]);
    assert!(!notes.contains("sesame"), "{notes}");
    let (_, told) = notes.split_once("WARNING: these secrets stand in the values").unwrap();
    for path in ["conf.maas.proxy.proxy_server", "conf.cache.upstream", "conf.cache.env"] {
        assert!(told.contains(&format!("\n  {path}\n")), "{path}: {notes}");
    }
    let plain = "conf.maas.proxy.proxy_server=http://proxy.example.com:3128";
    let notes = helm.clone().set(&[plain]).notes(&[&files::named("defaults")]);
    assert!(!notes.contains("these secrets stand in the values"), "{notes}");
    let source = ["conf.maas.images.boot_source=http://me:sesame@images.example.com/"];
    let notes = helm.set(&source).notes(&[]);
    assert!(notes.contains("WARNING: conf.maas.images.boot_source holds a login"), "{notes}");
}

/// `kubectl logs` refuses all where one of several containers has not started.
#[test]
fn logs_are_asked_of_one_container_that_is_there() {
    let Some(helm) = Helm::find() else { return };
    let path = files::named("cache");
    let (notes, objects) = (helm.notes(&[&path]), helm.objects(&[&path]));
    let job = objects.job("import-images");
    let pod = job.pod().unwrap();
    let mut asked: Vec<&str> = Vec::new();
    for line in notes.lines().filter(|line| line.contains(" logs ")) {
        asked.push(line.rsplit_once(" -c ").expect(line).1);
    }
    assert_eq!(asked, ["wait", "import-images"]);
    for name in asked {
        assert_eq!(pod.container(name)["name"], name);
    }
}

/// What a person is told to type has the keyring that the container has, and reaches every store.
#[test]
fn bundles_are_brought_to_each_region_under_its_keyring() {
    let Some(helm) = Helm::find() else { return };
    let commands = |helm: &Helm, name: &str| -> Vec<String> {
        let notes = helm.notes(&[&files::named(name)]);
        let lines = notes.lines().filter(|line| line.contains("maas-mirror import"));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    let [plain] = &commands(&helm, "cache-air-gap")[..] else { panic!("one command") };
    assert!(plain.ends_with("-- maas-mirror import - < BUNDLE"), "{plain}");
    let two = helm.clone().set(&["pod.replicas.region=2"]);
    let [both] = &commands(&two, "keyring-air-gap")[..] else { panic!("one command") };
    let regions = "app.kubernetes.io/instance=maas,app.kubernetes.io/component=region";
    assert!(both.contains(&format!("get pods -l {regions} -o name)")), "{both}");
    let file = "/etc/maas-deployer/keyring/keyring.gpg";
    assert!(both.contains(&format!("-- maas-mirror import --keyring {file} - < BUNDLE")), "{both}");
    let objects = two.objects(&[&files::named("keyring-air-gap")]);
    let mirror = objects.pod_of("maas-region").container("mirror");
    let is_keyrings = |mount: &Value| mount["mountPath"] == "/etc/maas-deployer/keyring";
    assert!(Pod::mounts(mirror).any(is_keyrings), "{mirror}");
    assert!(commands(&helm, "cache").is_empty());
    assert!(commands(&helm, "cache-baked").is_empty());
}
