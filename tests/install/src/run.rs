//! Programs that are run to their end.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// What a program printed, and whether it succeeded.
#[derive(Debug, Clone)]
pub struct Output {
    /// Whether it exited with 0.
    pub success: bool,
    /// The code it exited with; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// The standard output of a program that succeeded.
    ///
    /// # Panics
    ///
    /// When it failed, with what it printed.
    #[track_caller]
    pub fn expect(self, what: &str) -> String {
        assert!(self.success, "{what} failed:\n{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// All that a program printed which failed with this code.
    ///
    /// # Panics
    ///
    /// When it succeeded, or failed otherwise.
    #[track_caller]
    pub fn expect_exit(self, code: i32, what: &str) -> String {
        let all = self.stdout + &self.stderr;
        assert_eq!(self.code, Some(code), "{what}:\n{all}");
        all
    }
}

/// Runs a program with `input` on its standard input.
///
/// # Panics
///
/// When it cannot be run at all.
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", command.get_program().display()));
    let mut stdin = child.stdin.take().expect("standard input");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("output");
    // A program that does not want its input is free to close it.
    let _ = writer.join();
    Output {
        success: output.status.success(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
