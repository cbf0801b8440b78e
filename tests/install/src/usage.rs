//! What a run of a program took.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Output;

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Time and memory of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// From its start to its end.
    pub wall: Duration,
    /// The most memory that it had resident, MB: the kernel's `VmHWM`.
    pub peak_mb: f64,
}

impl Use {
    /// Runs a program to its end.
    ///
    /// # Panics
    ///
    /// When it cannot be run at all.
    #[track_caller]
    pub fn of(command: &mut Command) -> (Output, Self) {
        // Files, so that it never waits for anybody to read.
        let [stdout, stderr] = [(); 2].map(|()| tempfile::NamedTempFile::new().expect("a file"));
        let again = |file: &tempfile::NamedTempFile| file.reopen().expect("the same file");
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(again(&stdout))
            .stderr(again(&stderr))
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {}: {error}", command.get_program().display())
            });
        let mut peak_mb = 0.0;
        let status = loop {
            // It only grows, and the last look is a moment before the end.
            peak_mb = peak(child.id()).unwrap_or(peak_mb);
            match child.try_wait().expect("the program") {
                Some(status) => break status,
                None => std::thread::sleep(LOOK),
            }
        };
        let wall = start.elapsed();
        let text = |file: &tempfile::NamedTempFile| {
            let bytes = std::fs::read(file.path()).expect("what it printed");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let output = Output {
            success: status.success(),
            code: status.code(),
            stdout: text(&stdout),
            stderr: text(&stderr),
        };
        (output, Self { wall, peak_mb })
    }
}

fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1000.0)
}
