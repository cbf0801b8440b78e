//! What Helm prints after an install.

use chart_tests::{Helm, files, snapshot};

#[test]
fn notes_say_what_to_do_next() {
    let Some(helm) = Helm::find() else { return };
    for name in [
        "defaults",
        "cache",
        "cache-air-gap",
        "passwords",
        "old-chart",
        "tls",
        "tls-acme",
        "tls-own-secret",
        "rack-only",
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
