//! An HTTP server whose every answer a test decides.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Asked {
    /// `POST boot-resources/?op=import`: method, path below `/MAAS/` or its API, operation.
    pub(crate) fn call(&self) -> String {
        let path = self.path();
        let path = path.split_once("/MAAS/").map_or(path, |(_, below)| below);
        let path = path.strip_prefix("api/2.0/").unwrap_or(path);
        let op = self.query().split('&').find(|pair| pair.starts_with("op="));
        op.map_or_else(
            || format!("{} {path}", self.method),
            |op| format!("{} {path}?{op}", self.method),
        )
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(held, _)| held.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, content type, body.
    Full(u16, &'static str, String),
    /// As `Full`, with one more header.
    With(u16, (&'static str, String), String),
    /// With these headers.
    Passed(u16, Vec<(String, String)>, String),
    /// The connection ends.
    Cut,
}

impl Answer {
    pub(crate) fn json(status: u16, body: &impl ToString) -> Self {
        Self::Full(status, "application/json", body.to_string())
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self::Full(status, "text/plain", body.into())
    }

    pub(crate) fn page(status: u16, title: &str) -> Self {
        let body = format!("<html><head><title>{title}</title></head><body>…</body></html>");
        Self::Full(status, "text/html", body)
    }
}

type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// The server; its threads end with the test.
pub(crate) struct HttpServer {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl HttpServer {
    pub(crate) fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("address").port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (handler, log): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                thread::spawn(move || serve(&stream, &*handler, &log));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("log").clone()
    }

    /// How often something was asked.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|one| one.method == method && one.path().ends_with(path)).count()
    }
}

fn serve(stream: &TcpStream, handler: &Handler, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read(&mut reader) {
        let answer = handler(&asked);
        log.lock().expect("log").push(asked);
        let header = |name: &str, value: String| (name.to_owned(), value);
        let (status, headers, body) = match answer {
            Answer::Cut => return,
            Answer::Full(status, kind, body) => {
                (status, vec![header("Content-Type", kind.to_owned())], body)
            }
            Answer::With(status, (name, value), body) => (status, vec![header(name, value)], body),
            Answer::Passed(status, headers, body) => (status, headers, body),
        };
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head =
            format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let mut writer = stream;
        if writer.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&count| count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: String::new(), bytes: Vec::new() };
    let length = asked.header("Content-Length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    asked.bytes = body;
    Some(asked)
}
