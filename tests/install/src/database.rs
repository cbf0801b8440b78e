//! A database server that is no part of any release.

use fixtures::Certificate;
use serde_json::{Value, json};

use crate::{Kube, Site};

/// The pod, the Service, and the Secret of its certificate.
const NAME: &str = "server";

/// PostgreSQL in a namespace of its own, with TLS by an authority that nobody knows.
#[derive(Debug)]
pub struct Database {
    kube: Kube,
    /// The authority of its certificate, PEM.
    pub ca_pem: String,
    /// The password of its superuser, `postgres`.
    pub password: String,
}

impl Database {
    /// Starts one, and returns when it takes connections. What was in that namespace goes.
    #[track_caller]
    #[must_use]
    pub fn start(site: &Site, namespace: &str) -> Self {
        Kube::remove(site, namespace);
        let kube = Kube::new(site, namespace);
        let certificate = Certificate::for_names(&[&host(namespace)]).expect("certificate");
        let password = "the-password-of-the-server".to_owned();
        let texts = json!({
            "tls.crt": certificate.cert_pem, "tls.key": certificate.key_pem, "password": password,
        });
        kube.set_secret(NAME, &texts);
        let labels = json!({ "app": NAME });
        kube.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": NAME },
            "spec": { "selector": labels, "ports": [{ "port": 5432 }] },
        }));
        kube.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": NAME, "labels": labels },
            "spec": pod(&site.image("postgres", "15")),
        }));
        kube.ready(NAME, None);
        Self { kube, ca_pem: certificate.ca_pem, password }
    }

    /// The name under which pods reach it, and which stands in its certificate.
    #[must_use]
    pub fn host(&self) -> String {
        host(self.kube.namespace())
    }

    /// Runs SQL in one of its databases, as its superuser: rows as lines, columns by `|`.
    #[track_caller]
    #[must_use]
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let args = ["psql", "--username", "postgres", "--dbname", database, "-Atc", statement];
        self.kube.exec(NAME, NAME, &args).expect(statement).trim().to_owned()
    }

    /// Whether a role gets into a database with this password.
    #[must_use]
    pub fn lets_in(&self, role: &str, password: &str, database: &str) -> bool {
        let password = format!("PGPASSWORD={password}");
        let psql = ["psql", "--host", "127.0.0.1", "--username", role, "--dbname", database];
        let args = [&["env", &password], &psql[..], &["-Atc", "SELECT 1"]].concat();
        self.kube.exec(NAME, NAME, &args).success
    }
}

fn host(namespace: &str) -> String {
    format!("{NAME}.{namespace}.svc.cluster.local")
}

fn pod(image: &str) -> Value {
    let files = "/etc/server";
    json!({
        "terminationGracePeriodSeconds": 1,
        "securityContext": { "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999 },
        "containers": [{
            "name": NAME,
            "image": image,
            "args": [
                "-c", "ssl=on",
                "-c", format!("ssl_cert_file={files}/tls.crt"),
                "-c", format!("ssl_key_file={files}/tls.key"),
            ],
            "env": [
                { "name": "POSTGRES_PASSWORD_FILE", "value": format!("{files}/password") },
                { "name": "PGDATA", "value": "/data/pgdata" },
            ],
            "readinessProbe": {
                "exec": { "command": ["pg_isready", "--host", "127.0.0.1"] }, "periodSeconds": 1,
            },
            "volumeMounts": [
                { "name": "files", "mountPath": files },
                { "name": "data", "mountPath": "/data" },
            ],
        }],
        "volumes": [
            // As PostgreSQL wants its key: root's, and read by its own group.
            { "name": "files", "secret": { "secretName": NAME, "defaultMode": 0o440 } },
            { "name": "data", "emptyDir": {} },
        ],
    })
}
