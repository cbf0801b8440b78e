//! A client that hides nothing.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::PATIENCE;

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// What came of the body.
    pub body: Vec<u8>,
    /// Whether the body is as long as `Content-Length` says.
    pub whole: bool,
}

impl Answer {
    /// The value of a header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Connects, with timeouts that no passing test meets.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request on a connection of its own. `headers` are whole lines.
pub fn request(address: &str, method: &str, path: &str, headers: &[&str]) -> io::Result<Answer> {
    let mut stream = connect(address)?;
    let mut lines = headers.to_vec();
    lines.push("Connection: close");
    stream.write_all(&head(method, path, &lines))?;
    read_answer(&mut BufReader::new(stream), method == "HEAD")
}

/// The head of a request.
#[must_use]
pub fn head(method: &str, path: &str, headers: &[&str]) -> Vec<u8> {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n").into_bytes()
}

/// Reads status and headers; the body stays in `from`.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Answer> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let status = lines.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.iter().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        headers: headers.collect(),
        body: Vec::new(),
        whole: false,
    })
}

/// Reads a whole response. A connection that is cut leaves it not [`whole`](Answer::whole).
pub fn read_answer(from: &mut impl BufRead, is_head: bool) -> io::Result<Answer> {
    let answer = read_head(from)?;
    read_body(answer, from, is_head)
}

/// Reads the body that belongs to a head.
pub fn read_body(mut answer: Answer, from: &mut impl BufRead, is_head: bool) -> io::Result<Answer> {
    let bodyless = is_head || matches!(answer.status, 204 | 304);
    let length: u64 = if bodyless {
        0
    } else {
        answer.header("content-length").parse().map_err(|_| io::ErrorKind::InvalidData)?
    };
    // A reset is one way to cut a body.
    let read = from.take(length).read_to_end(&mut answer.body);
    answer.whole = read.is_ok() && answer.body.len() as u64 == length;
    Ok(answer)
}
