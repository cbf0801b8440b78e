//! Migrations of the schema that were killed or failed half way, and who may go on after them.

use fixtures::Postgres;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

use crate::quiesce::with_region;
use crate::region::{sql, world};
use crate::support::{Running, World, eventually};

/// What db-sync recorded: version, from, to.
fn record(database: &str) -> String {
    let text = "SELECT version, migrating_from, migrating_to FROM maas_deployer.schema_record";
    sql(database, text)
}

/// A db-sync to MAAS 3.7.3 on a schema of 3.6.4, in the middle of its migration; and the process
/// that it runs.
fn migrating(world: &mut World, database: &str, milliseconds: &str) -> (Running, Pid) {
    world.image_version("1:3.7.3-18000-gabc");
    world.env("STAND_IN_MIGRATION_MS", milliseconds);
    let (pid, script) = (world.path("pid"), std::fs::read_to_string(world.path("bin/maas-region")));
    let script = script.expect("script").lines().nth(1).expect("exec").to_owned();
    world.program("maas-region", &format!("echo $$ >'{}'\n{script}", pid.display()));
    let running = world.job(&["db-sync"]).spawn();
    let begun = "SELECT count(*) FROM standin_migration_run WHERE number = 6";
    eventually("the migration to be under way", || sql(database, begun) == "1");
    let pid = std::fs::read_to_string(pid).expect("pid").trim().parse().expect("number");
    (running, Pid::from_raw(pid).expect("pid"))
}

/// As the kubelet kills a pod: all of it at once.
fn kill((running, program): (Running, Pid)) {
    running.signal(Signal::KILL);
    kill_process_group(program, Signal::KILL).expect("kill");
    running.wait().expect(137);
}

#[test]
fn a_migration_that_was_killed_lets_no_older_maas_back() {
    let database = "sync_killed";
    let mut world = world(database);
    let cluster = with_region(&mut world);
    kill(migrating(&mut world, database, "500"));
    assert_eq!(record(database), "|3.6.4|3.7.3");
    world.env("STAND_IN_MIGRATION_MS", "0");

    // The MAAS of before: a rollback, or a region that was scaled up by hand.
    world.image_version("1:3.6.4-17623-gabc");
    world.job(&["quiesce"]).run().failed(5, "quiesce-half-migrated");
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 1);
    world.job(&["wait", "schema"]).run().failed(5, "wait-half-migrated");
    world.job(&["db-sync"]).run().failed(5, "db-sync-half-migrated");
    assert_eq!(record(database), "|3.6.4|3.7.3");

    // The upgrade again.
    world.image_version("1:3.7.3-18000-gabc");
    let run = world.job(&["quiesce"]).run().expect(0);
    run.changed("a migration from MAAS 3.6.4 to 3.7.3 has begun and not ended");
    assert_eq!(cluster.get("statefulsets/maas-region").unwrap()["spec"]["replicas"], 0);
    let run = world.job(&["wait", "schema", "--timeout", "1s"]).run().expect(1);
    assert!(run.message().contains("from MAAS 3.6.4 to 3.7.3 has begun and not"), "{}", run.stderr);
    let run = world.job(&["db-sync"]).run().expect(0);
    run.changed("migrated the schema from MAAS 3.6.4 to 3.7.3");
    assert!(run.stderr.contains("an earlier migration has not ended"), "{}", run.stderr);
    assert_eq!(record(database), "3.7.3||");
    world.job(&["wait", "schema", "--timeout", "5s"]).run().expect(0);
    world.job(&["quiesce"]).run().expect(0).unchanged();
    world.job(&["db-sync"]).run().expect(0).unchanged();
}

/// PostgreSQL learns late that a client is dead: a statement goes on to its end.
#[test]
fn what_a_killed_migration_began_in_the_database_is_waited_for() {
    let database = "sync_leftover";
    let mut world = world(database);
    let begun = migrating(&mut world, database, "600000");
    let statement = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = 'sync_leftover' AND state = 'active' AND query LIKE '%pg_sleep($1)%'";
    eventually("the statement to run", || sql("postgres", statement) == "1");
    kill(begun);
    world.env("STAND_IN_MIGRATION_MS", "0");
    let running = world.job(&["db-sync"]).spawn();
    let waited = "what an earlier migration began in the database to end";
    eventually("it to wait", || running.stderr().contains(waited));
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = 'sync_leftover' AND application_name <> 'maas-deployer'";
    sql("postgres", end);
    let run = running.wait().expect(0);
    run.changed("migrated the schema from MAAS 3.6.4 to 3.7.3");
}

#[test]
fn a_migration_that_failed_half_way_is_gone_on_with_by_the_same_or_a_newer_maas() {
    let database = "sync_half";
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!(database);
    world.public("secrets/db-user/DATABASE_USERNAME", database);
    world.job(&["db-init"]).run().expect(0);
    // All migrations but the last.
    world.stand_in();
    let script = std::fs::read_to_string(world.path("bin/maas-region")).unwrap();
    let script = script.lines().nth(1).unwrap().replace("exec ", "STAND_IN_VERSION=3.6.4 ");
    world.image_version("1:3.7.3-18000-gabc");
    let failing = format!("{script}\necho 'ProgrammingError: column x does not exist' >&2; exit 1");
    world.program("maas-region", &failing);
    let run = world.job(&["db-sync"]).run().expect(1);
    let message = run.message();
    assert!(message.contains("the migration of the schema to MAAS 3.7.3 has begun"), "{message}");
    assert_eq!(record(database), "||3.7.3");
    world.stand_in();

    world.image_version("1:3.6.4-17623-gabc");
    let run = world.job(&["db-sync"]).run().expect(5);
    assert!(run.message().contains("to MAAS 3.7.3 has begun and not ended"), "{}", run.stderr);
    // A newer one takes it over, and from then on it is the least that will do.
    world.image_version("1:3.8.0-19000-gabc");
    world.program("maas-region", &failing.replace("=3.6.4", "=3.7.3"));
    world.job(&["db-sync"]).run().expect(1);
    assert_eq!(record(database), "||3.8.0");
    world.image_version("1:3.7.3-18000-gabc");
    world.job(&["db-sync"]).run().expect(5);
    world.stand_in();
    world.image_version("1:3.8.0-19000-gabc");
    world.job(&["db-sync"]).run().expect(0).changed("made the schema of MAAS 3.8.0");
    assert_eq!(record(database), "3.8.0||");
}

/// A broken image is no reason to keep the old one from its schema.
#[test]
fn a_migration_that_wrote_nothing_never_was() {
    let server = Postgres::start().expect("PostgreSQL");
    server.sql("postgres", "ALTER SYSTEM SET autovacuum = off").expect("SQL");
    server.sql("postgres", "SELECT pg_reload_conf()").expect("SQL");
    let mut world = World::with_server(&server);
    world.stand_in();
    world.made_database();
    world.image_version("1:3.7.3-18000-gabc");
    world.program(
        "maas-region",
        "echo 'Traceback (most recent call last):' >&2; \
        echo \"ModuleNotFoundError: No module named 'maasserver'\" >&2; exit 1",
    );
    world.job(&["db-sync"]).run().failed(1, "db-sync-fails");
    world.job(&["wait", "schema", "--timeout", "1s"]).run().expect(1);
    world.image_version("1:3.6.4-17623-gabc");
    world.job(&["wait", "schema", "--timeout", "5s"]).run().expect(0);
    world.job(&["db-sync"]).run().expect(0).unchanged();
    // What was written is not forgotten.
    world.image_version("1:3.7.3-18000-gabc");
    let psql = format!(
        "PGPASSWORD='{}' psql -h {} -p {} -U {} -d maasdb -c 'CREATE TABLE half (x int)' >&2; exit 1",
        server.password(),
        server.host(),
        server.port(),
        server.superuser()
    );
    world.program("maas-region", &psql);
    world.job(&["db-sync"]).run().failed(1, "db-sync-fails-half-way");
    world.image_version("1:3.6.4-17623-gabc");
    world.job(&["wait", "schema"]).run().expect(5);
}

/// Whoever takes the lock now migrates too: two at once must not be.
#[test]
fn a_lock_that_is_lost_stops_the_migration() {
    let database = "sync_lost";
    let mut world = world(database);
    let (running, program) = migrating(&mut world, database, "20000");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = 'sync_lost' AND application_name = 'maas-deployer'";
    assert_eq!(sql("postgres", end), "1");
    running.wait().failed(1, "db-sync-lost-lock");
    let stat = format!("/proc/{}/stat", program.as_raw_nonzero());
    eventually("the program to have ended", || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    // What it was at in the server.
    sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'sync_lost'",
    );
    world.env("STAND_IN_MIGRATION_MS", "0");
    world.job(&["db-sync"]).run().expect(0).changed("from MAAS 3.6.4 to 3.7.3");
}

#[test]
fn what_earlier_deployers_recorded_is_read_and_extended() {
    let database = "sync_old_record";
    let mut world = World::with_server(Postgres::shared().expect("PostgreSQL"));
    world.settings["database"]["name"] = json!(database);
    world.public("secrets/db-user/DATABASE_USERNAME", database);
    world.stand_in();
    world.job(&["db-init"]).run().expect(0);
    sql(
        database,
        "SET ROLE sync_old_record; CREATE SCHEMA maas_deployer; \
         CREATE TABLE maas_deployer.schema_record (id integer PRIMARY KEY CHECK (id = 1), \
         version text NOT NULL, recorded_at timestamptz NOT NULL DEFAULT now()); \
         INSERT INTO maas_deployer.schema_record (id, version) VALUES (1, '3.6.4')",
    );
    world.job(&["wait", "schema", "--timeout", "5s"]).run().expect(0);
    world.job(&["db-sync"]).run().expect(0).unchanged();
    world.image_version("1:3.7.3-18000-gabc");
    world.job(&["db-sync"]).run().expect(0).changed("from MAAS 3.6.4 to 3.7.3");
    assert_eq!(record(database), "3.7.3||");
}

/// Where the operator makes role and database, db-init does not look.
#[test]
fn a_server_that_is_too_old_is_refused_by_db_sync_too() {
    let database = "sync_old_server";
    let world = world(database);
    // No older server can be had here: this one says that it is.
    sql(
        database,
        "CREATE SCHEMA lie; GRANT USAGE ON SCHEMA lie TO PUBLIC; \
         CREATE FUNCTION lie.current_setting(text) RETURNS text \
         LANGUAGE sql AS $$ SELECT '130005' $$; \
         ALTER ROLE sync_old_server SET search_path = lie, pg_catalog, public",
    );
    world.job(&["db-sync"]).run().failed(5, "db-sync-old-server");
}
