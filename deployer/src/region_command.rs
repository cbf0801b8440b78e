//! Runs `maas-region`, `maas-rack` and other programs of the images.
//!
//! Every run has a bound; stdin is closed, or fed and then closed; nothing
//! secret is among the arguments, and what is secret is struck out of the output
//! that an error shows. A run that is given up is killed with all it started.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout, timeout_at};
use tracing::{debug, info};

use crate::secret::Secret;
use crate::wait::spoken;

/// How often a long run is mentioned in the log.
const REMINDER: Duration = Duration::from_secs(30);

/// How long the outputs of a program that has ended are read on.
const REST: Duration = Duration::from_secs(1);

/// How much of the output's end an error shows.
const TAIL: usize = 2000;

/// How much of the output is kept.
const KEPT: usize = 1024 * 1024;

/// A run that did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program is not there.
    #[error("there is no program '{program}' here")]
    Missing {
        /// The program.
        program: String,
    },
    /// It could not be started, or not be talked to.
    #[error("cannot run {command}")]
    Run {
        /// The command.
        command: String,
        /// What the system says.
        source: io::Error,
    },
    /// It failed.
    #[error("{command} {}{}", ended(*code), last_words(tail))]
    Failed {
        /// The command.
        command: String,
        /// The exit code; `None` where a signal ended it.
        code: Option<i32>,
        /// The end of what it printed.
        tail: String,
    },
    /// It did not end.
    #[error("{command} did not end within {}{}", spoken(*limit), last_words(tail))]
    Endless {
        /// The command.
        command: String,
        /// How long it had.
        limit: Duration,
        /// The end of what it printed.
        tail: String,
    },
}

fn ended(code: Option<i32>) -> String {
    code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with exit code {code}"))
}

fn last_words(tail: &str) -> String {
    let lines: Vec<&str> =
        tail.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [] => " and printed nothing".to_owned(),
        [line] => format!("; it printed: {line}"),
        lines => {
            let last = lines.len().saturating_sub(8);
            let shown = lines.get(last..).unwrap_or_default().join("\n    ");
            format!("; the last that it printed:\n    {shown}")
        }
    }
}

/// A run that is being prepared.
#[derive(Debug)]
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    stdin: Option<Secret>,
    masked: Vec<Secret>,
    limit: Duration,
}

/// What a program printed.
#[derive(Debug)]
pub struct Printed {
    /// Its stdout.
    pub stdout: String,
}

impl Run {
    /// A run of `program`, which may take `limit`.
    pub fn new(program: impl AsRef<OsStr>, limit: Duration) -> Self {
        let program = program.as_ref().to_owned();
        Self { program, args: Vec::new(), stdin: None, masked: Vec::new(), limit }
    }

    /// A run of `maas-region`.
    #[must_use]
    pub fn maas_region(limit: Duration) -> Self {
        Self::new("maas-region", limit)
    }

    /// Adds arguments; none may be secret.
    #[must_use]
    pub fn args<I: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// What it reads on stdin; without it, stdin is closed.
    #[must_use]
    pub fn stdin(mut self, text: Secret) -> Self {
        self.stdin = Some(text);
        self
    }

    /// A text that no error may show.
    #[must_use]
    pub fn mask(mut self, secret: &Secret) -> Self {
        self.masked.push(secret.clone());
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn run(self) -> Result<Printed, CommandError> {
        let command = self.shown();
        debug!(command, "running");
        let mut group = Group { child: self.spawn()?, over: false };
        let end = Instant::now() + self.limit;
        let mut output = Kept::default();
        let work = self.attend(&mut group.child, &mut output);
        let status = match timeout_at(end, work).await {
            Ok(Ok(status)) => status,
            Ok(Err(source)) => return Err(CommandError::Run { command, source }),
            Err(_) => {
                let tail = self.masked(&output.tail());
                return Err(CommandError::Endless { command, limit: self.limit, tail });
            }
        };
        group.over = true;
        let tail = self.masked(&output.tail());
        debug!(command, code = status.code(), tail, "ended");
        if !status.success() {
            return Err(CommandError::Failed { command, code: status.code(), tail });
        }
        Ok(Printed { stdout: String::from_utf8_lossy(&output.stdout).into_owned() })
    }

    fn spawn(&self) -> Result<Child, CommandError> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => {
                CommandError::Missing { program: self.program.to_string_lossy().into_owned() }
            }
            _ => CommandError::Run { command: self.shown(), source },
        })
    }

    /// Feeds stdin, reads both outputs, and waits for the end.
    async fn attend(&self, child: &mut Child, kept: &mut Kept) -> io::Result<ExitStatus> {
        if let (Some(text), Some(mut stdin)) = (&self.stdin, child.stdin.take()) {
            match stdin.write_all(text.expose().as_bytes()).await {
                // It ended, or closed its stdin, without reading all.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                other => other?,
            }
        }
        let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take())
        else {
            return child.wait().await;
        };
        let Kept { stdout: out, mixed } = kept;
        let mixed = std::cell::RefCell::new(mixed);
        let reading = async {
            tokio::try_join!(
                copy(&mut stdout, |bytes| {
                    let room = KEPT.saturating_sub(out.len()).min(bytes.len());
                    out.extend_from_slice(bytes.get(..room).unwrap_or_default());
                    add(&mut mixed.borrow_mut(), bytes);
                }),
                copy(&mut stderr, |bytes| add(&mut mixed.borrow_mut(), bytes)),
            )
        };
        tokio::pin!(reading);
        let mut reminder = interval(REMINDER);
        let begun = Instant::now();
        reminder.tick().await;
        loop {
            tokio::select! {
                read = &mut reading => {
                    read?;
                    return child.wait().await;
                }
                status = child.wait() => {
                    // The rest is on its way; but a program that it started may
                    // hold the outputs open.
                    let _ = timeout(REST, &mut reading).await;
                    return status;
                }
                _ = reminder.tick() => {
                    info!(command = self.shown(), for_s = begun.elapsed().as_secs(), "still running");
                }
            }
        }
    }

    /// The command as a person would type it.
    fn shown(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn masked(&self, text: &str) -> String {
        let stdin = self.stdin.iter().flat_map(|text| text.expose().lines().map(Secret::new));
        let all: Vec<Secret> = self.masked.iter().cloned().chain(stdin).collect();
        all.iter().fold(text.to_owned(), |text, secret| secret.mask(&text))
    }
}

/// What is kept of the output.
#[derive(Default)]
struct Kept {
    stdout: Vec<u8>,
    /// The end of both outputs, as they came.
    mixed: Vec<u8>,
}

impl Kept {
    fn tail(&self) -> String {
        let from = self.mixed.len().saturating_sub(TAIL);
        String::from_utf8_lossy(self.mixed.get(from..).unwrap_or_default()).into_owned()
    }
}

/// Adds to the end, and now and then forgets the start.
fn add(mixed: &mut Vec<u8>, bytes: &[u8]) {
    mixed.extend_from_slice(bytes);
    if mixed.len() > 8 * TAIL {
        mixed.drain(..mixed.len() - 2 * TAIL);
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), mut to: impl FnMut(&[u8])) -> io::Result<()> {
    let mut chunk = vec![0; 8192];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        to(chunk.get(..read).unwrap_or_default());
    }
}

/// A running program; dropped before its end, it is killed with all it started.
struct Group {
    child: Child,
    over: bool,
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let (false, Some(pid)) = (self.over, id) {
            // Fails where all have ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str) -> Run {
        Run::new("sh", LONG).args(["-c", script])
    }

    #[tokio::test]
    async fn what_it_prints_is_returned() {
        let printed = shell("echo out; echo err >&2").run().await.unwrap();
        assert_eq!(printed.stdout, "out\n");
    }

    #[tokio::test]
    async fn all_of_it_is_returned_however_soon_it_ends() {
        for _ in 0..50 {
            assert_eq!(shell("printf all").run().await.unwrap().stdout, "all");
        }
    }

    #[tokio::test]
    async fn a_child_that_keeps_the_outputs_does_not_keep_the_run() {
        let printed = shell("echo done; sleep 5 &").run().await.unwrap();
        assert_eq!(printed.stdout, "done\n");
    }

    #[tokio::test]
    async fn a_failure_has_the_last_words() {
        let error = shell("echo Traceback; echo 'no such table' >&2; exit 3").run().await;
        let text = error.unwrap_err().to_string();
        assert!(text.contains("exit code 3") && text.contains("no such table"), "{text}");
    }

    #[tokio::test]
    async fn secrets_are_struck_out() {
        let run = shell("read a; echo \"got $a and topsecret\"; exit 1");
        let run = run.stdin(Secret::new("hunter2\nhunter2\n")).mask(&Secret::new("topsecret"));
        let text = run.run().await.unwrap_err().to_string();
        assert!(text.contains("got … and …"), "{text}");
    }

    #[tokio::test]
    async fn without_a_secret_stdin_is_at_its_end() {
        assert_eq!(shell("cat; echo end").run().await.unwrap().stdout, "end\n");
    }

    #[tokio::test]
    async fn a_program_that_never_ends_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! >{}; yes", pid_file.display());
        let limit = Duration::from_millis(500);
        let error = Run::new("sh", limit).args(["-c", &script]).run().await.unwrap_err();
        assert!(matches!(error, CommandError::Endless { .. }), "{error}");
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let end = std::time::Instant::now() + LONG;
        while !gone() {
            assert!(std::time::Instant::now() < end, "its child lives on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Run::new("no-such-program", LONG).run().await.unwrap_err();
        assert_eq!(error.to_string(), "there is no program 'no-such-program' here");
    }

    #[tokio::test]
    async fn one_that_reads_nothing_is_no_failure() {
        let text = Secret::new("x".repeat(1_000_000));
        shell("exec <&-; true").stdin(text).run().await.unwrap();
    }
}
