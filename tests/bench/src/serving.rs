//! Serving, beside other servers.

use std::process::Command;
use std::time::Instant;

use fixtures::StreamSpec;

use crate::Result;
use crate::client::fetch_many;
use crate::figures::Report;
use crate::rivals::Rival;
use crate::setup::Upstream;

/// Of the true size: a squashfs of some 180 MB.
pub(crate) const SCALE: f64 = 0.47;
pub(crate) const CONNECTIONS: usize = 8;

/// The samples of one kind of request, a list for each server.
pub(crate) type Samples = Vec<Vec<f64>>;

/// A large file over 8 connections, small ones by wrk; every server in turn,
/// round after round.
pub(crate) fn compare(rounds: usize, report: &mut Report) -> Result<()> {
    let spec = StreamSpec::new().scale(SCALE);
    let large = path_ending(&spec, "/squashfs")?;
    let upstream = Upstream::new(&spec)?;
    let store = upstream.store()?;
    let tree = upstream.tree();
    let servers = [
        Rival::maas_mirror(&store.path().join("store"))?,
        Rival::nginx(&tree)?,
        Rival::apache(&tree)?,
        Rival::bare_loop(&tree)?,
        Rival::serve_dir(&tree)?,
    ];
    let (mut speed, mut cpu) = (empty(&servers), empty(&servers));
    let kinds = [
        ("index.sjson, 64 connections", "streams/v1/index.sjson".to_owned(), None),
        ("16 KB file, 64 connections", path_ending(&spec, "squashfs.manifest")?, None),
        ("1 MB range, 64 connections", large.clone(), Some("bytes=50000000-51048575")),
    ];
    let mut small: Vec<Samples> = kinds.iter().map(|_| empty(&servers)).collect();
    for round in 0..=rounds {
        for (index, server) in servers.iter().enumerate() {
            let (gigabytes_a_second, seconds_a_gigabyte) = large_file(server, &large)?;
            // The first round warms caches and is not counted.
            if round > 0 {
                push(&mut speed, index, gigabytes_a_second);
                push(&mut cpu, index, seconds_a_gigabyte);
            }
        }
        for ((_, path, range), samples) in kinds.iter().zip(&mut small) {
            for (index, server) in servers.iter().enumerate() {
                // The bare loop knows neither ranges nor more threads than it is given.
                if server.name == "bare C loop" {
                    continue;
                }
                let requests = wrk(server, path, *range)?;
                if round > 0 {
                    push(samples, index, requests);
                }
            }
        }
    }
    add(report, "180 MB file, 8 connections", "GB/s", &servers, speed);
    add(report, "180 MB file, server CPU", "s/GB", &servers, cpu);
    for ((what, ..), samples) in kinds.iter().zip(small) {
        add(report, what, "req/s", &servers, samples);
    }
    Ok(())
}

pub(crate) fn path_ending(spec: &StreamSpec, end: &str) -> Result<String> {
    let found = spec.build().item_paths().into_iter().find(|path| path.ends_with(end));
    found.ok_or_else(|| format!("the stream has no {end}").into())
}

pub(crate) fn empty(servers: &[Rival]) -> Samples {
    servers.iter().map(|_| Vec::new()).collect()
}

pub(crate) fn push(samples: &mut Samples, index: usize, sample: f64) {
    if let Some(samples) = samples.get_mut(index) {
        samples.push(sample);
    }
}

pub(crate) fn add(
    report: &mut Report,
    what: &str,
    unit: &'static str,
    servers: &[Rival],
    samples: Samples,
) {
    for (server, samples) in servers.iter().zip(samples) {
        if !samples.is_empty() {
            report.add(what, server.name, unit, samples);
        }
    }
}

/// GB a second, and the server's CPU seconds a GB.
fn large_file(server: &Rival, path: &str) -> Result<(f64, f64)> {
    const TIMES: usize = 4;
    let (started, before) = (Instant::now(), server.cpu());
    let mut received = 0;
    for _ in 0..TIMES {
        received += fetch_many(&server.address, &format!("/images/{path}"), CONNECTIONS)?;
    }
    #[allow(clippy::cast_precision_loss, reason = "bytes, for people")]
    let gigabytes = received as f64 / 1e9;
    Ok((gigabytes / started.elapsed().as_secs_f64(), (server.cpu() - before) / gigabytes))
}

/// Requests a second, by wrk.
fn wrk(server: &Rival, path: &str, range: Option<&str>) -> Result<f64> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c64", "-d1s"]);
    if let Some(range) = range {
        command.arg("-H").arg(format!("Range: {range}"));
    }
    let output = command.arg(format!("http://{}/images/{path}", server.address)).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if text.contains("Non-2xx") {
        return Err(format!("{} answered errors: {text}", server.name).into());
    }
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Ok(line.ok_or_else(|| format!("wrk said: {text}"))?.trim().parse()?)
}
