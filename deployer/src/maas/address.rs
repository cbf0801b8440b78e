//! Where MAAS's API may be reached.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

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

/// Gives a URL of https the host `name`, and returns the host that it had, to
/// be connected to. Plain HTTP keeps its host: nothing is verified there.
pub(super) fn rename(url: &mut Url, name: &str) -> Result<Option<String>, ConfigError> {
    let wrong = || ConfigError::ServerName { name: name.to_owned() };
    if url.scheme() != "https" {
        return Ok(None);
    }
    let host = match url.host() {
        Some(Host::Domain(host)) => host.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(wrong()),
    };
    url.set_host(Some(name)).map_err(|_| wrong())?;
    // An address would be connected to itself.
    let is_name = matches!(url.host(), Some(Host::Domain(_)));
    if is_name { Ok(Some(host)) } else { Err(wrong()) }
}

/// Finds every name at the address of one host, looked up each time.
#[derive(Debug)]
pub(super) struct Elsewhere {
    host: String,
}

impl Elsewhere {
    pub(super) fn new(host: String) -> Self {
        Self { host }
    }
}

impl Resolve for Elsewhere {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            // Port 0 stands for the URL's own.
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
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
    fn only_tls_takes_another_name() {
        let named = |url: &str, name: &str| {
            let mut url = base(url).unwrap();
            rename(&mut url, name).map(|host| (url.to_string(), host)).ok()
        };
        let secure = ("https://maas.example.org:5443/MAAS/".to_owned(), Some("maas".to_owned()));
        assert_eq!(named("https://maas:5443/MAAS", "maas.example.org"), Some(secure));
        let plain = ("http://maas:5240/MAAS/".to_owned(), None);
        assert_eq!(named("http://maas:5240/MAAS", "maas.example.org"), Some(plain));
        let address = named("https://[fd00::1]/MAAS", "maas.example.org").unwrap();
        assert_eq!(address.1.as_deref(), Some("fd00::1"));
        for name in ["", "192.0.2.1", "::1", "a b", "a/b"] {
            assert_eq!(named("https://maas/MAAS", name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "maas:5240", "ftp://maas/MAAS", "http://maas/MAAS?x", "/MAAS"] {
            assert!(candidates(url, &Tls::default()).is_err(), "{url}");
        }
    }
}
