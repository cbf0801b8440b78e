//! Connections: taking them, and letting them go.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioTimer;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};

use super::Options;
use super::engine::stream::FileStream;
use super::limits::Places;
use super::routes::Service;

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
                let connection = connect(&builder, socket, service.for_connection(), options);
                let connection = graceful.watch(connection);
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = connection.await {
                        // Clients vanish; that is no fault of ours.
                        tracing::debug!(%error, "a connection broke");
                    }
                });
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
}

fn connect(
    builder: &http1::Builder,
    socket: TcpStream,
    service: Service,
    options: &Options,
) -> http1::Connection<FileStream, Service> {
    // Without it a small answer waits for the client's delayed ACK.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let stream = FileStream::new(socket, Arc::clone(service.files()), options.stall_timeout);
    builder.serve_connection(stream, service)
}
