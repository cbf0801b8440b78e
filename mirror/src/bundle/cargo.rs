//! The items of a bundle, on their way from the archive to the store's disk.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::sync_channel;

use super::{Base, BundleError, Contents, Piece, Progress, Source};
use crate::simplestreams::{Digest, Hasher, RelPath};
use crate::store::{Assembly, BlobError, PartialBlob, Writer};
use crate::total;

/// Bytes that pass from one thread to the other at once, and how many times.
const CHUNK: usize = 1024 * 1024;
const QUEUE: usize = 4;

/// What of a bundle is to be brought into the store.
pub(super) struct Cargo<'a> {
    writer: &'a Writer,
    /// Pieces by the digest of their bytes; the same bytes may be cut from
    /// several places.
    wanted: BTreeMap<Digest, Vec<Piece>>,
    assemblies: BTreeMap<Digest, Assembly>,
    /// What came, by the digest of its bytes.
    pub(super) came: BTreeSet<Digest>,
    /// Bytes that came.
    pub(super) bytes: u64,
    base: Option<Base>,
    is_part: bool,
}

impl<'a> Cargo<'a> {
    pub(super) fn new(
        writer: &'a Writer,
        contents: &Contents,
        lacking: &BTreeMap<Digest, Piece>,
    ) -> Result<Self, BundleError> {
        let mut cargo = Self {
            writer,
            wanted: BTreeMap::new(),
            assemblies: BTreeMap::new(),
            came: BTreeSet::new(),
            bytes: 0,
            base: contents.base().cloned(),
            is_part: contents.part.as_ref().is_some_and(|part| part.count > 1),
        };
        for piece in contents.pieces.iter().filter(|piece| lacking.contains_key(&piece.whole())) {
            if let Some(range) = piece.range {
                let assembly = match cargo.assemblies.entry(range.whole) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert(writer.assembly(range.whole, range.size)?),
                };
                if assembly.has(range.offset, piece.size) {
                    continue;
                }
            }
            cargo.wanted.entry(piece.digest).or_default().push(piece.clone());
        }
        Ok(cargo)
    }

    /// Refuses what cannot end well, before anything is written: a delta
    /// without its base, and what will not fit.
    pub(super) fn check(&self, lacking: &BTreeMap<Digest, Piece>) -> Result<(), BundleError> {
        if !self.is_part
            && let Some(base) = &self.base
            && lacking.keys().any(|digest| !self.wanted.contains_key(digest))
        {
            let Base { digest, updated } = base.clone();
            return Err(BundleError::MissingBase { base: digest, updated });
        }
        let store = self.writer.store();
        let needed = total(self.wanted.values().flatten().map(|piece| piece.size));
        let free = store.free_bytes()?;
        if needed > free {
            let folder = store.root().to_owned();
            return Err(BundleError::Space { folder, needed, free });
        }
        Ok(())
    }

    /// Reads the bundle to its end.
    pub(super) fn unload(
        &mut self,
        source: &mut Source,
        progress: Progress<'_>,
    ) -> Result<(), BundleError> {
        let all = total(self.wanted.values().flatten().map(|piece| piece.size));
        while let Some((digest, size)) = source.next()? {
            let Some(pieces) = self.wanted.get(&digest).cloned() else {
                continue;
            };
            if let Some(piece) = pieces.iter().find(|piece| piece.size != size) {
                let listed = piece.size;
                return Err(BundleError::WrongSize { digest, found: size, listed });
            }
            let before = self.bytes;
            let moved = |bytes: u64| progress(before + bytes, all);
            for piece in &pieces {
                if piece.range.is_none() {
                    self.whole(source, piece, &moved)?;
                }
            }
            if pieces.iter().any(|piece| piece.range.is_some()) {
                self.ranges(source, digest, &pieces, &moved)?;
            }
            self.came.insert(digest);
            self.bytes += size;
        }
        for (digest, pieces) in &self.wanted {
            if let Some(piece) = pieces.first().filter(|_| !self.came.contains(digest)) {
                let (digest, what) = (*digest, piece.path.to_string());
                return Err(BundleError::MissingBlob { digest, what });
            }
        }
        for (whole, assembly) in std::mem::take(&mut self.assemblies) {
            if assembly.is_whole() {
                let piece = self.wanted.values().flatten().find(|piece| piece.whole() == whole);
                let path = piece.map(|piece| piece.path.clone());
                assembly.finish().map_err(|error| content(path, error))?;
            }
        }
        Ok(())
    }

    /// An item that is there whole.
    fn whole(
        &self,
        source: &mut Source,
        piece: &Piece,
        moved: &dyn Fn(u64),
    ) -> Result<(), BundleError> {
        let mut blob = self.writer.partial(piece.digest, piece.size)?;
        // What an earlier run left costs as much to hash again as to copy.
        blob.restart()?;
        let path = Some(piece.path.clone());
        let blob = pump(source, blob, moved, path.as_ref())?;
        blob.finish().map_err(|error| content(path, error))
    }

    /// A range of one or more items that were cut.
    fn ranges(
        &mut self,
        source: &mut Source,
        digest: Digest,
        pieces: &[Piece],
        moved: &dyn Fn(u64),
    ) -> Result<(), BundleError> {
        let mut buffer = vec![0; CHUNK];
        let mut hasher = Hasher::default();
        let mut done: u64 = 0;
        loop {
            let read = source.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            hasher.update(bytes);
            for range in pieces.iter().filter_map(|piece| piece.range) {
                if let Some(assembly) = self.assemblies.get_mut(&range.whole) {
                    assembly.write_at(range.offset + done, bytes)?;
                }
            }
            done += read as u64;
            moved(done);
        }
        if hasher.finish() != digest {
            return Err(BundleError::WrongBlob { digest });
        }
        for piece in pieces {
            let range = piece.range.map(|range| (range.whole, range.offset));
            if let Some((whole, offset)) = range
                && let Some(assembly) = self.assemblies.get_mut(&whole)
            {
                assembly.note(offset, piece.size)?;
            }
        }
        Ok(())
    }
}

fn content(path: Option<RelPath>, error: BlobError) -> BundleError {
    match (path, error) {
        (_, BlobError::Store(error)) => error.into(),
        (Some(path), error) => BundleError::Content { path, source: Box::new(error) },
        (None, _) => BundleError::Lost,
    }
}

/// Moves what is at hand into a blob: read here, and for a large one hashed
/// and written by another thread.
fn pump(
    source: &mut Source,
    mut blob: PartialBlob,
    moved: &dyn Fn(u64),
    path: Option<&RelPath>,
) -> Result<PartialBlob, BundleError> {
    let failed = |error| content(path.cloned(), error);
    let mut done = 0;
    let mut first = vec![0; CHUNK];
    let read = read_full(source, &mut first)?;
    done += read as u64;
    if read < CHUNK {
        blob.write(first.get(..read).unwrap_or_default()).map_err(failed)?;
        moved(done);
        return Ok(blob);
    }
    let (sender, receiver) = sync_channel::<(Vec<u8>, usize)>(QUEUE);
    let (give_back, pool) = sync_channel(QUEUE + 1);
    std::thread::scope(|scope| {
        let sink = scope.spawn(move || {
            for (buffer, length) in receiver {
                blob.write(buffer.get(..length).unwrap_or_default())?;
                let _ = give_back.try_send(buffer);
            }
            Ok::<_, BlobError>(blob)
        });
        let mut next = Ok((first, read));
        let fed = loop {
            match next {
                Err(error) => break Err(error),
                Ok((_, 0)) => break Ok(()),
                Ok(full) => {
                    // The sink hangs up only when it has failed itself.
                    if sender.send(full).is_err() {
                        break Ok(());
                    }
                }
            }
            let mut buffer = pool.try_recv().unwrap_or_else(|_| vec![0; CHUNK]);
            next = read_full(source, &mut buffer).map(|read| {
                done += read as u64;
                moved(done);
                (buffer, read)
            });
        };
        drop(sender);
        let blob = match sink.join() {
            Ok(blob) => blob.map_err(failed)?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        fed.map(|()| blob)
    })
}

/// Fills `buffer`, but at the end of what is at hand.
fn read_full(source: &mut Source, buffer: &mut [u8]) -> Result<usize, BundleError> {
    let mut full = 0;
    loop {
        let rest = buffer.get_mut(full..).unwrap_or_default();
        match source.read(rest)? {
            0 => return Ok(full),
            read => full += read,
        }
    }
}
