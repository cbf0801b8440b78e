//! Where MAAS's API may be reached.

use url::Url;

use super::error::ConfigError;
use crate::settings::Tls;

/// The URLs at which the API may be, up to and with `/MAAS/`, the likeliest
/// first. With TLS on, MAAS's plain port only redirects; the key is never sent
/// over it. Where `url` is plain HTTP all the same, TLS is looked for on its
/// host: on 443, where the chart's Service has it, and on the port in the pod.
///
/// # Errors
/// [`ConfigError`] where `url` is none.
pub fn candidates(url: &str, tls: &Tls) -> Result<Vec<Url>, ConfigError> {
    let base = base(url)?;
    if !tls.enabled || base.scheme() == "https" {
        return Ok(vec![base]);
    }
    let over_tls = |port| {
        let mut secure = base.clone();
        // Both fail only for URLs without a host, which `base` refuses.
        let _ = secure.set_scheme("https");
        let _ = secure.set_port(Some(port));
        secure
    };
    Ok(vec![over_tls(443), over_tls(tls.port)])
}

/// `url` with a slash at its end.
pub(super) fn base(url: &str) -> Result<Url, ConfigError> {
    let wrong = || ConfigError::Url { url: url.to_owned() };
    let mut base = Url::parse(url).map_err(|_| wrong())?;
    let is_http = matches!(base.scheme(), "http" | "https") && base.host().is_some();
    if !is_http || base.query().is_some() || base.fragment().is_some() {
        return Err(wrong());
    }
    if !base.path().ends_with('/') {
        let path = format!("{}/", base.path());
        base.set_path(&path);
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, enabled: bool) -> Vec<String> {
        let tls = Tls { enabled, ..Tls::default() };
        candidates(url, &tls).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_tls_there_is_one() {
        assert_eq!(of("http://maas:5240/MAAS", false), ["http://maas:5240/MAAS/"]);
        assert_eq!(of("http://[fd00::1]:5240/MAAS/", false), ["http://[fd00::1]:5240/MAAS/"]);
    }

    #[test]
    fn with_tls_the_plain_port_is_not_used() {
        assert_eq!(
            of("http://maas:5240/MAAS", true),
            ["https://maas/MAAS/", "https://maas:5443/MAAS/"]
        );
        assert_eq!(of("https://maas:8443/MAAS", true), ["https://maas:8443/MAAS/"]);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "maas:5240", "ftp://maas/MAAS", "http://maas/MAAS?x", "/MAAS"] {
            assert!(candidates(url, &Tls::default()).is_err(), "{url}");
        }
    }
}
