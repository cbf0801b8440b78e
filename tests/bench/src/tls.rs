//! A large file over TLS, beside nginx.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use fixtures::{Certificate, StreamSpec};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};
use sha2::{Digest as _, Sha256};

use crate::Result;
use crate::client::drop_all;
use crate::figures::Report;
use crate::rivals::Rival;
use crate::serving::{CONNECTIONS, SCALE, add, empty, path_ending, push};
use crate::setup::Upstream;

/// The file is fetched so often by each connection in a round.
const TIMES: usize = 2;

/// A large file over 8 connections, HTTP/1.1 on TLS 1.3 with AES-128-GCM: the one
/// suite that the client offers.
pub(crate) fn compare(rounds: usize, report: &mut Report) -> Result<()> {
    let spec = StreamSpec::new().scale(SCALE);
    let large = path_ending(&spec, "/squashfs")?;
    let stream = spec.build();
    let item = stream.items.get(&large).ok_or("the stream has no squashfs")?;
    let (digest, size) = (item.sha256(), stream.content(&large)?.len() as u64);
    let upstream = Upstream::new(&spec)?;
    let (store, tree) = (upstream.store()?, upstream.tree());
    let certificate = Certificate::generate()?;
    let folder = tempfile::tempdir()?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    fs::write(&cert, &certificate.cert_pem)?;
    fs::write(&key, &certificate.key_pem)?;
    let pair = Some((cert.as_path(), key.as_path()));
    let store = store.path().join("store");
    let servers = [Rival::maas_mirror_with(&store, pair)?, Rival::nginx_with(&tree, pair)?];
    let client = Client::new(&certificate)?;
    let path = format!("/images/{large}");
    for server in &servers {
        client.check(server, &path, &digest)?;
    }
    let (mut speed, mut cpu) = (empty(&servers), empty(&servers));
    for round in 0..=rounds {
        for (index, server) in servers.iter().enumerate() {
            let (gigabytes_a_second, seconds_a_gigabyte) = client.measure(server, &path, size)?;
            // The first round warms caches and is not counted.
            if round > 0 {
                push(&mut speed, index, gigabytes_a_second);
                push(&mut cpu, index, seconds_a_gigabyte);
            }
        }
    }
    add(report, "180 MB file over TLS, 8 connections", "GB/s", &servers, speed);
    add(report, "180 MB file over TLS, server CPU", "s/GB", &servers, cpu);
    Ok(())
}

/// Shakes hands, asks, and then drops the ciphertext inside the kernel: to decrypt
/// it would cost as much as the servers' work.
struct Client(Arc<ClientConfig>);

impl Client {
    fn new(certificate: &Certificate) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.ca_pem.as_bytes())?)?;
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            ..aws_lc_rs::default_provider()
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// A connection on which the request is sent.
    fn ask(&self, server: &Rival, path: &str) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("localhost")?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        let tcp = TcpStream::connect(&server.address)?;
        tcp.set_nodelay(true)?;
        let mut stream = StreamOwned::new(connection, tcp);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.flush()?;
        Ok(stream)
    }

    /// Reads the body once, decrypted, and compares its digest.
    fn check(&self, server: &Rival, path: &str, digest: &str) -> Result<()> {
        let mut stream = BufReader::new(self.ask(server, path)?);
        let mut status = String::new();
        stream.read_line(&mut status)?;
        let mut line = status.clone();
        while !line.trim().is_empty() {
            line.clear();
            stream.read_line(&mut line)?;
        }
        let mut body = Vec::new();
        stream.read_to_end(&mut body)?;
        let found: String =
            Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        if !status.starts_with("HTTP/1.1 200") || found != digest {
            let status = status.trim();
            return Err(format!("{} answered '{status}' and other bytes", server.name).into());
        }
        Ok(())
    }

    /// GB a second, and the server's CPU seconds a GB.
    fn measure(&self, server: &Rival, path: &str, size: u64) -> Result<(f64, f64)> {
        let (started, before) = (Instant::now(), server.cpu());
        let mut received = 0;
        for _ in 0..TIMES {
            let asked: Vec<_> =
                (0..CONNECTIONS).map(|_| self.ask(server, path)).collect::<Result<_>>()?;
            let came = drop_all(asked.into_iter().map(|stream| stream.sock).collect())?;
            if came.len() != CONNECTIONS || came.iter().any(|length| *length < size) {
                return Err(format!("{} sent too little: {came:?}", server.name).into());
            }
            received += came.iter().sum::<u64>();
        }
        #[allow(clippy::cast_precision_loss, reason = "bytes, for people")]
        let gigabytes = received as f64 / 1e9;
        Ok((gigabytes / started.elapsed().as_secs_f64(), (server.cpu() - before) / gigabytes))
    }
}
