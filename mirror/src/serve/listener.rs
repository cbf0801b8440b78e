//! Connections: taking them, and letting them go.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};

use super::Options;
use super::engine::stream::FileStream;
use super::limits::{Place, Places};
use super::routes::Service;
use super::workers::Workers;

/// What hyper holds of a response that the client does not take, pieces of
/// files aside, which cost no memory.
const WRITE_BUFFER: usize = 64 * 1024;

/// The pause after the system could not give us a connection (out of file
/// descriptors, most likely): others will end meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves on `listener` until `shutdown` ends, then drains.
pub(super) async fn serve(
    listener: TcpListener,
    service: Service,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send,
    workers: Workers,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(WRITE_BUFFER)
        // A client that sent its request and closed its half still reads.
        .half_close(true);
    let graceful = GracefulShutdown::new();
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
                let connection = Connection {
                    builder: builder.clone(),
                    service: service.for_connection(),
                    stall_timeout: options.stall_timeout,
                    watcher: graceful.watcher(),
                    place,
                };
                workers.spawn(move || connection.serve(socket));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(options.drain, graceful.shutdown()).await.is_err() {
        let seconds = options.drain.as_secs();
        tracing::warn!(seconds, "some responses did not end in time and are cut");
    }
    workers.end().await;
}

/// What it takes to serve a connection, on whichever thread.
struct Connection {
    builder: http1::Builder,
    service: Service,
    stall_timeout: Duration,
    watcher: Watcher,
    place: Place,
}

impl Connection {
    async fn serve(self, socket: TcpStream) {
        let _place = self.place;
        let socket = match move_here(socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                return;
            }
        };
        // Without it a small answer waits for the client's delayed ACK.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let files = Arc::clone(self.service.files());
        let stream = FileStream::new(socket, files, self.stall_timeout);
        let connection = self.builder.serve_connection(stream, self.service);
        if let Err(error) = self.watcher.watch(connection).await {
            // Clients vanish; that is no fault of ours.
            tracing::debug!(%error, "a connection broke");
        }
    }
}

/// Registers a socket with the thread that this runs on.
fn move_here(socket: TcpStream) -> io::Result<TcpStream> {
    TcpStream::from_std(socket.into_std()?)
}
