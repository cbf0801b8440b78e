//! The HTTP server.
//!
//! A request passes these steps, in this order:
//!
//! 1. [`listener`]: a connection with TCP_NODELAY, a deadline for its headers
//!    and a place in the drain, on one of the [`workers`]' threads for good;
//! 2. [`routes`]: the path, its prefix taken off, to a file of the
//!    [`catalog`], which a request holds to its end;
//! 3. [`conditional`] and [`range`]: what RFC 9110 says to send of it;
//! 4. [`engine`]: the bytes, from the page cache to the socket without a copy, or
//!    by way of [`tls`].
//!
//! What is listed and not held goes another way at step 2: [`listing`] knows
//! that it is listed, and [`pull`] fetches it, if that is asked for.
//!
//! What is served changes only when the store's `index.json` does: see
//! [`catalog::Catalogs`]. Knows nothing of the command line.

mod catalog;
mod coding;
mod conditional;
mod engine;
mod limits;
mod listener;
mod listing;
mod mime;
mod pull;
mod range;
mod reply;
mod respond;
mod routes;
mod tls;
mod workers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use catalog::{Catalogs, Readiness};
pub use pull::{Pulls, Source};
pub use tls::{Files as TlsFiles, PairError, PairProblem};

use crate::store::Store;
use listener::Connections;
use listing::Listings;
use workers::Workers;

/// Where the images are: MAAS's path, and the two that the old static image
/// had, for drop-in use.
pub const PREFIXES: [&str; 3] =
    ["/images/", "/maas/images/ephemeral-v3/daily/", "/maas/images/ephemeral-v3/stable/"];

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Certificate and key for TLS; without, plain HTTP is served.
    pub tls: Option<TlsFiles>,
    /// How long a client may take to send a request's headers, and over TLS to
    /// shake hands before that.
    pub header_timeout: Duration,
    /// How long a client may take nothing of a response.
    pub stall_timeout: Duration,
    /// Connections in all.
    pub connections: u32,
    /// Connections from one address. Many clients behind one NAT share it.
    pub connections_by_address: u32,
    /// How long responses may go on after the end was asked for.
    pub drain: Duration,
    /// How often the store is looked at for a new snapshot, which another
    /// process may have published.
    pub poll: Duration,
    /// Where to pull what is listed and not held; `None`: that is 404.
    pub pull: Option<Source>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8888)),
            tls: None,
            header_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(120),
            connections: 16_384,
            connections_by_address: 2_048,
            drain: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            pull: None,
        }
    }
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The system gives us no threads.
    #[error("cannot start threads that serve")]
    Threads(#[source] std::io::Error),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Certificate and key cannot be used.
    #[error(transparent)]
    Tls(#[from] PairError),
}

/// A server that is bound, and serves once [`Server::run`] is polled.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    pair: Option<Arc<tls::Pair>>,
    catalogs: Arc<Catalogs>,
    listings: Arc<Listings>,
    pulls: Option<Arc<Pulls>>,
    workers: Workers,
    options: Options,
}

impl Server {
    /// Reads what the store holds and listens.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn bind(store: Store, options: Options) -> Result<Self, ServeError> {
        limits::raise_descriptor_limit();
        let pair = match &options.tls {
            Some(files) => Some(tls::Pair::open(files.clone()).await?),
            None => None,
        };
        let catalogs = Catalogs::open(store.clone()).await;
        let failed = |source| ServeError::Bind { address: options.listen, source };
        let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let source = options.pull.clone();
        let keyring = source.as_ref().map(|source| Arc::clone(&source.keyring));
        let listings = Arc::new(Listings::new(store.clone(), keyring));
        let pulls = source
            .map(|source| Pulls::new(source, store, Arc::clone(&catalogs), Arc::clone(&listings)));
        let workers = Workers::start().map_err(ServeError::Threads)?;
        Ok(Self { listener, address, pair, catalogs, listings, pulls, workers, options })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https` where TLS is on, `http` elsewhere.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.pair.is_some() { "https" } else { "http" }
    }

    /// What is served, to be told of a publish in this process.
    #[must_use]
    pub fn catalogs(&self) -> Arc<Catalogs> {
        Arc::clone(&self.catalogs)
    }

    /// What is pulled through, if anything is: to be [finished](Pulls::finish)
    /// at the very end.
    #[must_use]
    pub fn pulls(&self) -> Option<Arc<Pulls>> {
        self.pulls.clone()
    }

    /// Serves until `shutdown` ends; then takes no more connections and gives
    /// responses under way [`Options::drain`] to end.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let poll = self.options.poll;
        // Dropped, and so ended, with this call.
        let mut beside = JoinSet::new();
        beside.spawn(Arc::clone(&self.catalogs).watch(poll));
        beside.spawn(Arc::clone(&self.catalogs).look_after_damage());
        if let Some(pair) = &self.pair {
            beside.spawn(Arc::clone(pair).watch());
        }
        if let Some(pulls) = &self.pulls {
            beside.spawn(Arc::clone(pulls).keep_listed(poll));
            beside.spawn(Arc::clone(pulls).keep_joined());
        }
        let service = routes::Service::new(self.catalogs, self.listings, self.pulls);
        let connections = Connections::new(service, self.pair, self.workers, &self.options);
        listener::serve(self.listener, connections, &self.options, shutdown).await;
    }
}
