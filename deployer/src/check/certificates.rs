//! When certificates end.

use std::time::Duration;

use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::Names;
use super::report::Check;

/// So long before its end, a certificate is spoken of.
const SOON: Duration = Duration::from_hours(24 * 30);

/// The end of the first certificate of a PEM file; `None` where there is none that can be read.
pub(super) fn end(pem: &str) -> Option<Timestamp> {
    use base64::Engine as _;
    let body = pem.split("-----BEGIN CERTIFICATE-----").nth(1)?;
    let body = body.split("-----END CERTIFICATE-----").next()?;
    let text: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let certificate = Certificate::from_der(&der).ok()?;
    let end = certificate.tbs_certificate.validity.not_after.to_unix_duration();
    Timestamp::from_second(i64::try_from(end.as_secs()).ok()?).ok()
}

/// Judges the certificate of a Secret, at the moment `now`.
pub(super) fn judge(names: &Names, secret: &str, end: Option<Timestamp>, now: Timestamp) -> Check {
    let id = "certificates.end";
    let what = format!("the certificate in the Secret {secret}");
    let space = &names.namespace;
    let Some(end) = end else {
        return Check::fail(id, what, "there is none that can be read")
            .hint(format!("kubectl -n {space} get secret {secret} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | openssl x509 -noout -text"));
    };
    let left = end.as_second() - now.as_second();
    let days = left.abs() / 86_400;
    let renew = format!(
        "renew it: kubectl -n {space} get secret,certificate {secret}; with conf.maas.tls.create: set conf.maas.tls.cert and key, and upgrade"
    );
    if left <= 0 {
        return Check::fail(id, what, format!("it ended {days} days ago, {end}")).hint(renew);
    }
    if u64::try_from(left).unwrap_or(0) < SOON.as_secs() {
        return Check::warn(id, what, format!("it ends in {days} days, {end}")).hint(renew);
    }
    Check::pass(id, format!("{what} ends in {days} days"))
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    /// Made by openssl; it ends 2036-01-01T00:00:00Z.
    const PEM: &str = include_str!("../../tests/data/check-certificate.pem");

    #[test]
    fn the_end_is_read_and_judged() {
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let ends = end(PEM).unwrap();
        assert_eq!(ends.to_string(), "2036-01-01T00:00:00Z");
        let at = |days: i64| Timestamp::from_second(ends.as_second() - days * 86_400).unwrap();
        assert_eq!(judge(&names, "s", Some(ends), at(31)).status, Status::Pass);
        let soon = judge(&names, "s", Some(ends), at(5));
        assert_eq!(
            (soon.status, soon.why.as_str()),
            (Status::Warn, "it ends in 5 days, 2036-01-01T00:00:00Z")
        );
        assert_eq!(judge(&names, "s", Some(ends), at(-2)).status, Status::Fail);
        assert_eq!(judge(&names, "s", end("nonsense"), at(0)).status, Status::Fail);
    }
}
