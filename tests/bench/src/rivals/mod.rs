//! The servers that we are measured beside, all on the same files.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::client::get_status;
use crate::process::{cpu_seconds, peak_of_family};

/// A server under measurement; ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    /// `ADDRESS:PORT`.
    pub(crate) address: String,
    child: Child,
    /// Its configuration and what it writes.
    _folder: TempDir,
}

impl Rival {
    /// Processor time of the server, all its processes together, seconds.
    pub(crate) fn cpu(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    /// Most memory that it had resident, all its processes together, MB.
    pub(crate) fn peak_mb(&self) -> f64 {
        peak_of_family(self.child.id())
    }

    /// nginx as it is usually set up for files: sendfile, a worker for each
    /// processor, no access log.
    pub(crate) fn nginx(root: &Path) -> Result<Self> {
        Self::nginx_with(root, None)
    }

    /// The same, over TLS where there are certificate and key.
    pub(crate) fn nginx_with(root: &Path, tls: Option<(&Path, &Path)>) -> Result<Self> {
        let (ssl, pair) = tls.map_or_else(Default::default, |(cert, key)| {
            let (cert, key) = (cert.display(), key.display());
            let pair = format!("ssl_certificate {cert}; ssl_certificate_key {key};");
            (" ssl", pair + " ssl_protocols TLSv1.2 TLSv1.3;")
        });
        let (folder, port) = (folder()?, free_port()?);
        let place = folder.path().display();
        let config = format!(
            "user root; worker_processes auto; pid {place}/pid; error_log {place}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n\
             client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};\n\
             uwsgi_temp_path {place}; scgi_temp_path {place};\n\
             server {{ listen 127.0.0.1:{port}{ssl} backlog=4096; {pair} location /images/ {{ alias {}/; }} }} }}\n",
            root.display()
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&path).args(["-g", "daemon off;"]);
        Self::start("nginx", command, port, folder)
    }

    /// apache with the event module and sendfile.
    pub(crate) fn apache(root: &Path) -> Result<Self> {
        let (folder, port) = (folder()?, free_port()?);
        let (place, root) = (folder.path().display(), root.display());
        let modules = ["mpm_event", "authz_core", "alias"];
        let load: String = modules
            .iter()
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .collect();
        let config = format!(
            "ServerRoot {place}\nPidFile {place}/pid\nErrorLog {place}/error.log\n{load}\
             Listen 127.0.0.1:{port}\nServerName localhost\nUser www-data\nGroup www-data\n\
             EnableSendfile On\nMaxKeepAliveRequests 0\nThreadsPerChild 64\nServerLimit 20\n\
             MaxRequestWorkers 1280\nListenBacklog 4096\nDefaultRuntimeDir {place}\n\
             Alias /images/ {root}/\n<Directory {root}>\nRequire all granted\n</Directory>\n"
        );
        let path = folder.path().join("apache.conf");
        fs::write(&path, config)?;
        let mut command = Command::new("apache2");
        command.arg("-f").arg(&path).arg("-DFOREGROUND");
        Self::start("apache", command, port, folder)
    }

    /// `loop.c`: the kernel's own limit.
    pub(crate) fn bare_loop(root: &Path) -> Result<Self> {
        let folder = folder()?;
        let (source, program) = (folder.path().join("loop.c"), folder.path().join("loop"));
        fs::write(&source, include_str!("loop.c"))?;
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-pthread", "-o"]).arg(&program).arg(&source);
        if !compiler.status()?.success() {
            return Err("cc could not build the bare loop".into());
        }
        let mut command = Command::new(&program);
        command.arg(root);
        Self::announced("bare C loop", command, folder, |line| line.trim().parse().ok())
    }

    /// axum with tower-http's `ServeDir`.
    pub(crate) fn serve_dir(root: &Path) -> Result<Self> {
        let program = crate::process::program("SERVE_DIR_BIN", "serve-dir")?;
        let mut command = Command::new(program);
        command.arg(root);
        Self::announced("ServeDir", command, folder()?, |line| line.trim().parse().ok())
    }

    /// Ourselves.
    pub(crate) fn maas_mirror(store: &Path) -> Result<Self> {
        Self::maas_mirror_with(store, None)
    }

    /// Ourselves, over TLS where there are certificate and key.
    pub(crate) fn maas_mirror_with(store: &Path, tls: Option<(&Path, &Path)>) -> Result<Self> {
        let mut command = Command::new(crate::process::maas_mirror()?);
        command.args(["serve", "-q", "--listen", "127.0.0.1:0", "--store"]).arg(store);
        if let Some((cert, key)) = tls {
            command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key);
        }
        let port = |line: &str| line.trim().rsplit(':').next()?.parse().ok();
        Self::announced("maas-mirror", command, folder()?, port)
    }

    /// A server that says its port on its first line.
    fn announced(
        name: &'static str,
        mut command: Command,
        folder: TempDir,
        port: impl Fn(&str) -> Option<u16>,
    ) -> Result<Self> {
        use std::io::{BufRead as _, BufReader};
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let port = port(&line);
        let address = format!("127.0.0.1:{}", port.unwrap_or_default());
        let rival = Self { name, address, child, _folder: folder };
        port.map(|_| rival).ok_or_else(|| format!("{name} said '{}'", line.trim()).into())
    }

    /// A server with a port that was chosen for it.
    fn start(name: &'static str, mut command: Command, port: u16, folder: TempDir) -> Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let address = format!("127.0.0.1:{port}");
        let rival = Self { name, address, child, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(20);
        while get_status(&rival.address, "/").is_err() {
            if Instant::now() > deadline {
                return Err(format!("{name} does not answer").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(rival)
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // Masters end their workers when they are asked, not when they are killed.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A folder that servers which give up root can read too.
fn folder() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
