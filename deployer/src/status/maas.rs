//! MAAS's version, racks and images, by its API.
//!
//! The way is a forwarded port of a region's pod. Through the API server's own proxy the key
//! would not arrive: the server takes the header `Authorization` off.

use std::io::Write as _;
use std::path::PathBuf;

use url::Url;

use super::basis::Basis;
use super::pods::Found;
use super::{Known, why, within};
use crate::cluster::{Cluster, Forward};
use crate::jobs::resources::{Image, Wanted, look as images};
use crate::maas::{ApiKey, Client, Options, Retries};

/// The container, and the ports of the API.
const CONTAINER: &str = "region";
const PLAIN: u16 = 5240;

/// MAAS.
#[derive(Clone, Debug)]
pub struct MaasState {
    /// Its version.
    pub version: Known<String>,
    /// Its racks.
    pub racks: Known<Vec<RackState>>,
    /// The images that it is to have.
    pub images: Known<Vec<ImageState>>,
}

/// A rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RackState {
    /// Its host's name.
    pub hostname: String,
    /// Whether it is connected.
    pub is_connected: bool,
}

/// Images of a release for an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageState {
    /// `ubuntu/noble amd64`.
    pub name: String,
    /// How much is imported, in percent; below 100 until it is complete.
    pub percent: u64,
    /// Whether it is complete.
    pub is_complete: bool,
}

pub(super) async fn look(
    cluster: &Cluster,
    namespace: &str,
    basis: &Basis,
    pods: &[Found],
) -> Option<Known<MaasState>> {
    let region = basis.region.as_ref()?;
    let is_region = |found: &&Found| {
        let containers = found.pod.spec.iter().flat_map(|spec| &spec.containers);
        found.state.phase == "Running" && containers.into_iter().any(|one| one.name == CONTAINER)
    };
    let mut regions: Vec<&Found> = pods.iter().filter(is_region).collect();
    regions.sort_by_key(|found| !found.state.is_ready());
    let Some(pod) = regions.first() else {
        return Some(Err("no region runs".to_owned()));
    };
    let way = Way { cluster, namespace, basis, pod: &pod.state.name, url: &region.url };
    Some(within("ask MAAS", way.ask()).await)
}

struct Way<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    basis: &'a Basis,
    pod: &'a str,
    /// The API's address in the cluster.
    url: &'a str,
}

impl Way<'_> {
    async fn ask(&self) -> Known<MaasState> {
        let tls = &self.basis.tls;
        let port = if tls.enabled { tls.port } else { PLAIN };
        let forward = self.cluster.forward(self.namespace, self.pod, port).await;
        let forward = forward.map_err(|error| why(&error))?;
        let authority = self.authority().await?;
        let client =
            self.client(&forward, authority.as_ref().map(|file| file.path().to_owned()))?;
        let version = client.version().await.map_err(|error| error.problem.to_string())?;
        let (racks, images) = match self.key().await {
            Ok(key) => {
                let client = client.with_key(key);
                tokio::join!(racks(&client), self.images(&client))
            }
            Err(reason) => (Err(reason.clone()), Err(reason)),
        };
        Ok(MaasState { version: Ok(version), racks, images })
    }

    fn client(&self, forward: &Forward, ca_file: Option<PathBuf>) -> Known<Client> {
        let tls = &self.basis.tls;
        let wrong = |_| format!("{} is no URL", self.url);
        let mut url = Url::parse(self.url).map_err(wrong)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let name = if tls.server_name.is_empty() { host } else { tls.server_name.clone() };
        if tls.enabled {
            // Both fail only for URLs without a host.
            let _ = url.set_scheme("https");
        }
        let _ = url.set_host(Some("127.0.0.1"));
        let _ = url.set_port(Some(forward.port));
        let options = Options {
            ca_file,
            insecure: tls.insecure,
            server_name: tls.enabled.then_some(name),
            retries: Retries::NONE,
            ..Options::default()
        };
        Client::new(url.as_str(), &options).map_err(|error| crate::chain(&error))
    }

    /// The authority of MAAS's certificate, where its Secret has one that may be read.
    async fn authority(&self) -> Known<Option<tempfile::NamedTempFile>> {
        if !self.basis.tls.enabled {
            return Ok(None);
        }
        let Some(name) = self.basis.tls_secret() else { return Ok(None) };
        let found = self.cluster.secret(self.namespace, &name).await.map_err(|it| why(&it))?;
        let text = found.and_then(|mut data| data.remove("ca.crt"));
        let Some(text) = text.filter(|text| !text.expose().trim().is_empty()) else {
            return Ok(None);
        };
        let written = tempfile::NamedTempFile::new().and_then(|mut file| {
            file.write_all(text.expose().as_bytes())?;
            Ok(file)
        });
        written.map(Some).map_err(|error| format!("cannot keep MAAS's authority: {error}"))
    }

    async fn key(&self) -> Known<ApiKey> {
        let Some((space, name)) = &self.basis.api_key else {
            return Err("the release writes no API key".to_owned());
        };
        let found = self.cluster.secret(space, name).await.map_err(|error| why(&error))?;
        let data = found.ok_or_else(|| format!("the Secret {space}/{name} is not there"))?;
        let token =
            data.get("token").ok_or_else(|| format!("the Secret {space}/{name} has no token"))?;
        token.expose().parse().map_err(|error| format!("the Secret {space}/{name}: {error}"))
    }

    async fn images(&self, client: &Client) -> Known<Vec<ImageState>> {
        let Some(wanted) = &self.basis.images else { return Ok(Vec::new()) };
        let found = images(client, wanted).await.map_err(|error| error.problem.to_string())?;
        let state = |one: &Wanted| {
            let sum =
                |of: fn(&Image) -> u64| one.images.iter().map(of).fold(0, u64::saturating_add);
            let (held, size) = (sum(|image| image.held), sum(|image| image.size));
            let percent = u128::from(held) * 100 / u128::from(size.max(1));
            let most = if one.is_complete() { 100 } else { 99 };
            ImageState {
                name: one.name.clone(),
                percent: u64::try_from(percent).unwrap_or(most).min(most),
                is_complete: one.is_complete(),
            }
        };
        Ok(found.iter().map(state).collect())
    }
}

async fn racks(client: &Client) -> Known<Vec<RackState>> {
    let racks = client.racks().await.map_err(|error| error.problem.to_string())?;
    let state = |rack: &crate::maas::Controller| RackState {
        hostname: rack.hostname.clone(),
        is_connected: rack.is_connected("rackd"),
    };
    Ok(racks.iter().map(state).collect())
}
