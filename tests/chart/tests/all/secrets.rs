//! Secrets stand in Secrets, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chart_tests::{Helm, Pod, files, values, yaml};
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
        assert_eq!(objects.kind("Secret").count(), 0, "{file}");
    }
}

#[test]
fn given_passwords_outlive_the_release() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(&[&files::named("passwords")]);
    let secrets: Vec<_> = objects.kind("Secret").filter(|secret| !secret.is_hook()).collect();
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
    // A rack's release has no database.
    assert_eq!(told("rack-only").get("db_user"), None);
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
