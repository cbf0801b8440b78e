//! `enable-tls`: has MAAS serve its API over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use super::context::Context;
use super::error::JobError;
use super::report::Report;
use super::{files, region_image, tls_record};
use crate::database::Session;
use crate::maas::candidates;
use crate::region_command::Run;
use crate::secret::Secret;

/// How long `config_tls` may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Gives MAAS the mounted certificate, unless it has it.
///
/// # Errors
/// [`JobError`].
pub async fn run(context: &Context) -> Result<Report, JobError> {
    let mut report = Report::default();
    let tls = context.settings.tls();
    let pair = Pair::read(context)?;
    if !tls.insecure {
        pair.verify(&verified_name(context)?)?;
    }
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

/// The name under which jobs verify the certificate.
fn verified_name(context: &Context) -> Result<String, JobError> {
    let tls = context.settings.tls();
    if !tls.server_name.is_empty() {
        return Ok(tls.server_name);
    }
    let urls = candidates(&context.settings.region()?.url, &tls)?;
    let host = urls.first().and_then(|url| url.host_str()).unwrap_or_default();
    Ok(host.trim_matches(['[', ']']).to_owned())
}

/// The mounted certificate and key.
struct Pair {
    certificate: String,
    key: Secret,
    ca: Option<String>,
}

impl Pair {
    fn read(context: &Context) -> Result<Self, JobError> {
        let file = |name: &str| context.mounts.path(&format!("maas-tls/{name}"));
        let pair = Self {
            certificate: text(&file("tls.crt"))?,
            key: Secret::new(text(&file("tls.key"))?),
            ca: context.ca_file()?.map(|path| text(&path)).transpose()?,
        };
        pair.check()?;
        Ok(pair)
    }

    /// That the key is the certificate's: MAAS would not start with another.
    fn check(&self) -> Result<(), JobError> {
        let refuse =
            |reason: String| JobError::refused(reason, "check the Secret that conf.maas.tls names");
        let chain = certificates(&self.certificate);
        if chain.is_empty() {
            return Err(refuse("tls.crt holds no certificate in PEM".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(self.key.expose().as_bytes())
            .map_err(|_| refuse("tls.key holds no private key in PEM".to_owned()))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| refuse(format!("tls.key and tls.crt do not fit: {error}")))?;
        Ok(())
    }

    /// That jobs will accept it under `name`: once MAAS serves it, none of them
    /// could do its work otherwise.
    fn verify(&self, name: &str) -> Result<(), JobError> {
        let refuse = |reason: String| {
            JobError::refused(
                format!("jobs would not accept the certificate as {name}'s: {reason}"),
                "give a certificate with that name, or set conf.maas.tls.server_name to one that it has; \
                 unless a public authority signed it, the Secret needs that authority as ca.crt",
            )
        };
        let wrong = |error: rustls::Error| refuse(said(&error));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let ca = self.ca.as_deref().unwrap_or_default();
        roots.add_parsable_certificates(certificates(ca));
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        let chain = certificates(&self.certificate);
        let Some((own, others)) = chain.split_first() else { return Ok(()) };
        let server = ServerName::try_from(name).map_err(|error| refuse(error.to_string()))?;
        verifier.verify_server_cert(own, others, &server, &[], UnixTime::now()).map_err(wrong)?;
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

/// Why a certificate does not verify; times as people read them.
fn said(error: &rustls::Error) -> String {
    let date = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after, ..
        }) => format!("it was valid until {}: renew it", date(not_after)),
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before,
            ..
        }) => format!("it is valid from {} on", date(not_before)),
        other => other.to_string(),
    }
}

/// The certificates of a text in PEM.
fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect()
}

fn text(path: &Path) -> Result<String, JobError> {
    let missing = || {
        JobError::refused(
            format!("{} is not there", path.display()),
            "check the Secret with MAAS's certificate (secrets.maas_cert): it needs tls.crt and tls.key",
        )
    };
    let bytes = files::read(path)?.ok_or_else(missing)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether MAAS has this certificate, key and port. Where they are in Vault they
/// are given again, which does no harm.
async fn is_so(session: &Session, pair: &Pair, port: u16) -> Result<bool, JobError> {
    let held = tls_record::read(session).await?;
    let same = |name: &str, wanted: &str| held.text(name) == wanted.trim();
    Ok(same("cert", &pair.certificate)
        && same("key", pair.key.expose())
        && same("cacert", pair.ca.as_deref().unwrap_or_default())
        && held.is_port(port))
}
