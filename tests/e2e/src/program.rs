//! The program as a process.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{PATIENCE, text};

/// The program: `MAAS_MIRROR_BIN` where it is set, or built beside the tests, once.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("MAAS_MIRROR_BIN") {
            return given.into();
        }
        // TARGET/PROFILE/deps/TEST
        let test = std::env::current_exe().expect("path of the test");
        let profile = test.ancestors().nth(2).expect("folder of the profile");
        let target = profile.parent().expect("target folder");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "maas-mirror", "--manifest-path"]);
        build.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml"));
        build.arg("--target-dir").arg(target);
        if profile.file_name() == Some(OsStr::new("release")) {
            build.arg("--release");
        }
        let status = build.status().expect("run cargo");
        assert!(status.success(), "maas-mirror could not be built");
        profile.join("maas-mirror")
    })
}

/// A run of the program that is being prepared.
#[derive(Debug)]
pub struct Mirror {
    command: Command,
    /// Texts that differ from run to run, and what stands for them in messages.
    names: Vec<(String, String)>,
    /// What takes the place of stdout.
    full_disk: Option<File>,
}

impl Mirror {
    /// A run with these arguments, and with no setting of the caller's: neither the program's own
    /// variables nor a proxy's.
    pub fn new<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Self {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.starts_with("MAAS_MIRROR_") || upper.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command.args(args).stdin(Stdio::null());
        Self { command, names: Vec::new(), full_disk: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Runs it as process 1 of a container would run; `None`, with the reason printed, where we
    /// may make no such namespace. To be called first.
    #[must_use]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    pub fn as_process_1(self) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can make a namespace of processes");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        Some(Self { command, ..self })
    }

    /// Sends what it prints to a disk that is full.
    #[must_use]
    pub fn to_full_disk(mut self) -> Self {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        self.full_disk = Some(full);
        self
    }

    /// Gives it something to read on stdin.
    #[must_use]
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Sends what it prints to a file.
    #[must_use]
    pub fn stdout_to(mut self, file: File) -> Self {
        self.full_disk = Some(file);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Puts `name` for `text` in messages that are compared.
    #[must_use]
    pub fn named(mut self, text: impl Into<String>, name: &str) -> Self {
        self.names.push((text.into(), name.to_owned()));
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Run {
        self.spawn().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        // Files, not pipes: the program must never wait for a test to read.
        let stdout = tempfile::tempfile().expect("file for stdout");
        let stderr = tempfile::tempfile().expect("file for stderr");
        let seen = stdout.try_clone().expect("stdout");
        self.command.stdout(self.full_disk.take().unwrap_or(seen));
        self.command.stderr(stderr.try_clone().expect("stderr"));
        let child = self.command.spawn().expect("start maas-mirror");
        Running { child, stdout, stderr, names: self.names }
    }
}

/// A run under way. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    names: Vec<(String, String)>,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processes that it is the parent of, and the state of each.
    #[must_use]
    pub fn children(&self) -> Vec<(u32, char)> {
        children(self.pid())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // One that has ended takes no signal, which its exit code then tells.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("look at the process").is_some()
    }

    /// What it has printed on stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has printed on stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// The most memory it has held so far, in KiB; `None` once it has ended.
    #[must_use]
    pub fn peak_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for the process") {
                break status;
            }
            if Instant::now() > end {
                panic!("it does not end; it said: {}", self.stderr());
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        };
        Run {
            code: code(status),
            stdout: self.stdout(),
            stderr: self.stderr(),
            names: std::mem::take(&mut self.names),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes of which `parent` is the parent, and the state of each.
#[must_use]
pub fn children(parent: u32) -> Vec<(u32, char)> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let stat = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse() == Ok(parent)).then_some((pid, state))
    };
    processes.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The exit code as a shell has it.
fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// All of a file that another process may still write to: its position stays.
fn read(file: &File) -> String {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = file.read_at(&mut chunk, bytes.len() as u64);
        match read.expect("read output") {
            0 => return String::from_utf8_lossy(&bytes).into_owned(),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Run {
    /// Its exit code; 128 and the signal's number where one ended it.
    pub code: i32,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
    names: Vec<(String, String)>,
}

impl Run {
    /// Checks the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Checks the exit code, and that stderr says what was being done, why it failed and what to
    /// do next, in the words kept in `tests/messages/NAME.txt`. `E2E_BLESS=1` writes that file.
    #[track_caller]
    pub fn failed(self, code: i32, name: &str) -> Self {
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

    /// The error on stderr, with names for what differs from run to run.
    #[must_use]
    pub fn message(&self) -> String {
        let start = if self.stderr.starts_with("error: ") {
            0
        } else {
            let found = self.stderr.find("\nerror: ");
            found.map_or(self.stderr.len(), |at| at + 1)
        };
        text::normalised(&self.stderr[start..], &self.names)
    }

    /// Its stdout, which is to be one JSON object and nothing more.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout));
        assert!(value.is_object(), "{value}");
        value
    }
}
