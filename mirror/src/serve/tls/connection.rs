//! A TLS connection, from its handshake to its end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::Pair;
use super::activity::{Activity, Overdue, Tracked};
use super::io::TlsIo;
use crate::serve::Options;
use crate::serve::engine::stream::FileStream;
use crate::serve::reply::Reply;
use crate::serve::routes::Service;

/// What hyper holds of a response that the client does not take: less than the
/// smallest piece, so that there is one at a time. Also the most that a
/// request's head may have.
const BUFFER: usize = 16 * 1024;

/// Requests at a time on an HTTP/2 connection.
const STREAMS: u32 = 64;

/// HTTP/2 pings ask so often whether the client is there, and wait so long.
const PING: Duration = Duration::from_secs(20);

/// How long a client has to let go of a connection that is to end.
const FAREWELL: Duration = Duration::from_secs(5);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What every TLS connection of a server has in common.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Tls {
    pair: Arc<Pair>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    header_timeout: Duration,
    stall_timeout: Duration,
}

impl Tls {
    /// `http1` is how plain connections are served.
    pub(in crate::serve) fn new(
        pair: Arc<Pair>,
        mut http1: http1::Builder,
        options: &Options,
    ) -> Self {
        http1.max_buf_size(BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(16 * 1024)
            .max_send_buf_size(BUFFER)
            // Clients that open streams and take them back at once, by the
            // thousand (CVE-2023-44487).
            .max_pending_accept_reset_streams(32)
            .max_local_error_reset_streams(256)
            // Of what clients send, which is next to nothing; how much of a
            // file may be on its way is theirs to say.
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(64 * 1024)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        let Options { header_timeout, stall_timeout, .. } = *options;
        Self { pair, http1, http2, header_timeout, stall_timeout }
    }

    /// Serves a connection to its end; lets it end early once `stopping` says so.
    ///
    /// # Errors
    /// Whatever broke it: no handshake in time, most often, or a client that left.
    pub(in crate::serve) async fn serve(
        self,
        socket: TcpStream,
        service: Service,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), BoxError> {
        let stream = FileStream::new(socket, Arc::clone(service.files()), self.stall_timeout);
        let handshake = TlsAcceptor::from(self.pair.config()).accept(TokioIo::new(stream));
        let stream = tokio::select! {
            shaken = tokio::time::timeout(self.header_timeout, handshake) => shaken??,
            // Nothing was asked yet, nothing is lost.
            () = stopped(&mut stopping) => return Ok(()),
        };
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = TlsIo::new(stream);
        if h2 {
            let activity = Activity::new();
            let service = TrackedService { service, activity: activity.clone() };
            let connection = self.http2.serve_connection(stream, service);
            let overdue = activity.overdue(self.header_timeout, self.stall_timeout);
            drive(connection, stopping, overdue).await
        } else {
            let connection = self.http1.serve_connection(stream, service);
            drive(connection, stopping, std::future::pending()).await
        }
    }
}

/// Waits until connections are to end.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Fails where the sender is gone, which is an end too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// A connection that can be asked to end.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no more requests, and ends with those under way.
    fn wind_down(self: Pin<&mut Self>);
}

impl Connection for http1::Connection<TlsIo, Service> {
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Connection for http2::Connection<TlsIo, TrackedService, TokioExecutor> {
    fn wind_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(
    connection: impl Connection,
    mut stopping: watch::Receiver<bool>,
    overdue: impl Future<Output = Overdue>,
) -> Result<(), BoxError> {
    let (mut connection, mut overdue) = (pin!(connection), pin!(overdue));
    let mut winding_down = false;
    loop {
        tokio::select! {
            ended = &mut connection => return Ok(ended?),
            () = stopped(&mut stopping), if !winding_down => {
                winding_down = true;
                connection.as_mut().wind_down();
            }
            why = &mut overdue => {
                if why == Overdue::Idle {
                    connection.as_mut().wind_down();
                    tokio::time::timeout(FAREWELL, connection).await??;
                    return Ok(());
                }
                return Err("the client takes nothing".into());
            }
        }
    }
}

/// [`Service`], and what becomes of its responses.
#[derive(Clone, Debug)]
struct TrackedService {
    service: Service,
    activity: Activity,
}

impl hyper::service::Service<Request<Incoming>> for TrackedService {
    type Response = Response<Tracked<Reply>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let tracked = self.activity.request();
        let response = self.service.call(request);
        Box::pin(async move { Ok(response.await?.map(|body| Tracked::new(body, tracked))) })
    }
}
