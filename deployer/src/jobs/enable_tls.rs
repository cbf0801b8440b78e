//! `enable-tls`: has MAAS serve its API over TLS.

use std::path::Path;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{files, region_image, schema};
use crate::database::Session;
use crate::region_command::Run;
use crate::secret::Secret;

/// How long `config_tls` may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where MAAS keeps certificate and key.
const PATH: &str = "global/tls";

/// Gives MAAS the mounted certificate, unless it has it.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let tls = context.settings.tls();
    let pair = Pair::read(context, tls.ca)?;
    let session = context.maas_database().await?;
    if is_so(&session, &pair, tls.port).await? {
        report.noted(format!("MAAS has this certificate, on port {}", tls.port));
    } else {
        region_image::configure(context)?;
        pair.enable(context, tls.port).await?;
        report.changed(format!("gave MAAS the certificate, on port {}", tls.port));
    }
    // The jobs that follow use it.
    context.maas().await?;
    report.noted("MAAS answers over TLS");
    Ok(report)
}

/// The mounted certificate and key.
struct Pair {
    certificate: String,
    key: Secret,
    ca: Option<String>,
}

impl Pair {
    fn read(context: &Context, has_ca: bool) -> Result<Self, JobError> {
        let file = |name: &str| context.mounts.path(&format!("maas-tls/{name}"));
        let pair = Self {
            certificate: text(&file("tls.crt"))?,
            key: Secret::new(text(&file("tls.key"))?),
            ca: has_ca.then(|| text(&file("ca.crt"))).transpose()?,
        };
        pair.check()?;
        Ok(pair)
    }

    /// That the key is the certificate's: MAAS would not start with another.
    fn check(&self) -> Result<(), JobError> {
        let refuse =
            |reason: String| JobError::refused(reason, "check the Secret that conf.maas.tls names");
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(self.certificate.as_bytes()).flatten().collect();
        if chain.is_empty() {
            return Err(refuse("tls.crt holds no certificate in PEM".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes())
            .map_err(|_| refuse("tls.key holds no private key in PEM".to_owned()))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| refuse(format!("tls.key and tls.crt do not fit: {error}")))?;
        Ok(())
    }

    async fn enable(&self, context: &Context, port: u16) -> Result<(), JobError> {
        let file = |name: &str| context.mounts.path(&format!("maas-tls/{name}")).into_os_string();
        let mut args = vec!["config_tls".into(), "enable".into(), "--yes".into()];
        args.extend(["--port".into(), port.to_string().into()]);
        if self.ca.is_some() {
            args.extend(["--cacert".into(), file("ca.crt")]);
        }
        args.extend([file("tls.key"), file("tls.crt")]);
        let password = context.mounts.database_user()?.password;
        Run::maas_region(LIMIT).args(args).mask(&password).run().await?;
        Ok(())
    }
}

fn text(path: &Path) -> Result<String, JobError> {
    let missing = || {
        JobError::refused(
            format!("{} is not there", path.display()),
            "check the Secret that conf.maas.tls names: kubectl describe pod",
        )
    };
    let bytes = files::read(path)?.ok_or_else(missing)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether MAAS has this certificate, key and port. Where MAAS keeps its secrets
/// in Vault they are not seen here, and are given again, which does no harm.
async fn is_so(session: &Session, pair: &Pair, port: u16) -> Result<bool, JobError> {
    let doing = "read MAAS's certificate";
    let sql = "SELECT value FROM maasserver_secret WHERE path = $1";
    let Some(row) = session.row(doing, sql, &[&PATH]).await? else { return Ok(false) };
    let held: Value = row.try_get(0).unwrap_or_default();
    let same = |name: &str, wanted: &str| {
        held.get(name).and_then(Value::as_str).unwrap_or_default().trim() == wanted.trim()
    };
    let sql = "SELECT value FROM maasserver_config WHERE name = 'tls_port'";
    let held_port = match session.row("read the port of MAAS's TLS", sql, &[]).await {
        Ok(row) => row.and_then(|row| row.try_get::<_, Value>(0).ok()),
        Err(error) if schema::is_missing(&error) => None,
        Err(error) => return Err(error.into()),
    };
    let held_port = held_port.or_else(|| held.get("port").cloned()).unwrap_or_default();
    Ok(same("cert", &pair.certificate)
        && same("key", pair.key.expose())
        && same("cacert", pair.ca.as_deref().unwrap_or_default())
        && held_port == port)
}
