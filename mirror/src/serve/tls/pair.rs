//! Certificate and key, from two files to what rustls serves with.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, version};

use super::Files;

/// The most that either file may hold, bytes: a chain has some kilobytes.
const MOST: u64 = 1 << 20;

/// One of the two files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the TLS {what} {} cannot be used", path.display())]
pub struct PairError {
    /// `certificate` or `key`.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub problem: PairProblem,
}

/// Why a file of the pair cannot be used. Holds nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum PairProblem {
    /// It cannot be read.
    #[error("{0}")]
    Read(io::Error),
    /// It is a folder, a pipe or a device.
    #[error("it is no regular file")]
    NotAFile,
    /// It is longer than any such file is.
    #[error("it holds more than {MOST} bytes")]
    TooLarge,
    /// It holds no certificate.
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    /// It holds no key, or an encrypted one.
    #[error("it holds no unencrypted private key in PEM form (PKCS#8, PKCS#1 or SEC1)")]
    NoKey,
    /// The certificate or key is of a kind that is not known, or damaged.
    #[error("{0}")]
    Unusable(rustls::Error),
    /// It belongs to another certificate.
    #[error("the key is not that of the first certificate in {}", .0.display())]
    Mismatch(PathBuf),
}

/// Device, inode, length and times of a file.
pub(super) type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

/// Which files the names of the pair lead to now, links followed; `None` for one
/// that is not there. Blocks.
pub(super) fn identities(files: &Files) -> [Option<Identity>; 2] {
    [&files.cert, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        let times = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        Some((meta.dev(), meta.ino(), meta.len(), times.0, times.1))
    })
}

/// Whether the key's file lets every user of the machine read it. Blocks.
pub(super) fn key_is_open(files: &Files) -> bool {
    std::fs::metadata(&files.key).is_ok_and(|meta| meta.mode() & 0o004 != 0)
}

/// Reads and checks the pair. Blocks.
pub(super) fn load(files: &Files) -> Result<Arc<ServerConfig>, PairError> {
    let wrong_cert = |problem| PairError { what: "certificate", path: files.cert.clone(), problem };
    let wrong_key = |problem| PairError { what: "key", path: files.key.clone(), problem };
    let chain = read(&files.cert).map_err(wrong_cert)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong_cert(PairProblem::NoCertificate))?;
    if chain.is_empty() {
        return Err(wrong_cert(PairProblem::NoCertificate));
    }
    let key = read(&files.key).map_err(wrong_key)?;
    // The parser's own error may quote a line of the file.
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| wrong_key(PairProblem::NoKey))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| wrong_key(PairProblem::Unusable(error)))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            return Err(wrong_key(PairProblem::Mismatch(files.cert.clone())));
        }
        Err(error) => return Err(wrong_cert(PairProblem::Unusable(error))),
    }
    config(&provider, certified).map_err(|error| wrong_cert(PairProblem::Unusable(error)))
}

fn read(path: &Path) -> Result<Vec<u8>, PairProblem> {
    // A pipe would be waited for, at start or in the midst of serving.
    if !std::fs::metadata(path).map_err(PairProblem::Read)?.is_file() {
        return Err(PairProblem::NotAFile);
    }
    let file = std::fs::File::open(path).map_err(PairProblem::Read)?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(PairProblem::Read)?;
    if bytes.len() as u64 > MOST {
        return Err(PairProblem::TooLarge);
    }
    Ok(bytes)
}

/// A configuration of its own for each pair, with tickets of its own: who comes
/// back with a ticket of the old pair gets a whole handshake with the new one.
fn config(
    provider: &Arc<CryptoProvider>,
    certified: CertifiedKey,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
