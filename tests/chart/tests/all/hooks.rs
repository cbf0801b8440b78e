//! Hooks stand alone: they run before the objects of their release are made.

use std::collections::BTreeSet;

use chart_tests::{Helm, Object, Objects, Pod, files};

fn weight(object: &Object) -> i32 {
    object.annotation("helm.sh/hook-weight").unwrap_or("0").parse().unwrap()
}

fn events(object: &Object) -> BTreeSet<&str> {
    object.annotation("helm.sh/hook").unwrap_or_default().split(',').collect()
}

/// What a pod needs of other objects: kind, name, and whether it does without.
fn needs<'a>(pod: &Pod<'a>) -> Vec<(&'static str, &'a str, bool)> {
    let account = pod.spec("serviceAccountName").as_str();
    let mut found: Vec<_> =
        account.map(|name| ("ServiceAccount", name, false)).into_iter().collect();
    for volume in pod.volumes() {
        let (kind, source, name) = match (volume.get("secret"), volume.get("configMap")) {
            (Some(secret), _) => ("Secret", secret, &secret["secretName"]),
            (_, Some(map)) => ("ConfigMap", map, &map["name"]),
            _ => {
                assert!(volume.get("emptyDir").is_some(), "{}: {volume}", pod.owner.id());
                continue;
            }
        };
        found.push((kind, name.as_str().unwrap(), source["optional"] == true));
    }
    for container in pod.containers() {
        assert!(container["envFrom"].is_null(), "{}", pod.owner.id());
    }
    found
}

/// The names of the Secrets that `job secrets` makes, or that the operator brings.
fn made_by_hook(objects: &Objects) -> BTreeSet<String> {
    let told = chart_tests::settings::all(objects);
    let told =
        told.iter().find(|one| one.container == "secrets").map(chart_tests::settings::Told::json);
    let secrets = told.map(|told| told["secrets"].clone()).unwrap_or_default();
    let secrets = secrets.as_object().into_iter().flatten();
    secrets.map(|(_, secret)| secret["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_hook_needs_is_a_hook_before_it() {
    let Some(rendered) = files::rendered() else { return };
    let (mut own, mut optional) = (0, 0);
    for (file, objects) in rendered {
        let generated = made_by_hook(objects);
        let hooks = objects.0.iter().filter(|one| one.is_hook() && !events(one).contains("test"));
        for hook in hooks {
            for (kind, name, does_without) in hook.pod().iter().flat_map(needs) {
                let id = format!("{file}: {} needs {kind} {name}", hook.id());
                match objects.get(kind, name) {
                    Some(object) if object.is_hook() => {
                        own += 1;
                        assert!(weight(object) < weight(hook), "{id}: it comes later");
                        assert!(events(hook).is_subset(&events(object)), "{id}: not each time");
                    }
                    // The release's own, as the revision before left it, if it did.
                    Some(_) => {
                        optional += 1;
                        assert!(does_without, "{id}, which is the release's");
                    }
                    None => {
                        let there = does_without || generated.contains(name);
                        assert!(kind == "Secret" && there, "{id}, which nothing makes");
                    }
                }
            }
        }
    }
    assert!(own > 150 && optional > 0, "{own} {optional}");
}

/// The login that the upgrade brings, and the one that is there, where it is there.
#[test]
fn quiesce_has_both_logins_where_one_follows_the_other() {
    let Some(helm) = Helm::find() else { return };
    for file in ["passwords", "passwords-postgresql"] {
        let objects = helm.objects(&[&files::named(file)]);
        let pod = objects.job("quiesce").pod().unwrap();
        let brought = objects.one("Secret", "maas-quiesce");
        let present = objects.one("Secret", "maas-db-user");
        assert!(brought.is_hook() && !present.is_hook(), "{file}");
        assert_eq!(brought.annotation("helm.sh/resource-policy"), None, "{file}: it goes");
        assert_eq!(brought.at("/data"), present.at("/data"), "{file}");
        let path = |volume: &str| {
            let mounts = Pod::mounts(pod.container("quiesce")).find(|one| one["name"] == volume);
            mounts.unwrap_or_else(|| panic!("{file}: {volume}"))["mountPath"].clone()
        };
        let secrets = "/etc/maas-deployer/secrets";
        assert_eq!(path("db-user"), format!("{secrets}/db-user"));
        assert_eq!(path("db-user-present"), format!("{secrets}/db-user-present"));
        let source = |volume: &str| pod.volume(volume).unwrap()["secret"]["secretName"].clone();
        assert_eq!(
            (source("db-user"), source("db-user-present")),
            ("maas-quiesce".into(), "maas-db-user".into())
        );
    }
    let objects = helm.objects(&[&files::named("defaults")]);
    let pod = objects.job("quiesce").pod().unwrap();
    assert!(
        pod.volume("db-user-present").is_none() && objects.get("Secret", "maas-quiesce").is_none()
    );
}

#[test]
fn quiesce_verifies_the_database_as_the_upgrade_will() {
    let Some(objects) = files::objects("database-tls") else { return };
    let (own, releases) =
        (objects.one("ConfigMap", "maas-quiesce"), objects.one("ConfigMap", "maas-database-ca"));
    assert_eq!(own.at("/data"), releases.at("/data"));
    let pod = objects.job("quiesce").pod().unwrap();
    assert_eq!(pod.volume("database-ca").unwrap()["configMap"]["name"], "maas-quiesce");
    let mut mounts = Pod::mounts(pod.container("quiesce"));
    assert!(mounts.any(|one| one["mountPath"] == "/etc/maas-deployer/database-ca"));
}

#[test]
fn without_a_region_of_its_own_a_release_stops_none() {
    let Some(helm) = Helm::find() else { return };
    let base = [&*files::named("tls"), &*files::named("passwords")];
    let components = |objects: &Objects| -> BTreeSet<String> {
        objects.0.iter().map(|object| object.component().to_owned()).collect()
    };
    let with = components(&helm.objects(&base));
    let without =
        components(&helm.clone().set(&["manifests.region_statefulset=false"]).objects(&base));
    assert!(with.contains("quiesce") && !without.contains("quiesce"));
    // These have toggles, and a database of a region elsewhere may be theirs to look after.
    for component in
        ["secrets", "db-init", "db-sync", "seed-secret", "create-admin", "enable-tls", "configure"]
    {
        assert!(without.contains(component), "{component}");
    }
}

/// The Secret may have been made, or brought, for another name than the values say.
#[test]
fn the_charts_database_is_of_whom_the_secret_says() {
    let Some(objects) = files::objects("postgresql") else { return };
    let pod = objects.pod_of("maas-postgresql");
    let server = pod.container("postgresql");
    let mounted = Pod::mounts(server).find(|one| one["name"] == "db-admin").unwrap();
    for (variable, key) in [
        ("POSTGRES_USER_FILE", "DATABASE_USERNAME"),
        ("POSTGRES_PASSWORD_FILE", "DATABASE_PASSWORD"),
    ] {
        let path = format!("{}/{key}", mounted["mountPath"].as_str().unwrap());
        assert_eq!(Pod::env(server, variable), Some(&*path));
        let items = pod.volume("db-admin").unwrap()["secret"]["items"].to_string();
        assert!(items.contains(key), "{items}");
    }
    assert_eq!(Pod::env(server, "POSTGRES_USER"), None);
}
