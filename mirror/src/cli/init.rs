//! Process 1 of a container.
//!
//! gpgme starts gpg by way of a process that ends at once, so that a gpg that has
//! ended is process 1's to be waited for, or stays as a zombie. Which of its children
//! belong to a library, and will be waited for by it, a program cannot tell. So
//! `serve`, where it is process 1, starts itself again as its only child; what is left
//! does nothing but pass on signals and wait for whatever ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use tokio::signal::unix::{SignalKind, signal};

/// Whether this is process 1.
pub(super) fn is_process_1() -> bool {
    rustix::process::getpid().is_init()
}

/// Runs this program with `args` as a child, and returns its exit code.
///
/// # Errors
/// The child could not be started.
pub(super) fn run(args: &[OsString]) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Caught before there is a child that could end, or a signal meant for it.
        let mut ended = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let child = start(args)?;
        loop {
            tokio::select! {
                _ = terminate.recv() => pass_on(child, Signal::TERM),
                _ = interrupt.recv() => pass_on(child, Signal::INT),
                _ = ended.recv() => if let Some(code) = lay_to_rest(child) {
                    return Ok(code);
                },
            }
        }
    })
}

/// Starts the child, in a group of its own: an interrupt from a terminal reaches it
/// once, by way of this process.
fn start(args: &[OsString]) -> io::Result<Pid> {
    let mut command = Command::new("/proc/self/exe");
    command.args(args.iter().skip(1)).process_group(0);
    if let Some(name) = args.first() {
        command.arg0(name);
    }
    // It is waited for below, with all others.
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}

fn pass_on(child: Pid, signal: Signal) {
    // One that has ended takes none.
    let _ = kill_process(child, signal);
}

/// Waits for everything that has ended; the exit code of `child`, if it is among it.
fn lay_to_rest(child: Pid) -> Option<u8> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => return Some(code(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// The exit code as a shell has it.
fn code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
