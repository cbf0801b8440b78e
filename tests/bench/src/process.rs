//! Running programs, and what the kernel says of them.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// A program of ours: named by the environment, else beside this one.
pub(crate) fn program(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is not there; run `make bench`, which builds it", path.display()).into())
}

pub(crate) fn maas_mirror() -> Result<PathBuf> {
    program("MAAS_MIRROR_BIN", "maas-mirror")
}

/// A program of python-simplestreams.
pub(crate) fn sstream(name: &str) -> Result<PathBuf> {
    let folder =
        std::env::var_os("SSTREAM_BIN").ok_or("SSTREAM_BIN is not set; run `make bench`")?;
    Ok(PathBuf::from(folder).join(name))
}

/// What a finished process cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Most memory it had resident, MB.
    pub(crate) peak_mb: f64,
}

/// Runs a command to its end, its output thrown away, and measures it.
pub(crate) fn measure(command: &mut Command) -> Result<Cost> {
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak_mb = 0.0_f64;
    let status = loop {
        // VmHWM only grows, and the last look before the end is at most a
        // few milliseconds early.
        if let Some(now) = peak(child.id()) {
            peak_mb = peak_mb.max(now);
        }
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let wall = started.elapsed();
    if !status.success() {
        return Err(format!("{:?} ended with {status}", command.get_program()).into());
    }
    Ok(Cost { wall, peak_mb })
}

/// `VmHWM` of a running process, MB.
pub(crate) fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1000.0)
}

/// User and system time of a process and all below it, seconds.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let ticks: u64 = family(pid).into_iter().map(|(_, ticks)| ticks).sum();
    let per_second = rustix::param::clock_ticks_per_second();
    #[allow(clippy::cast_precision_loss, reason = "ticks, for people")]
    let seconds = ticks as f64 / per_second as f64;
    seconds
}

/// Most memory that a process and all below it had resident, MB, pages that
/// they share counted for each.
pub(crate) fn peak_of_family(pid: u32) -> f64 {
    family(pid).into_iter().filter_map(|(member, _)| peak(member)).sum()
}

/// A process and all below it, with their processor time in ticks.
fn family(pid: u32) -> Vec<(u32, u64)> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(id) = id else { continue };
        if let Some((parent, ticks)) = parent_and_ticks(id) {
            processes.push((id, parent, ticks));
        }
    }
    let (mut family, mut unseen) = (Vec::new(), vec![pid]);
    while let Some(member) = unseen.pop() {
        family.extend(processes.iter().filter(|p| p.0 == member).map(|p| (p.0, p.2)));
        unseen.extend(processes.iter().filter(|p| p.1 == member).map(|p| p.0));
    }
    family
}

/// Lets this program, and the servers that it starts, have a descriptor for
/// each of a thousand connections.
pub(crate) fn raise_descriptor_limit() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Parent and `utime + stime` of a process (proc_pid_stat(5), fields 4, 14, 15).
fn parent_and_ticks(pid: u32) -> Option<(u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and parentheses; what follows the last does not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((u32::try_from(number(1)?).ok()?, number(11)? + number(12)?))
}

/// A server that is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// `ADDRESS:PORT`.
    pub(crate) address: String,
    /// From the start of the process to its word that it listens.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// `maas-mirror serve` on a store.
    pub(crate) fn maas_mirror(store: &OsStr) -> Result<Self> {
        Self::maas_mirror_with(store, &[])
    }

    /// `maas-mirror serve` on a store, with more options.
    pub(crate) fn maas_mirror_with(store: &OsStr, options: &[&OsStr]) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(maas_mirror()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(store)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready_after = started.elapsed();
        let address = line.trim().strip_prefix("listening on http://").map(str::to_owned);
        let Some(address) = address else {
            child.kill()?;
            child.wait()?;
            return Err(format!("maas-mirror serve said '{}'", line.trim()).into());
        };
        Ok(Self { child, address, ready_after })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
