//! A client that drops what it receives inside the kernel, so that it does
//! not hide the server's speed.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, RawFd};

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

fn request(address: &str, path: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// `clients` connections that each fetch `path` once, side by side. Returns
/// the bytes received, heads included.
pub(crate) fn fetch_many(address: &str, path: &str, clients: usize) -> Result<u64> {
    let streams: Vec<_> = (0..clients).map(|_| request(address, path)).collect::<Result<_>>()?;
    Ok(drop_all(streams)?.iter().sum())
}

/// Drops what comes on all of `streams`, side by side, until each is closed by
/// its server. Returns the bytes of each, in the order in which they ended.
pub(crate) fn drop_all(streams: Vec<TcpStream>) -> Result<Vec<u64>> {
    const PIECE: usize = 1 << 20;
    let clients = streams.len();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut open: HashMap<RawFd, (TcpStream, u64)> = HashMap::new();
    for stream in streams {
        stream.set_nonblocking(true)?;
        let id = stream.as_raw_fd();
        let data = epoll::EventData::new_u64(id.unsigned_abs().into());
        epoll::add(&poll, &stream, data, epoll::EventFlags::IN)?;
        open.insert(id, (stream, 0));
    }
    let mut received = Vec::with_capacity(clients);
    let mut scratch = vec![0_u8; PIECE];
    let mut events = Vec::with_capacity(clients);
    while !open.is_empty() {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let id = RawFd::try_from(event.data.u64())?;
            let Some((stream, count)) = open.get_mut(&id) else {
                continue;
            };
            match rustix::net::recv(&*stream, scratch.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, 0)) => {
                    epoll::delete(&poll, &*stream)?;
                    received.push(*count);
                    open.remove(&id);
                }
                Ok((_, length)) => *count += length as u64,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(received)
}
