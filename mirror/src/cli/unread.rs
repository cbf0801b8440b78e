//! What is left on stdin when a run ends without having read it.
//!
//! `kubectl exec -i` sends all of its stdin, and with some container runtimes (such as
//! containerd 1.6) hears of neither error nor exit code while that is not taken. So
//! the rest is read and thrown away, within bounds, where the program was started from
//! outside its container. Anybody else's pipe just breaks, as ever.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::output::Output;

/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(30);

/// How long it may take in all.
const LIMIT: Duration = Duration::from_secs(600);

/// From how many bytes on it is told.
const TOLD: u64 = 1 << 20;

/// Whether `args` say that a bundle comes by stdin, and whoever sends it is outside
/// of this container.
pub(super) fn is_sent_from_outside(args: &[OsString]) -> bool {
    let has = |word: &str| args.iter().skip(1).any(|arg| arg == OsStr::new(word));
    let from_outside = rustix::process::getppid().is_none();
    has("import") && has("-") && from_outside && !std::io::stdin().is_terminal()
}

/// Reads what is left of stdin.
pub(super) fn discard(output: &Output) {
    // Not by the library's buffer, which a thread that has given up may still hold.
    let mut told = false;
    take(&std::io::stdin(), SILENCE, LIMIT, |bytes| {
        if bytes > TOLD && !std::mem::replace(&mut told, true) {
            output.error("note: the rest of stdin is read and thrown away; Ctrl-C ends that");
        }
    });
}

/// Reads to the end, or until nothing has come for `silence`, or for as long as
/// `limit`; tells how many bytes there were so far.
fn take(from: &impl AsFd, silence: Duration, limit: Duration, mut tell: impl FnMut(u64)) {
    let end = Instant::now() + limit;
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    while Instant::now() < end {
        match poll(&mut [PollFd::new(from, PollFlags::IN)], timespec(silence).as_ref()) {
            Ok(0) => return,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        match rustix::io::read(from, &mut buffer) {
            Ok(0) => return,
            Ok(count) => bytes += count as u64,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
        tell(bytes);
    }
}

fn timespec(duration: Duration) -> Option<Timespec> {
    duration.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn all_of_it_is_taken() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        // More than a pipe holds: it must be read for this to end.
        let sending = std::thread::spawn(move || writer.write_all(&vec![0; 3 << 20]));
        let mut all = 0;
        take(&reader, Duration::from_secs(60), Duration::from_secs(60), |bytes| all = bytes);
        sending.join().unwrap().unwrap();
        assert_eq!(all, 3 << 20);
    }

    #[test]
    fn it_does_not_wait_for_ever() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"half").unwrap();
        let mut all = 0;
        take(&reader, Duration::from_millis(20), Duration::from_secs(60), |bytes| all = bytes);
        assert_eq!(all, 4);
        // Nor for one that never stops.
        let endless = std::fs::File::open("/dev/zero").unwrap();
        take(&endless, Duration::from_secs(60), Duration::from_millis(20), |_| {});
    }
}
