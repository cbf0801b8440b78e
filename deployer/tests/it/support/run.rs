//! One run of the program.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use super::PATIENCE;

/// A run that is being prepared.
pub(crate) struct Job {
    command: Command,
    names: Vec<(String, String)>,
    secrets: Vec<String>,
}

impl Job {
    /// `maas-deployer job ARGS`, with no setting of the caller's.
    pub(crate) fn new(args: &[&str]) -> Self {
        Self::verb(&[&["job"], args].concat())
    }

    /// `maas-deployer ARGS`.
    pub(crate) fn verb(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maas-deployer"));
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.starts_with("MAAS_") || upper.ends_with("_PROXY") || upper.starts_with("KUBE")
            {
                command.env_remove(name);
            }
        }
        command.args(args).stdin(Stdio::null());
        Self { command, names: Vec::new(), secrets: Vec::new() }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Puts `name` for `text` in messages that are compared.
    pub(crate) fn named(mut self, text: impl Into<String>, name: &str) -> Self {
        self.names.push((text.into(), name.to_owned()));
        self
    }

    /// Texts that the output may not show.
    pub(crate) fn hiding(mut self, secrets: &[String]) -> Self {
        self.secrets.extend_from_slice(secrets);
        self
    }

    #[track_caller]
    pub(crate) fn run(self) -> Run {
        self.spawn().wait()
    }

    /// As [`Self::spawn`], with a terminal of so many lines for all that it writes: [`Running::stdout`] has what
    /// the terminal got.
    #[track_caller]
    pub(crate) fn on_terminal(mut self, rows: u16) -> Running {
        let shown = tempfile::tempfile().expect("file for what is shown");
        let (ours, theirs) = terminal(rows).expect("a terminal");
        self.command.stdout(theirs.try_clone().expect("stdout")).stderr(theirs);
        self.command.env("TERM", "xterm").env_remove("NO_COLOR");
        let child = self.command.spawn().expect("start maas-deployer");
        let mut copy = shown.try_clone().expect("what is shown");
        // It ends with an error when nobody has the other end any more. The command has it, too.
        drop(self.command);
        let reader = std::thread::spawn(move || {
            let _ = std::io::copy(&mut &ours, &mut copy);
        });
        let stderr = tempfile::tempfile().expect("file for stderr");
        let (names, secrets) = (self.names, self.secrets);
        Running { child, stdout: shown, stderr, names, secrets, reader: Some(reader) }
    }

    #[track_caller]
    pub(crate) fn spawn(self) -> Running {
        // Files, not pipes: the program must never wait for a test to read.
        let stdout = tempfile::tempfile().expect("file for stdout");
        let theirs = stdout.try_clone().expect("stdout");
        self.spawn_to(theirs, stdout)
    }

    /// As [`Self::spawn`], where it writes to `theirs`, of which `stdout` has what is read.
    #[track_caller]
    pub(crate) fn spawn_to(mut self, theirs: impl Into<Stdio>, stdout: File) -> Running {
        let stderr = tempfile::tempfile().expect("file for stderr");
        self.command.stdout(theirs);
        self.command.stderr(stderr.try_clone().expect("stderr"));
        let child = self.command.spawn().expect("start maas-deployer");
        let (names, secrets) = (self.names, self.secrets);
        Running { child, stdout, stderr, names, secrets, reader: None }
    }
}

/// A terminal of 100 columns: our end and that of the program.
fn terminal(rows: u16) -> std::io::Result<(File, File)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    let theirs = File::options().read(true).write(true).open(path)?;
    let size = Winsize { ws_row: rows, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size)?;
    Ok((File::from(ours), theirs))
}

/// A run under way. Dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    names: Vec<(String, String)>,
    secrets: Vec<String>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended takes no signal, which its exit code then tells.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().expect("look at the process").is_some()
    }

    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for the process") {
                break status;
            }
            assert!(Instant::now() < end, "it does not end; it said: {}", self.stderr());
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the terminal is read");
        }
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        let run = Run {
            code: code.unwrap_or(-1),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
            names: std::mem::take(&mut self.names),
        };
        run.hides(&self.secrets);
        run
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(file: &File) -> String {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read_at(&mut chunk, bytes.len() as u64).expect("read output") {
            0 => return String::from_utf8_lossy(&bytes).into_owned(),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    names: Vec<(String, String)>,
}

impl Run {
    /// No secret, in any form in which it is likely to be written, is in the output.
    #[track_caller]
    fn hides(&self, secrets: &[String]) {
        let output = format!("{}\n{}", self.stdout, self.stderr);
        for secret in secrets {
            let json = serde_json::to_string(secret).expect("JSON");
            let json = json.trim_matches('"');
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [secret.as_str(), json, &encoded] {
                assert!(!output.contains(form), "the output shows a secret:\n{output}");
            }
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Checks the exit code, and that stderr says what was being done, why it failed and what to
    /// do next, in the words kept in `tests/messages/NAME.txt`. `E2E_BLESS=1` writes that file.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, name: &str) -> Self {
        let run = self.expect(code);
        let message = run.message();
        for part in ["error: ", "\n  because ", "\nhint: "] {
            assert!(message.contains(part), "no '{}' in: {message}", part.trim());
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/messages")
            .join(format!("{name}.txt"));
        if std::env::var_os("E2E_BLESS").is_some() {
            fixtures::write_file(&path, message.as_bytes()).expect("write the message");
        }
        let kept = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{name}.txt: {error}; it said:\n{message}"));
        assert_eq!(message, kept, "the message {name}.txt");
        run
    }

    /// Checks the exit code, and that stdout says what is kept in `tests/messages/NAME.txt`.
    #[track_caller]
    pub(crate) fn told(self, code: i32, name: &str) -> Self {
        let run = self.expect(code);
        let mut text = run.stdout.clone();
        for (from, to) in &run.names {
            text = text.replace(from, to);
        }
        let text = without_digests(&without_ports(&text));
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/messages")
            .join(format!("{name}.txt"));
        if std::env::var_os("E2E_BLESS").is_some() {
            fixtures::write_file(&path, text.as_bytes()).expect("write the message");
        }
        let kept = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{name}.txt: {error}; it said:\n{text}"));
        assert_eq!(text, kept, "the message {name}.txt");
        run
    }

    /// The error on stderr, with names for what differs from run to run.
    pub(crate) fn message(&self) -> String {
        let start = if self.stderr.starts_with("error: ") {
            0
        } else {
            self.stderr.find("\nerror: ").map_or(self.stderr.len(), |at| at + 1)
        };
        let mut text = self.stderr[start..].to_owned();
        for (from, to) in &self.names {
            text = text.replace(from, to);
        }
        without_digests(&without_ports(&text))
    }

    /// Checks that it changed something that is called so.
    #[track_caller]
    pub(crate) fn changed(&self, what: &str) -> &Self {
        let line =
            self.stdout.lines().find(|line| line.starts_with("changed: ") && line.contains(what));
        assert!(line.is_some(), "no change '{what}' in: {}", self.stdout);
        self
    }

    /// Checks that it changed nothing, and says so.
    #[track_caller]
    pub(crate) fn unchanged(&self) -> &Self {
        assert!(!self.stdout.contains("changed: "), "{}", self.stdout);
        assert!(self.stdout.contains("nothing to change"), "{}", self.stdout);
        self
    }

    /// Its stdout, which is to be one JSON object and nothing more.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A job's name ends in a digest of what it runs, which changes with the chart.
fn without_digests(text: &str) -> String {
    let is_digest = |part: &str| {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let (digest, rest) = part.split_at_checked(8).unwrap_or(("", part));
        !digest.is_empty()
            && digest.bytes().all(hex)
            && digest.bytes().any(|b| b.is_ascii_digit())
            && !rest.starts_with(|c: char| c.is_ascii_alphanumeric())
    };
    let mut parts = text.split('-');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('-');
        let kept = if is_digest(part) { "DIGEST".to_owned() + &part[8..] } else { part.to_owned() };
        out.push_str(&kept);
    }
    out
}

fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("127.0.0.1:PORT");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}
