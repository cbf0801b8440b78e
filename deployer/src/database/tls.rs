//! TLS to PostgreSQL, each mode as strict as libpq's of the same name.
//!
//! | mode | TLS | issuer | host name |
//! |---|---|---|---|
//! | `disable` | no | | |
//! | `prefer` | where the server has it | no | no |
//! | `require` | yes | where a CA is given | no |
//! | `verify-ca` | yes | yes | no |
//! | `verify-full` | yes | yes | yes |
//!
//! Issuers are the CA that was given; without one, for the two `verify` modes,
//! those that the system trusts.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::error::DatabaseError;
use crate::settings::SslMode;

/// TLS as `mode` wants it, or `None` where it wants none.
pub(super) fn config(
    mode: SslMode,
    ca: Option<&Path>,
) -> Result<Option<ClientConfig>, DatabaseError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match (mode, ca) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::Prefer, _) | (SslMode::Require, None) => {
            Arc::new(Lenient { roots: None, provider: Arc::clone(&provider) })
        }
        (SslMode::Require | SslMode::VerifyCa, ca) => {
            Arc::new(Lenient { roots: Some(roots(ca)?), provider: Arc::clone(&provider) })
        }
        (SslMode::VerifyFull, ca) => {
            let roots = Arc::new(roots(ca)?);
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|error| DatabaseError::NoCa { from: error.to_string() })?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(DatabaseError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Some(config))
}

/// The CA's certificates, or the system's.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, DatabaseError> {
    let mut roots = RootCertStore::empty();
    let from = match ca {
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|source| DatabaseError::ReadCa { path: path.to_owned(), source })?;
            for certificate in CertificateDer::pem_slice_iter(&bytes).flatten() {
                roots.add(certificate).map_err(DatabaseError::Tls)?;
            }
            path.display().to_string()
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system's store".to_owned()
        }
    };
    if roots.is_empty() { Err(DatabaseError::NoCa { from }) } else { Ok(roots) }
}

/// Verifies less than the web's rules: the issuer, where there are `roots`; the
/// host name never. That the server holds the certificate's key is always
/// verified.
#[derive(Debug)]
struct Lenient {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        } else if end_entity.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        std::fs::write(&path, "not a certificate").unwrap();
        for mode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
            let error = config(mode, Some(&path)).unwrap_err();
            assert!(matches!(error, DatabaseError::NoCa { .. }), "{mode}: {error}");
        }
        assert!(config(SslMode::Disable, Some(&path)).unwrap().is_none());
        assert!(config(SslMode::Prefer, Some(&path)).unwrap().is_some());
    }
}
