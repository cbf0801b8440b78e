//! Syncs, beside `sstream-mirror`.

use std::path::Path;
use std::process::Command;

use fixtures::StreamSpec;

use crate::Result;
use crate::figures::Report;
use crate::process::{Cost, measure, sstream};
use crate::setup::Upstream;

/// One Xenial version, fetched into nothing and then once more with nothing
/// new, by both programs in turn.
pub(crate) fn compare(rounds: usize, scale: f64, report: &mut Report) -> Result<()> {
    let upstream = Upstream::new(&StreamSpec::new().scale(scale))?;
    let (mut first, mut again) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..=rounds {
        let folder = tempfile::tempdir()?;
        let ours = || upstream.sync(&folder.path().join("store"));
        let theirs = || sstream_mirror(&upstream, &folder.path().join("tree"));
        let fresh = [measure(&mut ours()?)?, measure(&mut theirs()?)?];
        let later = [measure(&mut ours()?)?, measure(&mut theirs()?)?];
        // The first round warms caches and is not counted.
        if round > 0 {
            push(&mut first, fresh);
            push(&mut again, later);
        }
    }
    let programs = ["maas-mirror", "sstream-mirror"];
    for (what, samples) in [("first sync", first), ("sync with nothing new", again)] {
        for (program, samples) in programs.iter().zip(samples) {
            report.add(what, program, "s", samples);
        }
    }
    Ok(())
}

fn push(samples: &mut [Vec<f64>; 2], costs: [Cost; 2]) {
    for (samples, cost) in samples.iter_mut().zip(costs) {
        samples.push(cost.wall.as_secs_f64());
    }
}

fn sstream_mirror(upstream: &Upstream, tree: &Path) -> Result<Command> {
    let mut command = Command::new(sstream("sstream-mirror")?);
    command.arg(format!("--keyring={}", upstream.keyring().display()));
    command.arg(upstream.url()).arg(tree).arg("path~.");
    Ok(command)
}

/// The most memory that a large first sync holds.
pub(crate) fn memory(scale: f64, report: &mut Report) -> Result<()> {
    let upstream = Upstream::new(&StreamSpec::new().scale(scale))?;
    let folder = tempfile::tempdir()?;
    let cost = measure(&mut upstream.sync(&folder.path().join("store"))?)?;
    report.add("memory of a 900 MB sync", "maas-mirror", "MB", vec![cost.peak_mb]);
    Ok(())
}
