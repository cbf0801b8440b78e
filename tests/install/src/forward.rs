//! Ports of pods, on this machine.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use crate::Kube;

/// `kubectl port-forward`, for as long as this value lives.
#[derive(Debug)]
pub struct Forward {
    child: Child,
    address: String,
}

impl Forward {
    /// A free port of this machine that leads to `port` of `target` (`pod/NAME`, `service/NAME`);
    /// `None` where it cannot, for now.
    #[must_use]
    pub fn to(kube: &Kube, target: &str, port: u16) -> Option<Self> {
        let mut child = kube
            .command(&["port-forward", target, &format!(":{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl");
        let mut stdout = BufReader::new(child.stdout.take().expect("standard output"));
        let mut line = String::new();
        // "Forwarding from 127.0.0.1:41231 -> 5240", or nothing and its end.
        let _ = stdout.read_line(&mut line);
        // It says more with every connection, and ends where nobody reads that.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let mut forward = Self { child, address: String::new() };
        forward.address = line.split_whitespace().nth(2)?.to_owned();
        Some(forward)
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
