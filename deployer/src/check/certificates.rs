//! When certificates end.

use std::time::Duration;

use jiff::Timestamp;

use super::Names;
use super::report::Check;
use crate::counted::counted;

/// So long before its end, a certificate is spoken of.
const SOON: Duration = Duration::from_hours(24 * 30);

/// Judges the certificate of a Secret, at the moment `now`.
pub(super) fn judge(
    names: &Names,
    secret: &str,
    end: Result<Timestamp, String>,
    now: Timestamp,
) -> Check {
    let id = "certificates.end";
    let what = format!("the certificate in the Secret {secret}");
    let space = &names.namespace;
    let end = match end {
        Ok(end) => end,
        Err(why) => {
            return Check::fail(id, what, why)
                .hint(format!("kubectl -n {space} get secret {secret} -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | openssl x509 -noout -text"));
        }
    };
    let left = end.as_second() - now.as_second();
    let days = counted(left.abs() / 86_400, "day");
    let renew = format!(
        "renew it: kubectl -n {space} get secret,certificate {secret}; with conf.maas.tls.create: set conf.maas.tls.cert and key, and upgrade"
    );
    if left <= 0 {
        return Check::fail(id, what, format!("it ended {days} ago, {end}")).hint(renew);
    }
    if u64::try_from(left).unwrap_or(0) < SOON.as_secs() {
        return Check::warn(id, what, format!("it ends in {days}, {end}")).hint(renew);
    }
    Check::pass(id, format!("{what} ends in {days}"))
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn the_end_is_judged() {
        let names = Names { release: "maas".into(), namespace: "ns".into() };
        let ends: Timestamp = "2036-01-01T00:00:00Z".parse().unwrap();
        let at = |days: i64| Timestamp::from_second(ends.as_second() - days * 86_400).unwrap();
        assert_eq!(judge(&names, "s", Ok(ends), at(31)).status, Status::Pass);
        let soon = judge(&names, "s", Ok(ends), at(5));
        assert_eq!(
            (soon.status, soon.why.as_str()),
            (Status::Warn, "it ends in 5 days, 2036-01-01T00:00:00Z")
        );
        assert_eq!(judge(&names, "s", Ok(ends), at(-2)).status, Status::Fail);
        assert_eq!(judge(&names, "s", Err("it holds none".into()), at(0)).status, Status::Fail);
    }
}
