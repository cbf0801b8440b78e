//! Secrets stand in Secrets, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chart_tests::{Helm, Object, Pod, files, values, yaml};
use serde_json::Value;

/// Secret texts of value files end in this.
const MARK: &str = "4711";

/// Every text of a value that ends in the mark, but of keys that are ignored.
fn marked(value: &Value) -> Vec<String> {
    let paths = values::leaves(value);
    let texts = paths.iter().filter_map(|path| {
        let ignored = path.join(".") == "secrets.maas_region.value";
        let text = values::at(value, path)?.as_str()?;
        (text.ends_with(MARK) && !ignored).then(|| text.to_owned())
    });
    texts.collect()
}

#[test]
fn a_secret_stands_in_a_secret_alone() {
    let Some(rendered) = files::rendered() else { return };
    let mut count = 0;
    for (file, objects) in rendered {
        let values = yaml(&files::named(file));
        let secrets = objects.kind("Secret").map(|one| one.json["data"].clone());
        let kept: Vec<String> = secrets
            .flat_map(|data| data.as_object().unwrap().values().cloned().collect::<Vec<_>>())
            .map(|text| STANDARD.decode(text.as_str().unwrap()).unwrap())
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect();
        for secret in marked(&values) {
            count += 1;
            // In JSON, as in a preseed, quotes are escaped.
            let quoted = serde_json::to_string(&secret).unwrap();
            let found = kept.iter().any(|text| *text == secret || text.contains(&quoted));
            assert!(found, "{file}: {secret} is in no Secret");
        }
        for object in objects.0.iter().filter(|object| object.kind() != "Secret") {
            let text = object.json.to_string();
            let encoded = STANDARD.encode(MARK);
            assert!(!text.contains(MARK) && !text.contains(&encoded), "{file}: {}", object.id());
        }
    }
    assert!(count >= 12, "{count}");
}

#[test]
fn a_password_changes_no_name_and_no_pod() {
    let Some(helm) = Helm::find() else { return };
    // A digest of a password could be guessed from.
    let keys = [
        "endpoints.maas_db.auth.admin.password",
        "endpoints.maas_db.auth.user.password",
        "endpoints.maas_region.auth.admin.password",
        "conf.maas.system_passwd",
        "conf.maas.tls.key",
        "conf.ssh.private_key",
    ];
    let base = files::named("tls");
    let render = |word: &str| {
        let settings: Vec<_> = keys.iter().map(|key| format!("{key}={word}")).collect();
        let settings: Vec<_> = settings.iter().map(String::as_str).collect();
        let helm = helm.clone().set(&settings).set(&["manifests.secret_ssh_key=true"]);
        let mut objects = helm.objects(&[&base]);
        objects.0.retain(|object| object.kind() != "Secret");
        objects.0
    };
    assert_eq!(render("one"), render("two"));
}

#[test]
fn generated_secrets_are_not_the_charts() {
    let Some(helm) = Helm::find() else { return };
    for file in ["defaults", "postgresql", "cache"] {
        let objects = helm.objects(&[&files::named(file)]);
        let names: Vec<_> = objects.kind("Secret").map(Object::name).collect();
        assert_eq!(names, ["maas-settings"], "{file}");
    }
}

#[test]
fn given_passwords_outlive_the_release() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(&[&files::named("passwords")]);
    let own = |secret: &&Object| !secret.is_hook() && secret.name() != "maas-settings";
    let secrets: Vec<_> = objects.kind("Secret").filter(own).collect();
    assert_eq!(secrets.len(), 3);
    for secret in secrets {
        assert_eq!(secret.annotation("helm.sh/resource-policy"), Some("keep"), "{}", secret.id());
    }
}

#[test]
fn the_hook_makes_what_no_value_gives() {
    let Some(helm) = Helm::find() else { return };
    let by = |helm: &Helm, file: &str| {
        let objects = helm.objects(&[&files::named(file)]);
        let pod = objects.job("secrets").pod().unwrap();
        let text = Pod::env(pod.container("secrets"), "MAAS_DEPLOYER_SETTINGS").unwrap();
        serde_json::from_str::<Value>(text).unwrap()["secrets"].clone()
    };
    let told = |file: &str| by(&helm, file);
    // The database is the operator's, and so is its admin.
    let external = told("defaults");
    assert_eq!(external["db_admin"]["generate"], false);
    for made in ["db_user", "admin", "region"] {
        assert_eq!(external[made]["generate"], true, "{made}");
    }
    assert_eq!(told("postgresql")["db_admin"]["generate"], true);
    // Somebody else made the role: no admin is needed, and no password can be made up.
    let made = by(&helm.clone().set(&["manifests.job_db_init=false"]), "defaults");
    assert_eq!((made.get("db_admin"), &made["db_user"]["generate"]), (None, &false.into()));
    // A rack's release has no database and no admin, and what it shares with its region
    // is made there.
    assert_eq!(
        told("rack-only"),
        serde_json::json!({"region": {"name": "maas-region-secret", "generate": false}})
    );
    let racks = helm.clone().set(&["endpoints.maas_region.auth.admin.password=p"]);
    let racks = racks.objects(&[&files::named("rack-only")]);
    assert!(racks.get("Secret", "maas-admin").is_none());
    // The chart renders these after the hook, which must not ask for them.
    let given = told("passwords");
    assert_eq!(
        given,
        serde_json::json!({"region": {"name": "maas-region-secret", "generate": true}})
    );
    let names = told("secret-names");
    assert_eq!(names["db_user"]["name"], "a-db-user");
    assert_eq!(names["region"]["name"], "a-region-secret");
}

/// A proxy's URL and a setting of MAAS may hold a login: MAAS and the mirror get them from
/// Secrets, and another one is taken up by what uses it.
#[test]
fn logins_in_settings_are_mounted_and_followed() {
    let Some(helm) = Helm::find() else { return };
    let base = files::named("logins");
    let objects = helm.objects(&[&base]);
    let pod = objects.job("configure").pod().unwrap();
    for (volume, secret) in [("maas-settings", "maas-settings"), ("own-settings", "our-settings")] {
        assert_eq!(pod.volume(volume).unwrap()["secret"]["secretName"], secret);
        let mut mounts = Pod::mounts(pod.container("configure"));
        let mount = mounts.find(|mount| mount["name"] == volume).unwrap();
        assert_eq!(mount["mountPath"], format!("/etc/maas-deployer/secrets/{volume}"));
    }
    let pod = objects.pod_of("maas-region");
    let mirror = pod.container("mirror");
    assert_eq!(mirror["envFrom"][0]["secretRef"]["name"], "our-mirror-env");
    let data = objects.one("Secret", "maas-mirror-env").at("/data").as_object().unwrap().clone();
    let mut names = Vec::new();
    for variable in mirror["env"].as_array().unwrap() {
        let reference = &variable["valueFrom"]["secretKeyRef"];
        assert_eq!(
            (&reference["name"], &reference["key"]),
            (&"maas-mirror-env".into(), &variable["name"])
        );
        names.push(variable["name"].as_str().unwrap());
    }
    assert_eq!(names, data.keys().collect::<Vec<_>>());
    // No argument has the login.
    assert!(names.contains(&"MAAS_MIRROR_UPSTREAM"));
    assert!(!pod.argv("mirror").contains(&"--upstream"), "{:?}", pod.argv("mirror"));
    assert!(pod.argv("mirror").contains(&"--every"));

    let names = |set: &str| {
        let objects = helm.clone().set(&[set]).objects(&[&base]);
        let region = objects.pod_of("maas-region").json.clone();
        (objects.job("configure").name().to_owned(), region)
    };
    let (job, region) = names("conf.maas.workers=4");
    let proxy = names("conf.maas.proxy.proxy_server=http://site:other@proxy.example.com:3128");
    assert_ne!(proxy.0, job);
    assert_eq!(proxy.1, region, "the region has no use for it");
    let env = names("conf.cache.env.HTTPS_PROXY=http://site:other@proxy.example.com:3128");
    assert_ne!(env.1, region);
    assert_eq!(env.0, job, "nor has configure for this");
    assert_ne!(names("conf.cache.upstream=https://site:other@images.example.com/").1, region);
}

/// Names of variables become keys of a Secret.
#[test]
fn a_variable_has_a_variables_name() {
    let Some(helm) = Helm::find() else { return };
    for name in ["a b", "a-b", "1a"] {
        let refusal = helm.clone().set(&[&format!("conf.cache.env.{name}=x")]).refusal(&[]);
        assert!(refusal.contains(&format!("invalid propertyName '{name}'")), "{refusal}");
    }
}
