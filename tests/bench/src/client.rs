//! A client that drops what it receives inside the kernel, so that it does
//! not hide the server's speed.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::RecvFlags;
use rustix::time::Timespec;

use crate::Result;

/// One GET on a new connection; the body's first bytes are read and dropped.
/// Returns the status line.
pub(crate) fn get_status(address: &str, path: &str) -> Result<String> {
    let mut stream = request(address, path, None)?;
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
    let mut stream = request(address, path, None)?;
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

fn request(address: &str, path: &str, range: Option<&str>) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let range = range.map_or(String::new(), |range| format!("Range: {range}\r\n"));
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{range}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// `clients` connections that each fetch `path` once, side by side. Returns
/// the bytes received, heads included.
pub(crate) fn fetch_many(address: &str, path: &str, clients: usize) -> Result<u64> {
    let streams = (0..clients).map(|_| request(address, path, None));
    Ok(drop_all(streams.collect::<Result<_>>()?)?.iter().sum())
}

/// Drops what comes on all of `streams`, side by side, until each is closed by
/// its server. Returns the bytes of each, in the order in which they ended.
pub(crate) fn drop_all(streams: Vec<TcpStream>) -> Result<Vec<u64>> {
    let mut drain = Drain::new()?;
    streams.into_iter().try_for_each(|stream| drain.add_stream(stream))?;
    while !drain.is_done() {
        drain.receive(None)?;
    }
    Ok(drain.ended)
}

/// Connections whose answers are dropped as they come.
pub(crate) struct Drain {
    poll: OwnedFd,
    /// With the bytes that came.
    open: HashMap<RawFd, (TcpStream, u64)>,
    ended: Vec<u64>,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
}

impl Drain {
    pub(crate) fn new() -> Result<Self> {
        const PIECE: usize = 1 << 20;
        Ok(Self {
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            open: HashMap::new(),
            ended: Vec::new(),
            events: Vec::with_capacity(1024),
            scratch: vec![0; PIECE],
        })
    }

    /// Asks for `path`, or for a range of it, on one more connection.
    pub(crate) fn add(&mut self, address: &str, path: &str, range: Option<&str>) -> Result<()> {
        self.add_stream(request(address, path, range)?)
    }

    fn add_stream(&mut self, stream: TcpStream) -> Result<()> {
        stream.set_nonblocking(true)?;
        let id = stream.as_raw_fd();
        let data = epoll::EventData::new_u64(id.unsigned_abs().into());
        epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
        self.open.insert(id, (stream, 0));
        Ok(())
    }

    /// Whether every answer has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// Waits for something to come, at most for `timeout`, and drops it.
    /// Returns its bytes.
    pub(crate) fn receive(&mut self, timeout: Option<Duration>) -> Result<u64> {
        let timeout = timeout.map(Timespec::try_from).transpose()?;
        self.events.clear();
        let events = rustix::buffer::spare_capacity(&mut self.events);
        epoll::wait(&self.poll, events, timeout.as_ref())?;
        let mut received = 0;
        for event in &self.events {
            let id = RawFd::try_from(event.data.u64())?;
            let Some((stream, count)) = self.open.get_mut(&id) else {
                continue;
            };
            match rustix::net::recv(&*stream, self.scratch.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, 0)) => {
                    epoll::delete(&self.poll, &*stream)?;
                    self.ended.push(*count);
                    self.open.remove(&id);
                }
                Ok((_, length)) => {
                    *count += length as u64;
                    received += length as u64;
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(received)
    }
}
