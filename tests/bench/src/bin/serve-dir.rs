//! A rival: axum with tower-http's `ServeDir`, as many file servers in Rust
//! begin. Serves the folder of its argument at `/images`; prints its port.

use std::error::Error;

use axum::Router;
use tower_http::services::ServeDir;

#[tokio::main]
#[allow(clippy::print_stdout, reason = "the port is this program's output")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder")?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    // Without TCP_NODELAY small answers wait for the client's ACK.
    let listener = axum::serve::ListenerExt::tap_io(listener, |socket| {
        let _ = socket.set_nodelay(true);
    });
    let router = Router::new().nest_service("/images", ServeDir::new(folder));
    Ok(axum::serve(listener, router).await?)
}
