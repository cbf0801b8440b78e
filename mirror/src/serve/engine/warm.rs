//! Which parts of a blob the page cache has.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use memmap2::Mmap;

/// The unit in which warmth is known, and in which cold data is read: 50 ms of
/// a disk that gives 5 MB/s.
pub(super) const CHUNK: u64 = 256 * 1024;

/// How long a look at the page cache counts. Long enough that a blob which
/// many clients read is looked at once for all of them; short enough that a
/// page is not evicted meanwhile unless memory is very short.
const VALID_SECONDS: u32 = 5;

/// What is known of the parts of one blob.
#[derive(Debug)]
pub(super) struct Warmth {
    /// For each chunk the second at which it was last found warm; 0: never.
    seen: Box<[AtomicU32]>,
    /// Whether `mincore` tells the truth: the kernel calls every page of a
    /// file resident to those who neither own it nor may write it.
    trusted: bool,
}

impl Warmth {
    pub(super) fn new(file: &File, size: u64) -> io::Result<Self> {
        let chunks = usize::try_from(size.div_ceil(CHUNK)).map_err(io::Error::other)?;
        let caller = rustix::process::geteuid();
        let trusted = caller.is_root() || file.metadata()?.uid() == caller.as_raw();
        Ok(Self { seen: (0..chunks).map(|_| AtomicU32::new(0)).collect(), trusted })
    }

    /// Whether the page cache has all of a chunk. A probe that cannot be
    /// trusted, or fails, means no.
    pub(super) fn is_warm(&self, chunk: usize, map: &Mmap) -> bool {
        let Some(seen) = self.seen.get(chunk) else { return false };
        let (now, last) = (seconds(), seen.load(Ordering::Relaxed));
        if last != 0 && now.saturating_sub(last) < VALID_SECONDS {
            return true;
        }
        let warm = self.trusted && resident(map, chunk);
        if warm {
            seen.store(now, Ordering::Relaxed);
        }
        warm
    }

    /// A chunk was read just now.
    pub(super) fn set_warm(&self, chunk: usize) {
        if let Some(seen) = self.seen.get(chunk) {
            seen.store(seconds(), Ordering::Relaxed);
        }
    }
}

/// Seconds since the program first asked, plus 1.
pub(super) fn seconds() -> u32 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u32::try_from(START.elapsed().as_secs()).unwrap_or(u32::MAX - 1) + 1
}

/// Asks the kernel whether every page of a chunk is in the page cache.
#[allow(unsafe_code, reason = "mincore has no safe wrapper")]
fn resident(map: &Mmap, chunk: usize) -> bool {
    // Pages of 4 KiB; where they are larger the kernel fills less.
    const PAGES: usize = (CHUNK / 4096) as usize;
    let mut pages = [0_u8; PAGES];
    let size = PAGES * 4096;
    let start = chunk * size;
    let Some(length) = map.len().checked_sub(start).map(|left| left.min(size)) else {
        return false;
    };
    // SAFETY: the addresses are inside the mapping, `start` is a multiple of
    // the page size and so is its base, and `pages` has a byte for every page
    // of `length` bytes.
    let answer = unsafe {
        let address = map.as_ptr().add(start).cast_mut().cast();
        libc::mincore(address, length, pages.as_mut_ptr())
    };
    let page = rustix::param::page_size();
    answer == 0 && pages.iter().take(length.div_ceil(page)).all(|page| page & 1 == 1)
}
