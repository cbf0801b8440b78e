//! Connections: taking them, and letting them go.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Options;
use super::engine::stream::FileStream;
use super::limits::{Place, Places};
use super::routes::Service;
use super::tls::Pair;
use super::tls::connection::Tls;

/// What hyper holds of a response that the client does not take, pieces of
/// files aside, which cost no memory.
const WRITE_BUFFER: usize = 64 * 1024;

/// The pause after the system could not give us a connection (out of file
/// descriptors, most likely): others will end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on `listener` until `shutdown` ends, then drains. With a `pair`, over
/// TLS alone.
pub(super) async fn serve(
    listener: TcpListener,
    service: Service,
    pair: Option<Arc<Pair>>,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send,
) {
    let connections = Connections::new(service, pair, options);
    let places = Places::new(options.connections, options.connections_by_address);
    let mut shutdown = pin!(shutdown);
    loop {
        let accept = async {
            let permit = places.free().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                let place = permit.and_then(|permit| places.give(permit, peer.ip()));
                let Some(place) = place else {
                    tracing::warn!(%peer, "refused: too many connections from this address");
                    continue;
                };
                connections.start(socket, peer, place);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(options.drain, connections.drain()).await.is_err() {
        let seconds = options.drain.as_secs();
        tracing::warn!(seconds, "some responses did not end in time and are cut");
    }
}

/// What connections are made with, and asked to end by.
struct Connections {
    builder: http1::Builder,
    service: Service,
    stall_timeout: Duration,
    /// Of plain connections.
    graceful: GracefulShutdown,
    tls: Option<Tls>,
    /// Of TLS connections, handshakes included: set when they are to end.
    stopping: watch::Sender<bool>,
}

impl Connections {
    fn new(service: Service, pair: Option<Arc<Pair>>, options: &Options) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_timeout)
            .max_buf_size(WRITE_BUFFER)
            // A client that sent its request and closed its half still reads.
            .half_close(true);
        let tls = pair.map(|pair| Tls::new(pair, builder.clone(), options));
        let (graceful, stopping) = (GracefulShutdown::new(), watch::Sender::new(false));
        Self { builder, service, stall_timeout: options.stall_timeout, graceful, tls, stopping }
    }

    /// Serves a connection on a task of its own, which keeps its place.
    fn start(&self, socket: TcpStream, peer: SocketAddr, place: Place) {
        // Without it a small answer waits for the client's delayed ACK.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        // Clients vanish; that is no fault of ours.
        if let Some(tls) = self.tls.clone() {
            let service = self.service.for_tls_connection();
            let connection = tls.serve(socket, service, self.stopping.subscribe());
            // In a box: the handshake's part of it is large and soon over.
            let connection = Box::pin(connection);
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = connection.await {
                    tracing::debug!(%peer, %error, "a connection broke");
                }
            });
            return;
        }
        let service = self.service.for_connection();
        let stream = FileStream::new(socket, Arc::clone(service.files()), self.stall_timeout);
        let connection = self.graceful.watch(self.builder.serve_connection(stream, service));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }

    /// Asks every connection to end, and waits until all have.
    async fn drain(self) {
        self.stopping.send_replace(true);
        tokio::join!(self.graceful.shutdown(), self.stopping.closed());
    }
}
