//! Another password for the database, in one upgrade, as the chart's README says.

use install_tests::{Release, Tool, run};

use crate::installed::{complete_images, maas};
use crate::upgrades::pods;

/// Whether MAAS's role gets into its database with this password.
fn gets_in(release: &Release, password: &str) -> bool {
    let password = format!("PGPASSWORD={password}");
    let psql = ["psql", "--host", "127.0.0.1", "--username", "maas", "--dbname", "maasdb"];
    let args = [&["env", &password], &psql[..], &["-Atc", "SELECT 1"]].concat();
    release.kube.exec(&release.pod("postgresql"), "postgresql", &args).success
}

/// One upgrade that leaves nothing but the region, and the database, with another password.
fn upgrade(release: &Release, settings: &[&str], old: &str, new: &str) {
    assert!(gets_in(release, old) && !gets_in(release, new));
    let before = pods(release);
    let settings: Vec<&str> = settings.iter().flat_map(|one| ["--set", one]).collect();
    release.apply(Tool::Deployer, "upgrade", &settings).expect("an upgrade");
    assert!(gets_in(release, new) && !gets_in(release, old));
    let after = pods(release);
    for component in ["region", "rack", "postgresql"] {
        let pod = release.pod(component);
        assert_eq!(after[&pod] != before[&pod], component == "region", "{pod}");
    }
    // It works, on a session that it opened with the new password.
    assert_eq!(complete_images(&maas(release)).map(|all| all.len()), Some(2));
    // Nothing of the hooks stays, and the same upgrade again has nothing to do.
    let own = release.object("quiesce");
    let left = release.kube.get(&["job,secret,configmap,serviceaccount,role"]).expect("objects");
    let names = left["items"].as_array().expect("items").iter();
    let names: Vec<_> = names.map(|one| one["metadata"]["name"].clone()).collect();
    assert!(!names.iter().any(|name| *name == own), "{names:?}");
    release.apply(Tool::Deployer, "upgrade", &settings).expect("the same again");
    assert_eq!(pods(release), after);
}

/// The hook cannot log in, as the Secret has what db-init has yet to set.
pub(crate) fn generated(release: &Release) {
    let secret = release.object("db-user");
    let old = release.kube.secret(&secret, "DATABASE_PASSWORD").expect("the Secret");
    let args = ["patch", "secret", &secret, "--patch-file", "/dev/stdin"];
    let patch = br#"{"stringData": {"DATABASE_PASSWORD": "changed-by-hand"}}"#;
    run(&mut release.kube.command(&args), patch).expect("kubectl patch");
    upgrade(release, &["secrets.maas_db.revision=2"], &old, "changed-by-hand");
}

/// The Secret, which the hook could mount, is made only after it; then it is there, and of the
/// password before.
pub(crate) fn given(release: &Release) {
    release.kube.ok(&["delete", "secret", &release.object("db-user")]);
    let with = |password: &str| format!("endpoints.maas_db.auth.user.password={password}");
    let settings = [&*with("given"), "secrets.maas_db.revision=3"];
    upgrade(release, &settings, "changed-by-hand", "given");
    let settings = [&*with("given-again"), "secrets.maas_db.revision=4"];
    upgrade(release, &settings, "given", "given-again");
}
