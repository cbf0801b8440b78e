//! What MAAS's database says of the TLS of its API. Where MAAS keeps its secrets
//! in Vault, the certificate is not seen here; the port is.

use serde_json::Value;

use super::error::JobError;
use super::schema;
use crate::database::Session;

/// Where MAAS keeps certificate and key.
const PATH: &str = "global/tls";

/// What the database holds; null where it holds nothing.
#[derive(Debug, Default)]
pub(super) struct Held {
    secret: Value,
    port: Value,
}

/// Reads it.
pub(super) async fn read(session: &Session) -> Result<Held, JobError> {
    let sql = "SELECT value FROM maasserver_secret WHERE path = $1";
    let row = session.row("read MAAS's certificate", sql, &[&PATH]).await?;
    let secret: Value = row.and_then(|row| row.try_get(0).ok()).unwrap_or_default();
    let sql = "SELECT value FROM maasserver_config WHERE name = 'tls_port'";
    let port = match session.row("read the port of MAAS's TLS", sql, &[]).await {
        Ok(row) => row.and_then(|row| row.try_get::<_, Value>(0).ok()),
        Err(error) if schema::is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let port = port.or_else(|| secret.get("port").cloned()).unwrap_or_default();
    Ok(Held { secret, port })
}

impl Held {
    /// `cert`, `key` or `cacert`, as PEM; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.secret.get(name).and_then(Value::as_str).unwrap_or_default().trim()
    }

    /// Whether TLS is to be served on this port.
    pub(super) fn is_port(&self, port: u16) -> bool {
        self.port == port
    }

    /// Whether MAAS serves TLS, or has what it takes.
    pub(super) fn is_on(&self) -> bool {
        !self.text("cert").is_empty() || self.port.as_u64().is_some_and(|port| port > 0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_certificate_or_a_port_is_tls() {
        let is_on = |secret, port| Held { secret, port }.is_on();
        assert!(!is_on(Value::Null, Value::Null));
        assert!(!is_on(json!({"cert": " "}), json!(0)));
        assert!(is_on(json!({"cert": "-----BEGIN"}), Value::Null));
        // In Vault.
        assert!(is_on(Value::Null, json!(5443)));
    }
}
