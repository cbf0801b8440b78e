//! A client that asks for a small file at a steady pace and notes how long
//! each answer takes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::Timespec;

use crate::Result;

const CONNECTIONS: u32 = 32;
/// Between two requests of one connection.
const PACE: Duration = Duration::from_millis(5);
/// An answer that takes longer is as bad as none.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
struct Paced {
    stream: TcpStream,
    /// When the request under way, or else the next, was due.
    due: Instant,
    /// Bytes of the answer that are still to come; 0: none is under way.
    left: usize,
}

/// Latencies of requests for `path` over some seconds, sorted, in ms.
///
/// They count from the moment at which a request was due, not from the one at
/// which it was sent: a server that stands still for 100 ms keeps twenty
/// requests of each connection waiting, and not one.
pub(crate) fn latencies(address: &str, path: &str, lasts: Duration) -> Result<Vec<f64>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let length = answer_length(address, &request)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let start = Instant::now();
    let mut connections = Vec::new();
    for index in 0..CONNECTIONS {
        let stream = connect(address)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(index.into());
        epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
        // Spread over the pace, so that they do not come in crowds.
        let due = start + PACE * index / CONNECTIONS;
        connections.push(Paced { stream, due, left: 0 });
    }
    let mut latencies = Vec::new();
    let mut events = Vec::with_capacity(connections.len());
    while start.elapsed() < lasts || connections.iter().any(|connection| connection.left > 0) {
        if start.elapsed() > lasts + PATIENCE {
            return Err("requests are not answered".into());
        }
        let sending = start.elapsed() < lasts;
        for connection in connections.iter_mut().filter(|connection| connection.left == 0) {
            if sending && connection.due <= Instant::now() {
                connection.stream.write_all(request.as_bytes())?;
                connection.left = length;
            }
        }
        let due = connections.iter().filter(|connection| connection.left == 0).map(|c| c.due);
        let pause = due.min().filter(|_| sending).map_or(PACE, |due| due - Instant::now().min(due));
        events.clear();
        let pause = Timespec::try_from(pause)?;
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&pause))?;
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            let Some(connection) = connections.get_mut(index) else { continue };
            if connection.receive()? {
                latencies.push(connection.due.elapsed().as_secs_f64() * 1000.0);
                connection.due += PACE;
            }
        }
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// The value below which so many hundredths of sorted samples lie.
pub(crate) fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    let index = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

impl Paced {
    /// Takes what has come; whether the answer is whole.
    fn receive(&mut self) -> Result<bool> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err("the server closed a connection".into()),
            Ok(read) => {
                self.left = self.left.checked_sub(read).ok_or("answers differ in length")?;
                Ok(self.left == 0)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Bytes of the answer, head included: every one has as many.
fn answer_length(address: &str, request: &str) -> Result<usize> {
    let mut stream = connect(address)?;
    stream.write_all(request.as_bytes())?;
    let (mut bytes, mut answer) = ([0; 4096], Vec::new());
    loop {
        let read = stream.read(&mut bytes)?;
        answer.extend_from_slice(bytes.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            if !head.starts_with("HTTP/1.1 200") {
                return Err(format!("the answer is: {head}").into());
            }
            let lower = head.to_lowercase();
            let value = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = value.ok_or("no Content-Length")?.trim().parse()?;
            return Ok(head.len() + 4 + length);
        }
        if read == 0 {
            return Err("the server closed the connection".into());
        }
    }
}
