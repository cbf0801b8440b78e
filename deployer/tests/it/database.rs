//! db-init, db-sync, and the database's faults.

use fixtures::{Certificate, Postgres};
use serde_json::json;

use crate::support::{World, eventually};

fn shared() -> &'static Postgres {
    Postgres::shared().expect("PostgreSQL")
}

/// A world with a database and a user of its own on the shared server.
fn world(name: &str) -> World {
    let mut world = World::with_server(shared());
    world.settings["database"]["name"] = json!(name);
    world.public("secrets/db-user/DATABASE_USERNAME", name);
    world
}

fn sql(server: &Postgres, database: &str, text: &str) -> String {
    server.sql(database, text).expect("SQL").trim().to_owned()
}

#[test]
fn db_init_makes_what_maas_needs_and_then_nothing() {
    let world = world("init_twice");
    let run = world.job(&["db-init"]).run().expect(0);
    run.changed("made the role init_twice");
    run.changed("made the database init_twice");
    world.job(&["db-init"]).run().expect(0).unchanged();
    // The user can do what migrations do, and nobody else gets in.
    let rights = "SELECT pg_get_userbyid(datdba), has_database_privilege('init_twice', oid, 'CREATE'), \
        pg_encoding_to_char(encoding), \
        EXISTS (SELECT FROM aclexplode(datacl) WHERE grantee = 0) \
        FROM pg_database WHERE datname = 'init_twice'";
    assert_eq!(sql(shared(), "postgres", rights), "init_twice|t|UTF8|f");
    let public = "SELECT has_schema_privilege('init_twice', 'public', 'CREATE')";
    assert_eq!(sql(shared(), "init_twice", public), "t");
}

#[test]
fn every_character_of_a_name_is_the_names_own() {
    let odd = "Ma\"a's; DROP ROLE x;-- ü";
    let world = world(odd);
    world.job(&["db-init"]).run().expect(0);
    world.job(&["db-init"]).run().expect(0).unchanged();
    world.job(&["wait", "database"]).run().expect(0);
    let found = "SELECT count(*) FROM pg_database WHERE datname = E'Ma\"a\\'s; DROP ROLE x;-- ü'";
    assert_eq!(sql(shared(), "postgres", found), "1");
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_made() {
    let world = world(&"x".repeat(64));
    world.job(&["db-init"]).run().failed(1, "db-init-long-name");
}

#[test]
fn another_password_in_the_secret_is_set() {
    let mut world = world("new_password");
    world.job(&["db-init"]).run().expect(0);
    world.secret("secrets/db-user/DATABASE_PASSWORD", "another'one\\");
    world.job(&["db-init"]).run().expect(0).changed("set the password");
    world.job(&["db-init"]).run().expect(0).unchanged();
    world.job(&["wait", "database", "--timeout", "5s"]).run().expect(0);
}

#[test]
fn no_password_reaches_the_servers_log() {
    let server = Postgres::start().expect("PostgreSQL");
    sql(&server, "postgres", "ALTER SYSTEM SET log_statement = 'all'");
    sql(&server, "postgres", "SELECT pg_reload_conf()");
    let mut world = World::with_server(&server);
    world.secret("secrets/db-user/DATABASE_PASSWORD", "findmeinthelog");
    world.job(&["db-init"]).run().expect(0);
    eventually("the statements to be logged", || server.log().contains("CREATE ROLE"));
    assert!(!server.log().contains("findmeinthelog"));
}

#[test]
fn an_administrator_who_is_no_superuser_is_enough() {
    let mut world = world("by_cloud");
    sql(shared(), "postgres", "CREATE ROLE cloud LOGIN CREATEROLE CREATEDB PASSWORD 'cloudpass1'");
    world.public("secrets/db-admin/DATABASE_USERNAME", "cloud");
    world.secret("secrets/db-admin/DATABASE_PASSWORD", "cloudpass1");
    world.job(&["db-init"]).run().expect(0);
    world.job(&["db-init"]).run().expect(0).unchanged();
    // A role that it made, and a database that it did not make for it.
    let mut world = self::world("by_cloud_2");
    world.public("secrets/db-admin/DATABASE_USERNAME", "cloud");
    world.secret("secrets/db-admin/DATABASE_PASSWORD", "cloudpass1");
    sql(shared(), "postgres", "CREATE DATABASE by_cloud_2 OWNER cloud");
    world.job(&["db-init"]).run().expect(0).changed("gave the database");
    world.job(&["db-init"]).run().expect(0).unchanged();
}

#[test]
fn one_user_for_both_needs_one_password() {
    let mut world = World::with_server(shared());
    world.public("secrets/db-user/DATABASE_USERNAME", "postgres");
    world.job(&["db-init"]).run().failed(5, "db-init-one-user-two-passwords");
    world.settings["database"]["name"] = json!("of_admin");
    world.secret("secrets/db-user/DATABASE_PASSWORD", shared().password());
    world.job(&["db-init"]).run().expect(0);
    world.job(&["db-init"]).run().expect(0).unchanged();
}

#[test]
fn a_database_of_another_encoding_is_refused() {
    let world = world("latin");
    let make =
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    sql(shared(), "postgres", make);
    world.job(&["db-init"]).run().failed(5, "db-init-encoding");
}

#[test]
fn a_database_of_somebody_else_becomes_maass() {
    let world = world("of_else");
    sql(shared(), "postgres", "CREATE DATABASE of_else");
    world.job(&["db-init"]).run().expect(0).changed("gave the database");
    world.job(&["db-init"]).run().expect(0).unchanged();
}

#[test]
fn a_server_that_is_too_old_is_refused_before_anything_is_made() {
    // No older server can be had here: this one says that it is.
    let server = Postgres::start().expect("PostgreSQL");
    let lie = "CREATE SCHEMA lie; CREATE FUNCTION lie.current_setting(text) RETURNS text \
        LANGUAGE sql AS $$ SELECT '130005' $$; \
        ALTER ROLE postgres SET search_path = lie, pg_catalog, public";
    sql(&server, "postgres", lie);
    let world = World::with_server(&server);
    world.job(&["db-init"]).run().failed(5, "db-init-old-server");
    assert_eq!(sql(&server, "postgres", "SELECT count(*) FROM pg_database"), "3");
}

#[test]
fn a_wrong_password_of_the_administrator_is_said() {
    let mut world = world("wrong_admin");
    world.secret("secrets/db-admin/DATABASE_PASSWORD", "notthepassword");
    world.job(&["db-init"]).run().failed(1, "db-init-password");
}

#[test]
fn a_server_that_is_not_there_is_said() {
    let mut world = world("no_server");
    world.settings["database"]["port"] = json!(1);
    world.job(&["db-init"]).run().failed(1, "db-init-unreachable");
}

#[test]
fn db_sync_migrates_once_and_records_it() {
    let mut world = world("sync_once");
    world.stand_in();
    world.job(&["db-init"]).run().expect(0);
    world.job(&["db-sync"]).run().expect(0).changed("made the schema of MAAS 3.6.4");
    world.job(&["db-sync"]).run().expect(0).unchanged();
    world.job(&["wait", "schema", "--timeout", "5s"]).run().expect(0);
    world.image_version("1:3.7.3-18000-gabc");
    world.job(&["wait", "schema", "--timeout", "5s"]).run().failed(1, "wait-schema");
    world.job(&["db-sync"]).run().expect(0).changed("from MAAS 3.6.4 to 3.7.3");
    world.job(&["wait", "schema", "--timeout", "5s"]).run().expect(0);
    let runs = "SELECT count(*) FROM standin_migration_run GROUP BY number ORDER BY 1 DESC LIMIT 1";
    assert_eq!(sql(shared(), "sync_once", runs), "1");
    world.image_version("1:3.6.4-17623-gabc");
    world.job(&["db-sync"]).run().failed(5, "db-sync-older");
    world.job(&["wait", "schema", "--timeout", "5s"]).run().expect(5);
}

#[test]
fn two_at_once_migrate_once() {
    let mut world = world("sync_two");
    world.stand_in();
    world.job(&["db-init"]).run().expect(0);
    world.env("STAND_IN_MIGRATION_MS", "300");
    let first = world.job(&["db-sync"]).spawn();
    let second = world.job(&["db-sync"]).spawn();
    let (first, second) = (first.wait().expect(0), second.wait().expect(0));
    let changes = [&first, &second].iter().filter(|run| run.stdout.contains("changed: ")).count();
    assert_eq!(changes, 1, "{}{}", first.stdout, second.stdout);
    let waited = if first.stdout.contains("changed: ") { second } else { first };
    assert!(waited.stderr.contains("another db-sync to end"), "{}", waited.stderr);
    let runs =
        "SELECT max(n) FROM (SELECT count(*) n FROM standin_migration_run GROUP BY number) x";
    assert_eq!(sql(shared(), "sync_two", runs), "1");
}

#[test]
fn a_database_that_goes_away_half_way_is_told_and_the_next_run_goes_on() {
    let server = Postgres::start().expect("PostgreSQL");
    let mut world = World::with_server(&server);
    world.stand_in();
    world.job(&["db-init"]).run().expect(0);
    world.env("STAND_IN_MIGRATION_MS", "500");
    let running = world.job(&["db-sync"]).spawn();
    eventually("the migration to begin", || running.stderr().contains("migrating the schema"));
    server.crash().expect("crash");
    let run = running.wait().expect(1);
    assert!(run.message().contains("hint: "), "{}", run.stderr);
    server.go().expect("start");
    world.job(&["db-sync"]).run().expect(0).changed("made the schema");
}

#[test]
fn the_image_must_say_its_version() {
    let world = world("no_version");
    world.job(&["db-init"]).run().expect(0);
    world.program("dpkg-query", "echo 'no packages found matching maas-region-api' >&2; exit 1");
    world.job(&["db-sync"]).run().failed(1, "db-sync-no-package");
}

#[test]
fn regiond_conf_is_read_by_a_yaml_parser_as_it_was_meant() {
    let world = World::with_server(shared());
    let out = world.path("out/regiond.conf");
    let out = out.to_str().expect("text");
    world.job(&["region-conf", "--out", out]).run().expect(0).changed("wrote");
    world.job(&["region-conf", "--out", out]).run().expect(0).unchanged();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(out).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o640);
    let text = std::fs::read_to_string(out).unwrap();
    let password = text.lines().find_map(|line| line.strip_prefix("database_pass: ")).unwrap();
    let read: String = serde_json::from_str(password).unwrap();
    assert_eq!(read, "Pä$$'w\"o;r\\d %40&:#{}-test");
    assert!(text.contains(&format!("database_port: {}\n", shared().port())), "{}", text.len());
    assert!(text.contains("maas_url: \"http://maas.example.org/MAAS\"\n"));
}

#[test]
fn tls_is_as_strict_as_libpq_is() {
    let server = Postgres::start_tls().expect("PostgreSQL");
    let mut world = World::with_server(&server);
    world.job(&["db-init"]).run().expect(0);
    let other = Certificate::generate().expect("certificate");
    let mut check = |mode: &str, ca: Option<&str>, host: &str| {
        world.settings["database"]["tls"] = json!({"mode": mode, "ca": ca.is_some()});
        world.settings["database"]["host"] = json!(host);
        world.public("database-ca/ca.crt", ca.unwrap_or_default());
        world.job(&["wait", "database", "--timeout", "20s"]).run().code == 0
    };
    let (right, wrong) = (Some(server.ca_pem()), Some(other.ca_pem.as_str()));
    assert!(check("disable", None, "127.0.0.1") && check("prefer", None, "127.0.0.1"));
    assert!(check("prefer", wrong, "127.0.0.1"), "prefer verifies nothing");
    assert!(check("require", None, "127.0.0.1"), "require verifies nothing without a CA");
    assert!(check("require", right, "127.0.0.1") && !check("require", wrong, "127.0.0.1"));
    assert!(check("verify-ca", right, "127.0.0.1") && !check("verify-ca", wrong, "127.0.0.1"));
    assert!(check("verify-full", right, "127.0.0.1") && !check("verify-full", wrong, "127.0.0.1"));
    // Another name of the same host, which the certificate does not have.
    let port = forward("127.0.0.2", server.port());
    let mut check = |mode: &str| {
        world.settings["database"]["tls"] = json!({"mode": mode, "ca": true});
        world.settings["database"]["host"] = json!("127.0.0.2");
        world.settings["database"]["port"] = json!(port);
        world.public("database-ca/ca.crt", server.ca_pem());
        world.job(&["wait", "database", "--timeout", "20s"]).run().code == 0
    };
    assert!(check("verify-ca") && !check("verify-full"));
}

#[test]
fn tls_that_a_server_lacks_is_said() {
    let mut world = World::with_server(shared());
    for mode in ["require", "verify-full"] {
        world.settings["database"]["tls"]["mode"] = json!(mode);
        world.public("database-ca/ca.crt", Certificate::generate().unwrap().ca_pem);
        world.settings["database"]["tls"]["ca"] = json!(true);
        let name = format!("db-init-tls-{mode}");
        world.job(&["db-init"]).run().failed(1, &name);
    }
    world.settings["database"]["tls"]["mode"] = json!("prefer");
    world.settings["database"]["name"] = json!("preferred");
    world.job(&["db-init"]).run().expect(0);
}

/// Forwards connections to a port of another address; its threads end with the test.
fn forward(address: &str, to: u16) -> u16 {
    let listener = std::net::TcpListener::bind((address, 0)).expect("listen");
    let port = listener.local_addr().expect("address").port();
    std::thread::spawn(move || {
        for here in listener.incoming().flatten() {
            let there = std::net::TcpStream::connect(("127.0.0.1", to)).expect("connect");
            let clone = |stream: &std::net::TcpStream| stream.try_clone().expect("clone");
            for (mut from, mut into) in [(clone(&here), clone(&there)), (there, here)] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut into);
                    let _ = into.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

#[test]
fn the_database_is_told_of_and_left_alone() {
    let world = world("facts");
    let facts = |world: &World| {
        world.job(&["check-database", "-o", "json"]).run().expect(0).json()["facts"].clone()
    };
    let before = facts(&world);
    assert_eq!(
        (&before["session_user"], &before["tls"]),
        (&json!(shared().superuser()), &json!(false))
    );
    assert!(before["version_number"].as_i64().expect("number") >= 140_000);
    assert_eq!((&before["encoding"], &before["user"]["is_there"]), (&json!(null), &json!(false)));
    assert_eq!(facts(&world), before, "it makes nothing");
    world.job(&["db-init"]).run().expect(0);
    let after = facts(&world);
    assert_eq!((&after["encoding"], &after["user"]["refused"]), (&json!("UTF8"), &json!(null)));
    world.public("secrets/db-user/DATABASE_PASSWORD", "another");
    let refused = facts(&world)["user"]["refused"].clone();
    assert_eq!(refused, json!("the server does not accept the password"));
    world.public("secrets/db-admin/DATABASE_PASSWORD", "another");
    world.job(&["check-database"]).run().failed(1, "check-database-password");
}

#[test]
fn ports_that_are_bound_are_told() {
    let world = World::new();
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a port");
    let port = socket.local_addr().expect("address").port();
    let named = format!("udp/{port}");
    let run = world.job(&["check-ports", "-o", "json", &named]).run().expect(0);
    assert_eq!(run.json()["facts"]["taken"], json!([named]));
    drop(socket);
    let loopback = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let named = format!("udp/{}", loopback.local_addr().expect("address").port());
    let run = world.job(&["check-ports", "-o", "json", &named]).run().expect(0);
    assert_eq!(run.json()["facts"]["taken"], json!([]));
    world.job(&["check-ports", "sctp/1"]).run().expect(64);
}
