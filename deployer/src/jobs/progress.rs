//! How an import gets on, file by file: what is worth a line of the log, and what
//! stands still.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::resources::{Image, Part, Wanted};
use crate::wait::spoken;

/// How often files under way, and the whole, are logged.
const REMINDER: Duration = Duration::from_secs(30);

/// How many files under way are named in one go.
const NAMED: usize = 8;

/// What was seen of every file so far.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    limit: Duration,
    seen: BTreeMap<String, Seen>,
    /// When anything last arrived, of any file.
    moved: Instant,
    /// When files under way were last logged, and how many bytes there were.
    said: (Instant, u64),
    stall_said: Instant,
    is_first_look: bool,
}

/// A file.
#[derive(Debug)]
struct Seen {
    held: u64,
    is_complete: bool,
    moved: Instant,
}

impl Progress {
    /// Of an import that begins now, and may take as long as `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            limit,
            seen: BTreeMap::new(),
            moved: now,
            said: (now, 0),
            stall_said: now,
            is_first_look: true,
        }
    }

    /// Since when the import runs.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes note of a look, and logs what is news: each file that came to its end,
    /// and now and then those under way and the whole.
    pub(super) fn look(&mut self, wanted: &[Wanted]) {
        let now = Instant::now();
        let done = self.note(wanted, now);
        for (image, part) in done.into_iter().filter(|_| !self.is_first_look) {
            let (image, file, size_bytes) = (&image.name, &part.name, part.size);
            info!(image, file, size_bytes, percent = 100, "imported");
        }
        let (held, size) = totals(wanted);
        if self.is_first_look {
            self.said.1 = held;
        }
        self.is_first_look = false;
        if now.duration_since(self.said.0) >= REMINDER {
            self.remind(wanted, held, size, now);
        }
    }

    /// The files that were not complete at the look before, and are now.
    fn note<'w>(&mut self, wanted: &'w [Wanted], now: Instant) -> Vec<(&'w Image, &'w Part)> {
        let mut done = Vec::new();
        let mut seen = BTreeMap::new();
        for (image, part) in parts(wanted) {
            let key = key(image, part);
            let before = self.seen.get(&key);
            let moved = match before {
                Some(before) if before.held == part.held => before.moved,
                // What is there at the first look has not arrived just now.
                None if self.is_first_look || part.held == 0 => self.begun,
                _ => {
                    self.moved = now;
                    now
                }
            };
            if part.is_complete && !before.is_some_and(|before| before.is_complete) {
                done.push((image, part));
            }
            seen.insert(key, Seen { held: part.held, is_complete: part.is_complete, moved });
        }
        // What MAAS has no more is forgotten.
        self.seen = seen;
        done
    }

    fn remind(&mut self, wanted: &[Wanted], held: u64, size: u64, now: Instant) {
        let under_way = |part: &Part| part.held > 0 && !part.is_complete;
        let under_way: Vec<_> = parts(wanted).filter(|(_, part)| under_way(part)).collect();
        for (image, part) in under_way.iter().take(NAMED) {
            let Part { name: file, held, size, .. } = part;
            let (image, percent) = (&image.name, part.percent());
            info!(image, file, held_bytes = held, size_bytes = size, percent, "importing");
        }
        let complete = wanted.iter().filter(|wanted| wanted.is_complete()).count();
        let (of, for_s, limit_s) = (wanted.len(), self.elapsed().as_secs(), self.limit.as_secs());
        let since = now.duration_since(self.said.0).as_secs().max(1);
        let bytes_per_s = held.saturating_sub(self.said.1) / since;
        let files = under_way.len();
        info!(
            complete,
            of,
            files_under_way = files,
            held_bytes = held,
            size_bytes = size,
            bytes_per_s,
            for_s,
            limit_s,
            "importing"
        );
        self.said = (now, held);
    }

    /// What has stood still for as long as `stall`, in words; nothing where that
    /// was said less than `stall` ago. A file that waits for its turn while others
    /// arrive does not stand still.
    pub(super) fn stalled(&mut self, wanted: &[Wanted], stall: Duration) -> Vec<String> {
        let now = Instant::now();
        if now.duration_since(self.stall_said) < stall {
            return Vec::new();
        }
        let all_still = now.duration_since(self.moved) >= stall;
        let still = |image: &Image, part: &Part| {
            let since = self.seen.get(&key(image, part)).map_or(self.begun, |seen| seen.moved);
            let still_for = now.duration_since(since);
            let stands = !part.is_complete && still_for >= stall && (all_still || part.held > 0);
            stands.then(|| format!("{} for {}", image.lacks(part), spoken(still_for)))
        };
        let mut still: Vec<String> =
            parts(wanted).filter_map(|(image, part)| still(image, part)).collect();
        if all_still {
            let unbegun = wanted.iter().filter(|wanted| wanted.images.is_empty());
            still.extend(unbegun.flat_map(Wanted::lacks));
        }
        if !still.is_empty() {
            self.stall_said = now;
        }
        still
    }

    /// For how long nothing has arrived at all.
    pub(super) fn still_for(&self) -> Duration {
        self.moved.elapsed()
    }
}

fn parts(wanted: &[Wanted]) -> impl Iterator<Item = (&Image, &Part)> {
    let images = wanted.iter().flat_map(|wanted| &wanted.images);
    images.flat_map(|image| image.parts.iter().map(move |part| (image, part)))
}

fn key(image: &Image, part: &Part) -> String {
    format!("{} {}", image.name, part.name)
}

/// Bytes that are there, and bytes in all.
fn totals(wanted: &[Wanted]) -> (u64, u64) {
    let images = wanted.iter().flat_map(|wanted| &wanted.images);
    images.fold((0, 0), |(held, size), image| {
        (u64::saturating_add(held, image.held), u64::saturating_add(size, image.size))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const STALL: Duration = Duration::from_secs(60);

    /// An image with two files, of which so many bytes are there.
    fn wanted(kernel: u64, squashfs: u64) -> Vec<Wanted> {
        let file = |held: u64, size: u64| json!({"size": size, "complete": held == size, "progress": held * 100 / size});
        let json = json!({"id": 1, "name": "ubuntu/noble", "architecture": "amd64/ga-24.04",
            "sets": {"20260101": {"complete": kernel == 100 && squashfs == 1000, "size": 1100,
                "files": {"boot-kernel": file(kernel, 100), "squashfs": file(squashfs, 1000)}}}});
        let image = Image::new(&serde_json::from_value(json).unwrap());
        vec![Wanted { name: "ubuntu/noble amd64".into(), images: vec![image] }]
    }

    #[tokio::test(start_paused = true)]
    async fn each_file_is_said_once_when_it_is_there() {
        let mut progress = Progress::new(STALL);
        let names = |done: Vec<(&Image, &Part)>| {
            done.iter().map(|(_, part)| part.name.clone()).collect::<Vec<_>>()
        };
        let now = Instant::now();
        assert_eq!(names(progress.note(&wanted(50, 0), now)), Vec::<String>::new());
        assert_eq!(names(progress.note(&wanted(100, 10), now)), ["boot-kernel 20260101"]);
        assert_eq!(names(progress.note(&wanted(100, 1000), now)), ["squashfs 20260101"]);
        assert_eq!(names(progress.note(&wanted(100, 1000), now)), Vec::<String>::new());
        // A set that MAAS removes, and one that comes back.
        assert_eq!(names(progress.note(&[], now)), Vec::<String>::new());
        assert_eq!(progress.note(&wanted(100, 1000), now).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_stands_still_is_named_with_its_time() {
        let mut progress = Progress::new(STALL);
        progress.look(&wanted(50, 0));
        // The other arrives; this one stands still.
        for part in 1..=13 {
            tokio::time::advance(Duration::from_secs(5)).await;
            progress.look(&wanted(50, part * 10));
        }
        assert_eq!(
            progress.stalled(&wanted(50, 130), STALL),
            ["ubuntu/noble amd64/ga-24.04: boot-kernel 20260101: 50 of 100 bytes, 50 % for 65 s"]
        );
        // Not again before its time.
        assert!(progress.stalled(&wanted(50, 130), STALL).is_empty());
        tokio::time::advance(STALL).await;
        assert_eq!(progress.stalled(&wanted(50, 130), STALL).len(), 2);
        assert!(progress.still_for() >= STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_waits_for_its_turn_does_not_stand_still() {
        let mut progress = Progress::new(STALL);
        for part in 0..=20 {
            progress.look(&wanted(0, part * 10));
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        assert!(progress.stalled(&wanted(0, 200), STALL).is_empty());
        // Unless nothing arrives any more.
        tokio::time::advance(STALL).await;
        assert_eq!(progress.stalled(&wanted(0, 200), STALL).len(), 2);
        // Nor does what MAAS has not begun hide.
        tokio::time::advance(STALL).await;
        let none = [Wanted { name: "ubuntu/noble amd64".into(), images: Vec::new() }];
        assert_eq!(progress.stalled(&none, STALL), ["ubuntu/noble amd64: MAAS has not begun it"]);
    }
}
