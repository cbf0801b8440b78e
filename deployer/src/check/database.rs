//! The database, looked at from a pod with the logins that the jobs will use.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Names;
use super::probe::{Data, Ended, Probe, answer, put, schema};
use super::report::Check;
use super::workloads::Workload;
use crate::jobs::check_database::DatabaseFacts;
use crate::manifest::Document;

/// The oldest server that MAAS takes.
const OLDEST: i32 = 140_000;
/// The name of the probe.
pub(super) const ABOUT: &str = "database";

/// What is to be looked at, and how.
pub(super) enum Plan {
    /// Nothing, and why.
    Nothing(String),
    /// A Secret that the jobs will need is not there.
    NoSecret(String),
    /// By this pod.
    Probe(Probe),
}

/// The job whose pod is like the probe: db-init, which has all logins, or else db-sync.
fn like(workloads: &[Workload]) -> Option<&Workload> {
    let of = |component: &str| {
        workloads.iter().find(|one| one.kind == "Job" && one.component == component)
    };
    of("db-init").or_else(|| of("db-sync"))
}

/// A pod like that of the job which makes the database. What the release would bring itself
/// comes in a Secret of the probe's own; `exists` says whether a Secret is there.
pub(super) fn plan(
    workloads: &[Workload],
    documents: &[Document],
    secret_name: &str,
    exists: impl Fn(&str) -> bool,
) -> Plan {
    let Some(job) = like(workloads) else {
        return Plan::Nothing("the values turn off the jobs that use it".to_owned());
    };
    if settings(job).pointer("/database/bundled") == Some(&json!(true)) {
        return Plan::Nothing("the chart runs the database itself (postgresql.enabled)".to_owned());
    }
    let mut spec = job.written.clone();
    let mut data = Data::new();
    for volume in list(&mut spec, "volumes") {
        if let Some(missing) = prepare(volume, documents, secret_name, &exists, &mut data) {
            return Plan::NoSecret(missing);
        }
    }
    strip(&mut spec);
    Plan::Probe(Probe { about: ABOUT.to_owned(), spec, secret: data, is_about_images: false })
}

fn settings(job: &Workload) -> Value {
    let env = job.pod.containers.first().and_then(|one| one.env.as_ref());
    let text = env.into_iter().flatten().find(|one| one.name == "MAAS_DEPLOYER_SETTINGS");
    let text = text.and_then(|one| one.value.as_deref()).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

fn list<'a>(spec: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    spec.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Makes a volume be what the job will have; gives the name of a Secret that is to be there and
/// is not.
fn prepare(
    volume: &mut Value,
    documents: &[Document],
    secret_name: &str,
    exists: &impl Fn(&str) -> bool,
    data: &mut Data,
) -> Option<String> {
    let name = volume.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let text = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (kind, source) = match (text("/secret/secretName"), text("/configMap/name")) {
        (Some(source), _) => ("Secret", source),
        (_, Some(source)) => ("ConfigMap", source),
        _ => return None,
    };
    let rendered = documents.iter().find(|one| one.kind() == kind && one.name() == source);
    if let Some(rendered) = rendered {
        let held = copied(rendered);
        let items: Vec<Value> =
            held.keys().map(|key| json!({"key": format!("{name}.{key}"), "path": key})).collect();
        data.extend(held.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
        *volume = json!({"name": name, "secret": {"secretName": secret_name, "defaultMode": 288, "items": items}});
        return None;
    }
    if kind == "Secret" && !exists(&source) {
        // MAAS's own user may be made later, with a password that is made later.
        if name != "db-user" {
            return Some(source);
        }
        if let Some(secret) = volume.get_mut("secret").and_then(Value::as_object_mut) {
            secret.insert("optional".to_owned(), json!(true));
        }
    }
    None
}

/// What a rendered Secret or ConfigMap holds, in base64.
fn copied(document: &Document) -> BTreeMap<String, String> {
    use base64::Engine as _;
    let data = document.object.get("data").and_then(Value::as_object);
    let texts = data.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)));
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    texts
        .map(|(key, text)| {
            let is_plain = document.kind() == "ConfigMap";
            (key.clone(), if is_plain { encode(text) } else { text.to_owned() })
        })
        .collect()
}

/// The job's pod, told to look instead, at once, without an account.
fn strip(spec: &mut Value) {
    if let Some(all) = spec.get_mut("initContainers").and_then(Value::as_array_mut) {
        // It brings the program into an image that has none; the other waits.
        all.retain(|one| one.get("name").and_then(Value::as_str) == Some("deployer"));
    }
    for container in list(spec, "containers") {
        let args = json!(["job", "check-database", "-o", "json", "-q"]);
        put(container, "args", args);
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("serviceAccountName");
        spec.insert("automountServiceAccountToken".to_owned(), json!(false));
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(0));
    }
}

/// What the checks are where nothing was run.
pub(super) fn not_run(names: &Names, plan: &Plan) -> Option<Check> {
    let (id, what) = ("database.login", "the database, from a pod");
    match plan {
        Plan::Probe(_) => None,
        Plan::Nothing(why) => Some(Check::skip(id, what, why)),
        Plan::NoSecret(secret) => {
            let why = format!("the Secret {secret}, with the login of the database, is not there");
            Some(Check::fail(id, what, why).hint(format!(
                "kubectl -n {} create secret generic {secret} --from-literal=DATABASE_USERNAME=NAME --from-file=DATABASE_PASSWORD=FILE",
                names.namespace
            )))
        }
    }
}

/// Judges by how the probe ended and what it said.
pub(super) fn judge(names: &Names, ended: &Ended, log: &[String]) -> Vec<Check> {
    let (id, what) = ("database.login", "the database, from a pod");
    let space = &names.namespace;
    match ended {
        Ended::Stuck(reason) => {
            vec![
                Check::skip(id, what, format!("no pod could look at it: {reason}"))
                    .hint("see the checks of images, nodes and Pod Security admission"),
            ]
        }
        Ended::Late(last) => {
            vec![
                Check::fail(
                    id,
                    what,
                    format!("the pod that looks at it did not end in time: {last}"),
                )
                .hint(format!(
                    "kubectl -n {space} get events; then run this again, with a longer --timeout"
                )),
            ]
        }
        Ended::Seen(_) => match answer(log) {
            Some(said) if schema(&said) == "maas-deployer/job/1" => {
                let facts =
                    said.get("facts").cloned().and_then(|it| serde_json::from_value(it).ok());
                found(&facts.unwrap_or_default())
            }
            Some(said) => vec![refused(&said)],
            None => {
                let last = log.last().map_or("it said nothing", String::as_str);
                vec![
                    Check::fail(id, what, format!("the pod that looks at it failed: {last}"))
                        .hint("check that images.tags.maas_deployer is of this program's version"),
                ]
            }
        },
    }
}

/// Nobody could log in.
fn refused(said: &Value) -> Check {
    let texts = |key: &str| -> Vec<String> {
        let list = said.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let why = texts("causes").join(": ");
    let check = Check::fail("database.login", "the database, from a pod", why);
    match said.get("hint").and_then(Value::as_str) {
        Some(hint) => check.hint(hint),
        None => check,
    }
}

fn found(facts: &DatabaseFacts) -> Vec<Check> {
    let tls = if facts.tls { "over TLS" } else { "without TLS" };
    let mut checks = vec![
        Check::pass(
            "database.login",
            format!(
                "{} takes {} from a pod, {tls} (mode {})",
                facts.server, facts.session_user, facts.tls_mode
            ),
        ),
        version(facts),
        encoding(facts),
    ];
    checks.extend(facts.user.as_ref().map(|_| user(facts)));
    let has_all = facts.encoding.is_some() && facts.user.as_ref().is_none_or(|user| user.is_there);
    if !has_all {
        let id = "database.rights";
        let what = format!("rights of {} to make MAAS's role and database", facts.session_user);
        checks.push(if facts.may_create {
            Check::pass(id, format!("{what}: it has them"))
        } else {
            let hint = format!("ALTER ROLE \"{}\" CREATEROLE CREATEDB;", facts.session_user);
            Check::fail(id, what, "it may not make both").hint(format!("as a superuser: {hint}"))
        });
    }
    checks
}

fn version(facts: &DatabaseFacts) -> Check {
    let what = format!("PostgreSQL {}", facts.version);
    if facts.version_number >= OLDEST {
        return Check::pass("database.version", format!("{what}; MAAS needs 14 or newer"));
    }
    Check::fail("database.version", what, "MAAS needs PostgreSQL 14 or newer")
        .hint("upgrade the server, or name another in endpoints.maas_db")
}

fn encoding(facts: &DatabaseFacts) -> Check {
    let (id, what) = ("database.encoding", format!("the database {}", facts.database));
    match facts.encoding.as_deref() {
        None => Check::pass(id, format!("{what} is not there yet; the job db-init makes it")),
        Some("UTF8") => Check::pass(id, format!("{what} is there, in UTF8")),
        Some(other) => Check::fail(id, what, format!("its encoding is {other}; MAAS needs UTF8"))
            .hint("make it anew with ENCODING 'UTF8', or name another in endpoints.maas_db"),
    }
}

fn user(facts: &DatabaseFacts) -> Check {
    let id = "database.user";
    let Some(user) = &facts.user else { return Check::pass(id, "") };
    let what = format!("MAAS's user {}", user.name);
    match (&user.refused, user.is_there) {
        (_, false) => Check::pass(id, format!("{what} is not there yet; the job db-init makes it")),
        (None, true) => Check::pass(id, format!("{what} is there, and its password works")),
        (Some(why), true) => {
            let why = format!("it cannot log in ({why}); the job db-init will set its password");
            Check::warn(id, what, why).hint("if other programs use that role, give MAAS one of its own: endpoints.maas_db.auth.user.username")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::super::workloads::tests::rendered;
    use super::super::workloads::workloads;
    use super::*;

    fn of_chart(db: &Value, exists: bool) -> Plan {
        let (documents, _) = rendered(json!({"endpoints": {"maas_db": db}}));
        plan(&workloads(&documents), &documents, "own", |_| exists)
    }

    fn facts() -> DatabaseFacts {
        DatabaseFacts {
            server: "db:5432".into(),
            version: "15.4".into(),
            version_number: 150_004,
            tls_mode: "prefer".into(),
            session_user: "postgres".into(),
            may_create: true,
            database: "maasdb".into(),
            ..DatabaseFacts::default()
        }
    }

    #[test]
    fn passwords_of_the_values_come_in_a_secret_of_its_own() {
        let given = json!({"auth": {"admin": {"password": "secret"}, "user": {"password": "other"}},
            "tls": {"mode": "verify-full", "ca": "PEM"}});
        let Plan::Probe(probe) = of_chart(&given, false) else { panic!("no probe") };
        let keys: Vec<&str> = probe.secret.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "database-ca.ca.crt",
                "db-admin.DATABASE_PASSWORD",
                "db-admin.DATABASE_USERNAME",
                "db-user.DATABASE_PASSWORD",
                "db-user.DATABASE_USERNAME"
            ]
        );
        let text = probe.spec.to_string();
        assert!(!text.contains("secret\"}") && !text.contains("c2VjcmV0"), "{text}");
        assert!(text.contains("check-database") && !text.contains("\"wait\""), "{text}");
        assert!(probe.spec.get("serviceAccountName").is_none());
        assert_eq!(probe.spec["containers"][0]["name"], "db-init");
    }

    #[test]
    fn secrets_that_are_there_are_mounted_and_the_operators_must_be() {
        let Plan::Probe(probe) = of_chart(&json!({}), true) else { panic!("no probe") };
        assert!(probe.secret.is_empty());
        assert!(probe.spec.to_string().contains("\"secretName\":\"maas-db-admin\""));
        let Plan::NoSecret(name) = of_chart(&json!({}), false) else { panic!("a probe") };
        assert_eq!(name, "maas-db-admin");
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let check = not_run(&names, &Plan::NoSecret(name)).unwrap();
        assert!(
            check.hint.unwrap().starts_with("kubectl -n ns create secret generic maas-db-admin")
        );
    }

    #[test]
    fn the_charts_own_database_is_not_looked_at() {
        let (documents, _) = rendered(json!({"postgresql": {"enabled": true}}));
        let made = plan(&workloads(&documents), &documents, "own", |_| true);
        assert!(matches!(&made, Plan::Nothing(why) if why.contains("postgresql.enabled")));
        let off = json!({"manifests": {"job_db_init": false, "job_db_sync": false}});
        let (documents, _) = rendered(off);
        assert!(matches!(
            plan(&workloads(&documents), &documents, "own", |_| true),
            Plan::Nothing(_)
        ));
    }

    #[test]
    fn without_db_init_it_looks_as_db_sync_would() {
        let (documents, _) = rendered(json!({"manifests": {"job_db_init": false}}));
        let Plan::Probe(probe) = plan(&workloads(&documents), &documents, "own", |_| true) else {
            panic!("none")
        };
        let init = probe.spec["initContainers"].as_array().unwrap();
        assert_eq!((init.len(), &init[0]["name"]), (1, &json!("deployer")));
        assert_eq!(
            probe.spec["containers"][0]["command"],
            json!(["/opt/maas-deployer/maas-deployer"])
        );
    }

    #[test]
    fn what_the_database_is_like_is_judged() {
        let status = |facts: &DatabaseFacts, id: &str| {
            found(facts).into_iter().find(|check| check.id == id).map(|check| check.status)
        };
        assert!(found(&facts()).iter().all(|check| check.status == Status::Pass));
        let old = DatabaseFacts { version_number: 130_005, version: "13.5".into(), ..facts() };
        assert_eq!(status(&old, "database.version"), Some(Status::Fail));
        let latin = DatabaseFacts { encoding: Some("LATIN1".into()), ..facts() };
        assert_eq!(status(&latin, "database.encoding"), Some(Status::Fail));
        let weak = DatabaseFacts { may_create: false, ..facts() };
        assert_eq!(status(&weak, "database.rights"), Some(Status::Fail));
        let user = |refused: Option<&str>| {
            let user = crate::jobs::check_database::UserFacts {
                name: "maas".into(),
                is_there: true,
                refused: refused.map(str::to_owned),
            };
            DatabaseFacts {
                user: Some(user),
                encoding: Some("UTF8".into()),
                may_create: false,
                ..facts()
            }
        };
        assert_eq!(status(&user(None), "database.user"), Some(Status::Pass));
        assert_eq!(status(&user(None), "database.rights"), None, "there is nothing to make");
        assert_eq!(status(&user(Some("wrong password")), "database.user"), Some(Status::Warn));
    }

    #[test]
    fn what_the_job_said_is_carried_on() {
        let said = json!({"schema": "maas-deployer/error/1", "error": "the job check-database failed",
            "causes": ["cannot log in as 'x'", "the server does not accept the password"], "hint": "put it right"});
        let pod = Ended::Seen(Box::default());
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let checks = judge(&names, &pod, &["error: …".into(), said.to_string()]);
        assert_eq!(checks[0].why, "cannot log in as 'x': the server does not accept the password");
        assert_eq!(checks[0].hint.as_deref(), Some("put it right"));
        assert!(
            judge(&names, &pod, &["exec format error".into()])[0]
                .why
                .ends_with("exec format error")
        );
    }
}
