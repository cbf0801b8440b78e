//! Jobs that run maas-region and maas-rack: create-admin, register-rack, seed-secret.

use fixtures::Postgres;
use serde_json::json;

use crate::support::{Maas, World, eventually};

/// A pod whose database, with user and schema, is called so.
pub(crate) fn world(name: &str) -> World {
    let server = Postgres::shared().expect("PostgreSQL");
    let mut world = World::with_server(server);
    world.settings["database"]["name"] = json!(name);
    world.public("secrets/db-user/DATABASE_USERNAME", name);
    world.stand_in();
    world.made_database();
    world
}

pub(crate) fn sql(database: &str, text: &str) -> String {
    let server = Postgres::shared().expect("PostgreSQL");
    server.sql(database, text).expect("SQL").trim().to_owned()
}

/// Writes down the arguments of every program that is run.
pub(crate) fn spied(world: &World) {
    let log = world.path("argv.log");
    let binary = std::fs::read_to_string(world.path("bin/maas-region")).expect("script");
    let script = binary.lines().nth(1).expect("exec").to_owned();
    world.program("maas-region", &format!("echo \"$@\" >>'{}'\n{script}", log.display()));
}

#[test]
fn the_administrator_is_made_once_and_no_password_is_an_argument() {
    let mut world = world("admin_once");
    spied(&world);
    world.job(&["create-admin"]).run().expect(0).changed("made the administrator admin");
    world.job(&["create-admin"]).run().expect(0).unchanged();
    let argv = std::fs::read_to_string(world.path("argv.log")).unwrap();
    assert!(argv.contains("createadmin --username admin"), "{argv}");
    assert!(!argv.contains("pa$$"), "{argv}");
    // The password is the Secret's: the API gives its key.
    let maas = Maas::start(&mut world, &[]);
    world.settings["config"] = json!({"enable_analytics": false});
    world.job(&["configure"]).run().expect(0);
    drop(maas);
}

/// Django's own table, which MAAS has and the stand-in keeps under another name.
fn with_auth_user(database: &str) {
    let view = "CREATE VIEW auth_user AS \
        SELECT username, email, is_superuser, username <> 'gone' AS is_active FROM standin_user; \
        GRANT SELECT ON auth_user TO PUBLIC";
    sql(database, view);
}

#[test]
fn a_user_who_is_there_must_be_an_administrator() {
    let world = world("admin_rights");
    with_auth_user("admin_rights");
    world.job(&["create-admin"]).run().expect(0).changed("made the administrator admin");
    spied(&world);
    world.job(&["create-admin"]).run().expect(0).unchanged();
    assert!(!world.path("argv.log").exists(), "nothing was to be run");
    sql("admin_rights", "UPDATE standin_user SET is_superuser = false");
    world.job(&["create-admin"]).run().failed(5, "create-admin-no-superuser");
    sql("admin_rights", "UPDATE standin_user SET is_superuser = true, username = 'gone'");
    world.public("secrets/admin/USERNAME", "gone");
    world.job(&["create-admin"]).run().failed(5, "create-admin-inactive");
    // Another name, the same address: MAAS would refuse it without saying which.
    world.public("secrets/admin/USERNAME", "second");
    world.job(&["create-admin"]).run().failed(5, "create-admin-address");
}

#[test]
fn an_administrator_that_cannot_be_is_refused() {
    let world = world("admin_bad");
    world.public("secrets/admin/USERNAME", "--superuser");
    world.job(&["create-admin"]).run().failed(5, "create-admin-name");
    world.public("secrets/admin/USERNAME", "admin");
    world.public("secrets/admin/EMAIL", "nobody");
    world.job(&["create-admin"]).run().failed(5, "create-admin-email");
    world.public("secrets/admin/PASSWORD", "");
    world.job(&["create-admin"]).run().failed(1, "create-admin-no-password");
}

#[test]
fn createadmin_that_asks_for_ever_is_bounded_by_the_signal() {
    let world = world("admin_endless");
    let begun = world.path("begun");
    let script =
        format!(": >'{}'; while :; do echo 'Password: EOFError' >&2; done", begun.display());
    world.program("maas-region", &script);
    let running = world.job(&["create-admin"]).spawn();
    eventually("maas-region to be asked", || begun.exists());
    running.signal(rustix::process::Signal::TERM);
    running.wait().expect(143);
}

#[test]
fn the_shared_secret_is_seeded_once() {
    let world = world("seed_once");
    world.job(&["wait", "shared-secret", "--timeout", "5s"]).run().failed(1, "wait-shared-secret");
    world.job(&["seed-secret"]).run().expect(0).changed("put the shared secret into the database");
    world.job(&["seed-secret"]).run().expect(0).unchanged();
    world.job(&["wait", "shared-secret", "--timeout", "5s"]).run().expect(0);
    let held = "SELECT value->>'secret' FROM maasserver_secret WHERE path = 'global/rpc-shared'";
    assert_eq!(sql("seed_once", held), "00112233445566778899aabbccddeeff");
}

#[test]
fn a_shared_secret_that_maas_cannot_read_is_refused() {
    let mut world = world("seed_bad");
    world.secret("secrets/region/REGION_SECRET", "notahexsecret");
    world.job(&["seed-secret"]).run().failed(5, "seed-secret-form");
}

#[test]
fn seed_secret_before_the_schema_says_what_comes_first() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("seed_early");
    world.public("secrets/db-user/DATABASE_USERNAME", "seed_early");
    world.job(&["db-init"]).run().expect(0);
    world.job(&["seed-secret"]).run().failed(5, "seed-secret-early");
}

#[test]
fn a_region_takes_up_the_seeded_secret() {
    let mut world = world("seed_region");
    world.job(&["seed-secret"]).run().expect(0);
    let _maas = Maas::with_key(&mut world, &[]);
    world.job(&["wait", "api", "--timeout", "20s"]).run().expect(0);
    let file = std::fs::read_to_string(world.path("root/var/lib/maas/secret")).unwrap();
    assert_eq!(file.trim(), "00112233445566778899aabbccddeeff");
}

#[test]
fn a_rack_is_registered_once_and_keeps_its_id() {
    let mut world = world("rack_once");
    let _maas = Maas::start(&mut world, &[]);
    let (state, conf) = (world.path("root/var/lib/maas"), world.path("root/etc/maas/rackd.conf"));
    let args = ["register-rack", "--state", state.to_str().unwrap(), "--configuration"];
    let args = [&args[..], &[conf.to_str().unwrap()]].concat();
    world.job(&args).run().expect(0).changed("registered the rack with http://");
    std::fs::write(state.join("maas_id"), "abc123").unwrap();
    world.job(&args).run().expect(0).unchanged();
    assert_eq!(std::fs::read_to_string(state.join("maas_id")).unwrap(), "abc123");
    let record = std::fs::read_to_string(state.join("maas-deployer-registered.json")).unwrap();
    assert!(!record.contains("00112233445566778899aabbccddeeff"), "{record}");
    // Another secret, or MAAS's own files gone: registered anew.
    world.secret("secrets/region/REGION_SECRET", "ffeeddccbbaa99887766554433221100");
    world.job(&args).run().expect(0).changed("registered");
    std::fs::remove_file(&conf).unwrap();
    world.job(&args).run().expect(0).changed("registered");
    world.job(&args).run().expect(0).unchanged();
}

#[test]
fn a_rack_without_a_region_says_what_it_waits_for() {
    let mut world = World::new();
    world.settings["region"] =
        json!({"url": "http://127.0.0.1:1/MAAS", "statefulset": "maas-region"});
    world.job(&["register-rack", "--timeout", "1s"]).run().failed(1, "register-rack-no-region");
}

/// They work on the database alone: where the region is must not make them run again.
#[test]
fn jobs_of_the_database_need_no_region() {
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!("no_region");
    world.public("secrets/db-user/DATABASE_USERNAME", "no_region");
    world.stand_in();
    world.settings.as_object_mut().expect("settings").remove("region");
    world.job(&["db-init"]).run().expect(0);
    world.job(&["db-sync"]).run().expect(0).changed("made the schema of MAAS 3.6.4");
    world.job(&["create-admin"]).run().expect(0).changed("made the administrator admin");
    let out = world.path("out/regiond.conf");
    world.job(&["region-conf", "--out", out.to_str().expect("path")]).run().expect(64);
}

#[test]
fn a_database_that_refuses_is_told_by_every_job_that_needs_it() {
    let mut world = world("refusing");
    let jobs = ["db-sync", "seed-secret", "create-admin", "disable-tls"];
    let told = |world: &World, why: &str, hint: &str| {
        for job in jobs {
            let message = world.job(&[job]).run().expect(1).message();
            let hint = format!("\nhint: {hint}");
            assert!(message.contains(why) && message.contains(&hint), "{job}: {message}");
        }
    };
    world.secret("secrets/db-user/DATABASE_PASSWORD", "notthepassword");
    told(&world, "the server does not accept the password", "put the user's password into");
    world.settings["database"]["port"] = json!(1);
    told(&world, "the server cannot be reached", "check endpoints.maas_db");
}
