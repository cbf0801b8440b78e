//! A TCP proxy that cuts connections.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// Passes connections on to a server, until told to cut some. Dropped, it takes no more.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    target: String,
    /// Bytes of one connection, in one direction, after which it is cut; 0 for never.
    cut_after: AtomicU64,
    /// Connections that may still be cut.
    cuts: AtomicUsize,
    /// Whether bytes to the server count, and not those from it.
    upwards: AtomicBool,
    closed: AtomicBool,
    connections: AtomicUsize,
}

impl Proxy {
    /// One before the server at `target`.
    #[must_use]
    pub fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address").to_string();
        let state = Arc::new(State {
            target: target.to_owned(),
            cut_after: AtomicU64::new(0),
            cuts: AtomicUsize::new(0),
            upwards: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    break;
                }
                if let Ok(client) = client {
                    // A connection that cannot be passed on is one that is cut.
                    let _ = pass(&client, &shared);
                }
            }
        });
        Self { address, state, accepting: Some(accepting) }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Cuts the next `times` connections that carry so many bytes from the server.
    pub fn cut_downloads(&self, after: u64, times: usize) {
        self.cut(after, times, false);
    }

    /// Cuts the next `times` connections that carry so many bytes to the server.
    pub fn cut_uploads(&self, after: u64, times: usize) {
        self.cut(after, times, true);
    }

    fn cut(&self, after: u64, times: usize, upwards: bool) {
        self.state.upwards.store(upwards, Ordering::SeqCst);
        self.state.cut_after.store(after, Ordering::SeqCst);
        self.state.cuts.store(times, Ordering::SeqCst);
    }

    /// Connections that may still be cut.
    #[must_use]
    pub fn cuts_left(&self) -> usize {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Connections that came.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

fn pass(client: &TcpStream, state: &Arc<State>) -> io::Result<()> {
    state.connections.fetch_add(1, Ordering::SeqCst);
    let server = TcpStream::connect(&state.target)?;
    for (from, to, upwards) in [
        (client.try_clone()?, server.try_clone()?, true),
        (server.try_clone()?, client.try_clone()?, false),
    ] {
        let state = Arc::clone(state);
        std::thread::spawn(move || copy(from, to, upwards, &state));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, upwards: bool, state: &State) {
    let mut buffer = vec![0; 16 * 1024];
    let mut passed = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        passed += read as u64;
        let limit = state.cut_after.load(Ordering::SeqCst);
        let counts = limit > 0 && passed > limit && state.upwards.load(Ordering::SeqCst) == upwards;
        let take = |left: usize| left.checked_sub(1);
        let cut =
            counts && state.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if cut || to.write_all(&buffer[..read]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    let _ = to.shutdown(if upwards { Shutdown::Write } else { Shutdown::Both });
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(&self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
