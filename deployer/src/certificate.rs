//! When certificates expire: read of their PEM text (RFC 7468, RFC 5280).

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// When the first certificate of a chain that expires does so.
///
/// # Errors
/// Why that cannot be told, in words that follow "because".
pub fn expiry(pem: &[u8]) -> Result<Timestamp, String> {
    let mut first: Option<Timestamp> = None;
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| format!("it cannot be read: {error}"))?;
        let certificate = Certificate::from_der(&der)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        let seconds = certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs();
        let expires = i64::try_from(seconds).ok().and_then(|it| Timestamp::from_second(it).ok());
        let expires = expires.ok_or_else(|| "it never expires".to_owned())?;
        first = Some(first.map_or(expires, |first| first.min(expires)));
    }
    first.ok_or_else(|| "it holds no certificate".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Self-signed, until 2036-01-01T00:00:00Z.
    const PEM: &str = include_str!("../tests/data/certificate.pem");

    #[test]
    fn a_certificates_end_is_read() {
        assert_eq!(expiry(PEM.as_bytes()).unwrap().to_string(), "2036-01-01T00:00:00Z");
        assert_eq!(expiry(b"nothing").unwrap_err(), "it holds no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(expiry(broken.as_bytes()).unwrap_err().starts_with("it is no certificate"));
    }
}
