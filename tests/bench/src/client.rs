//! A client that drops what it receives inside the kernel, so that it does
//! not hide the server's speed.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::RecvFlags;

use crate::Result;

/// One GET on a new connection; the body's first bytes are read and dropped.
/// Returns the status line.
pub(crate) fn get_status(address: &str, path: &str) -> Result<String> {
    let mut stream = request(address, path)?;
    let mut head = [0; 512];
    let read = stream.read(&mut head)?;
    let text = String::from_utf8_lossy(head.get(..read).unwrap_or_default()).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// One GET on a new connection: the time to the first byte of the body, which
/// is then read to its end.
pub(crate) fn first_byte(address: &str, path: &str) -> Result<Duration> {
    let started = Instant::now();
    let (mut stream, _) = open_body(address, path)?;
    let elapsed = started.elapsed();
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(elapsed)
}

/// One GET on a new connection: the body, whole or as far as it came.
pub(crate) fn get(address: &str, path: &str) -> Result<Vec<u8>> {
    let (mut stream, mut body) = open_body(address, path)?;
    stream.read_to_end(&mut body)?;
    Ok(body)
}

/// A response whose head is read, and the first bytes of its body.
fn open_body(address: &str, path: &str) -> Result<(TcpStream, Vec<u8>)> {
    const END: &[u8] = b"\r\n\r\n";
    let mut stream = request(address, path)?;
    let mut received = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut piece)?;
        received.extend_from_slice(piece.get(..read).unwrap_or_default());
        let head = received.windows(END.len()).position(|window| window == END);
        match head.map(|at| at + END.len()) {
            Some(head) if received.len() > head => {
                if !received.starts_with(b"HTTP/1.1 200") {
                    return Err(format!("{path} was not given").into());
                }
                return Ok((stream, received.split_off(head)));
            }
            _ if read == 0 => return Err(format!("{path} has no body").into()),
            _ => {}
        }
    }
}

fn request(address: &str, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// `clients` connections that each fetch `path` once, side by side. Returns
/// the bytes received, heads included.
pub(crate) fn fetch_many(address: &str, path: &str, clients: usize) -> Result<u64> {
    const PIECE: usize = 1 << 20;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open: HashMap<RawFd, TcpStream> = HashMap::new();
    for _ in 0..clients {
        let stream = request(address, path)?;
        stream.set_nonblocking(true)?;
        let id = stream.as_raw_fd();
        let data = epoll::EventData::new_u64(id.unsigned_abs().into());
        epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
        open.insert(id, stream);
    }
    let mut received = 0;
    let mut scratch = vec![0_u8; PIECE];
    let mut events = Vec::with_capacity(clients);
    while !open.is_empty() {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let id = RawFd::try_from(event.data.u64())?;
            let Some(stream) = open.get(&id) else {
                continue;
            };
            match rustix::net::recv(stream, scratch.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, 0)) => {
                    epoll::delete(&poll, stream)?;
                    open.remove(&id);
                }
                Ok((_, length)) => received += length as u64,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(received)
}
