//! Connections: taking them, and letting them go.

use std::fmt::Display;
use std::io;
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
use super::workers::Workers;

/// What hyper holds of a response that the client does not take, pieces of
/// files aside, which cost no memory.
const WRITE_BUFFER: usize = 64 * 1024;

/// The pause after the system could not give us a connection (out of file
/// descriptors, most likely): others will end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a thread may take to see that it is to end, after the drain.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Serves on `listener` until `shutdown` ends, then drains.
pub(super) async fn serve(
    listener: TcpListener,
    connections: Connections,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send,
) {
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
    connections.end(options.drain).await;
}

/// What connections are made with, and asked to end by.
pub(super) struct Connections {
    workers: Workers,
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
    /// With a `pair`, over TLS alone.
    pub(super) fn new(
        service: Service,
        pair: Option<Arc<Pair>>,
        workers: Workers,
        options: &Options,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_timeout)
            .max_buf_size(WRITE_BUFFER)
            // A client that sent its request and closed its half still reads.
            .half_close(true);
        Self {
            workers,
            tls: pair.map(|pair| Tls::new(pair, builder.clone(), options)),
            builder,
            service,
            stall_timeout: options.stall_timeout,
            graceful: GracefulShutdown::new(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Serves a connection on the thread that has the fewest.
    fn start(&self, socket: TcpStream, peer: SocketAddr, place: Place) {
        if let Some(tls) = self.tls.clone() {
            let service = self.service.for_tls_connection();
            let stopping = self.stopping.subscribe();
            // In a box: the handshake's part of it is large and soon over.
            let serve = move |socket| Box::pin(tls.serve(socket, service, stopping));
            return self.spawn(socket, peer, place, serve);
        }
        let (builder, service) = (self.builder.clone(), self.service.for_connection());
        let (watcher, stall_timeout) = (self.graceful.watcher(), self.stall_timeout);
        self.spawn(socket, peer, place, move |socket| {
            let stream = FileStream::new(socket, Arc::clone(service.files()), stall_timeout);
            watcher.watch(builder.serve_connection(stream, service))
        });
    }

    /// Runs `serve` on a task of its own, which keeps its place.
    fn spawn<F, E: Display>(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        place: Place,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
    {
        self.workers.spawn(move || async move {
            let _place = place;
            match move_here(socket) {
                Ok(socket) => {
                    if let Err(error) = serve(socket).await {
                        // Clients vanish; that is no fault of ours.
                        tracing::debug!(%peer, %error, "a connection broke");
                    }
                }
                Err(error) => tracing::warn!(%error, "a connection could not be taken"),
            }
        });
    }

    /// Asks every connection to end, and cuts those that have not within
    /// `limit`.
    async fn end(self, limit: Duration) {
        self.stopping.send_replace(true);
        let ended = async { tokio::join!(self.graceful.shutdown(), self.stopping.closed()) };
        if tokio::time::timeout(limit, ended).await.is_err() {
            let seconds = limit.as_secs();
            tracing::warn!(seconds, "some responses did not end in time and are cut");
        }
        self.workers.end(LAST_LOOK).await;
    }
}

/// Registers a socket with the thread that this runs on.
fn move_here(socket: TcpStream) -> io::Result<TcpStream> {
    let socket = TcpStream::from_std(socket.into_std()?)?;
    // Without it a small answer waits for the client's delayed ACK.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    Ok(socket)
}
