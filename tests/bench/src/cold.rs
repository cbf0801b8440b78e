//! Small warm files while others read large cold ones from a slow disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fixtures::StreamSpec;
use rustix::fs::Advice;

use crate::Result;
use crate::client::Drain;
use crate::figures::Report;
use crate::paced::{latencies, percentile};
use crate::rivals::Rival;
use crate::setup::Upstream;
use crate::slow_disk::SlowDisk;

/// Of the true size: a squashfs of some 400 MB.
const SCALE: f64 = 1.05;
const READERS: usize = 8;
const BYTES_A_SECOND: f64 = 20e6;
/// How long requests are measured, without the readers and beside them.
const LASTS: Duration = Duration::from_secs(3);
const SMALL: &str = "/images/streams/v1/index.sjson";

/// A server on a slow disk of its own, and the samples of it.
struct Case {
    server: Rival,
    /// The large file on the slow disk.
    large: PathBuf,
    samples: [Vec<f64>; 6],
    _disk: SlowDisk,
}

const FIGURES: [(&str, &str); 6] = [
    ("warm small file alone, p50", "ms"),
    ("warm small file alone, p99", "ms"),
    ("the same beside 8 cold readers, p50", "ms"),
    ("the same beside 8 cold readers, p99", "ms"),
    ("p99 beside cold readers / p99 alone", "times"),
    ("what the cold readers get", "MB/s"),
];

/// The 50th and 99th percentile of small warm requests, without and with
/// clients that read a large cold file in different places.
pub(crate) fn compare(rounds: usize, report: &mut Report) -> Result<()> {
    let spec = StreamSpec::new().scale(SCALE);
    let stream = spec.build();
    let large = stream.item_paths().into_iter().find(|path| path.ends_with("/squashfs"));
    let large = large.ok_or("the stream has no squashfs")?;
    let item = stream.items.get(&large).ok_or("the stream has no squashfs")?;
    let (size, digest) = (item.len(), item.sha256());
    let upstream = Upstream::new(&spec)?;
    let store = upstream.store()?;
    let ours = SlowDisk::of(&store.path().join("store"), BYTES_A_SECOND)?;
    let theirs = SlowDisk::of(&upstream.tree(), BYTES_A_SECOND)?;
    let mut cases = [
        Case::new(Rival::maas_mirror(ours.path())?, ours, &format!("blobs/sha256/{digest}")),
        Case::new(Rival::nginx(theirs.path())?, theirs, &large),
    ];
    let url = format!("/images/{large}");
    for round in 0..=rounds {
        for case in &mut cases {
            let figures = case.round(&url, size)?;
            if round > 0 {
                case.samples.iter_mut().zip(figures).for_each(|(all, one)| all.push(one));
            }
        }
    }
    for (index, (what, unit)) in FIGURES.into_iter().enumerate() {
        for case in &cases {
            let samples = case.samples.get(index).cloned().unwrap_or_default();
            report.add(what, case.server.name, unit, samples);
        }
    }
    Ok(())
}

impl Case {
    fn new(server: Rival, disk: SlowDisk, large: &str) -> Self {
        let large = disk.path().join(large);
        Self { server, large, samples: Default::default(), _disk: disk }
    }

    /// One sample of each of [`FIGURES`].
    fn round(&self, url: &str, size: u64) -> Result<[f64; 6]> {
        let address = &self.server.address;
        // Warms the small file, and the server.
        latencies(address, SMALL, LASTS / 10)?;
        let alone = latencies(address, SMALL, LASTS)?;
        forget(&self.large)?;
        let stop = AtomicBool::new(false);
        let (beside, speed) = std::thread::scope(|scope| -> Result<_> {
            let readers =
                scope.spawn(|| read(address, url, size, &stop).map_err(|e| e.to_string()));
            let beside = latencies(address, SMALL, LASTS);
            stop.store(true, Ordering::Relaxed);
            let speed = readers.join().map_err(|_| "the readers failed")??;
            Ok((beside?, speed))
        })?;
        let p99 = (percentile(&alone, 99), percentile(&beside, 99));
        Ok([percentile(&alone, 50), p99.0, percentile(&beside, 50), p99.1, p99.1 / p99.0, speed])
    }
}

/// Clients that read the large file from different places until they are told
/// to stop. Returns MB a second.
fn read(address: &str, url: &str, size: u64, stop: &AtomicBool) -> Result<f64> {
    let mut drain = Drain::new()?;
    for reader in 0..READERS as u64 {
        let range = format!("bytes={}-", size / READERS as u64 * reader);
        drain.add(address, url, Some(&range))?;
    }
    let (started, mut received) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        received += drain.receive(Some(Duration::from_millis(20)))?;
    }
    #[allow(clippy::cast_precision_loss, reason = "bytes, for people")]
    let megabytes = received as f64 / 1e6;
    Ok(megabytes / started.elapsed().as_secs_f64())
}

/// Lets the kernel forget the pages of a file, so that it is cold again.
fn forget(path: &Path) -> Result<()> {
    let file = std::fs::File::open(path)?;
    Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
}
