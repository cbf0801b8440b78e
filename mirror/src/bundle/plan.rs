//! What goes into which archive.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::whole;
use super::format::{encode_index, encode_part};
use super::tar::{BLOCK, END, padding};
use super::{Base, BundleError, MAX_PARTS, Part, Piece, Range};
use crate::simplestreams::Digest;
use crate::store::layout::{EMPTY_CONFIG, LAYOUT};
use crate::store::{Content, Description};
use crate::total;

/// An item of so many bytes or fewer is not cut, and no range is shorter but
/// the last of an item.
const MIN_RANGE: u64 = 64 * 1024;

/// What a range takes beside its bytes: header, padding, and its entry in a
/// manifest with the longest path.
const RANGE_COST: u64 = 4096;

/// What a manifest of a part takes beside its layers, with its own header and
/// its entry in the part's index.
const MANIFEST_COST: u64 = 4096;

/// What is exported: a snapshot, and what the other side has of it already.
#[derive(Debug)]
pub struct Plan {
    pub(super) snapshot: Digest,
    pub(super) base: Option<Base>,
    pub(super) set: Digest,
    /// The snapshot's index, its manifests, their config, its signed files.
    described: Vec<Vec<u8>>,
    pub(super) archives: Vec<Archive>,
}

/// One archive of the plan.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) pieces: Vec<Piece>,
}

/// What the other side has.
#[derive(Debug)]
pub struct Held {
    /// Names it.
    pub base: Base,
    /// Every blob of it.
    pub blobs: BTreeSet<Digest>,
}

impl Held {
    /// A snapshot of these contents.
    #[must_use]
    pub fn of(digest: Digest, content: &Content, description: &[(Digest, u64)]) -> Self {
        let blobs = content.files().map(|file| file.digest);
        let blobs = blobs.chain(description.iter().map(|(digest, _)| *digest)).collect();
        let updated = content.updated.values().max().map(ToString::to_string);
        Self { base: Base { digest, updated }, blobs }
    }
}

impl Plan {
    /// Plans the export of a snapshot: all of it, or what `held` lacks; in one
    /// archive, or in parts of at most `split` bytes each. `metadata` are the
    /// signed files, in the order of `content`.
    ///
    /// # Errors
    /// [`BundleError::SmallParts`], [`BundleError::ManyParts`].
    pub fn new(
        content: &Content,
        description: &Description,
        metadata: Vec<Vec<u8>>,
        held: Option<Held>,
        split: Option<u64>,
    ) -> Result<Self, BundleError> {
        let snapshot = description.digest();
        let lists_metadata = |bytes: &[u8]| Description::lists_metadata(bytes);
        let (base, blobs) =
            held.map_or((None, BTreeSet::new()), |held| (Some(held.base), held.blobs));
        let mut seen = BTreeSet::new();
        // The index and the signed files are there always: by them whoever
        // reads it judges the rest. The config is in every manifest.
        let needed = |bytes: &&[u8]| {
            let digest = Digest::of(bytes);
            let always = digest == snapshot || *bytes == EMPTY_CONFIG;
            let needed = || always || !blobs.contains(&digest) || lists_metadata(bytes);
            seen.insert(digest) && needed()
        };
        let mut described: Vec<_> =
            description.blobs().filter(needed).map(<[u8]>::to_vec).collect();
        let mut seen = BTreeSet::new();
        described.extend(metadata.into_iter().filter(|bytes| seen.insert(Digest::of(bytes))));
        let mut pieces = whole(content);
        pieces.retain(|piece| !blobs.contains(&piece.digest));
        let set = {
            let base = base.as_ref().map(|base| base.digest);
            Digest::of(serde_json::json!([snapshot, base, split]).to_string().as_bytes())
        };
        let archives = vec![Archive { pieces }];
        let mut plan = Self { snapshot, base, set, described, archives };
        if let Some(split) = split
            && plan.size(0) > split
        {
            plan.split(split)?;
        }
        Ok(plan)
    }

    /// How many archives it takes.
    #[must_use]
    pub fn count(&self) -> usize {
        self.archives.len()
    }

    /// Bytes of one archive.
    #[must_use]
    pub fn size(&self, number: usize) -> u64 {
        let blob = |size: u64| BLOCK as u64 + size + padding(size) as u64;
        let head: u64 = self.head(number).iter().map(|(_, bytes)| blob(bytes.len() as u64)).sum();
        let pieces = self.archives.get(number).map_or(&[][..], |archive| &archive.pieces);
        let items = total(pieces.iter().map(|piece| blob(piece.size)));
        items.saturating_add(head).saturating_add(END.len() as u64)
    }

    /// Bytes of all archives.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        total((0..self.count()).map(|number| self.size(number)))
    }

    /// Bytes of the items that are cut, of those with a range in one archive:
    /// of the archive where they are most.
    pub(super) fn most_cut(&self) -> u64 {
        let cut = |archive: &Archive| {
            let ranges = archive.pieces.iter().filter_map(|piece| piece.range);
            let wholes: BTreeMap<_, _> = ranges.map(|range| (range.whole, range.size)).collect();
            total(wholes.into_values())
        };
        self.archives.iter().map(cut).max().unwrap_or(0)
    }

    /// Items, or ranges of items, in all archives.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.archives.iter().flat_map(|archive| &archive.pieces)
    }

    /// The part that an archive is; `None` where it is all.
    pub(super) fn part(&self, number: usize) -> Option<Part> {
        let count = u32::try_from(self.count()).unwrap_or(MAX_PARTS);
        if count == 1 && self.base.is_none() {
            return None;
        }
        Some(Part {
            number: u32::try_from(number).unwrap_or(MAX_PARTS) + 1,
            count,
            set: self.set,
            snapshot: self.snapshot,
            snapshot_size: self.described.first().map_or(0, |index| index.len() as u64),
            base: self.base.clone(),
            pieces: self.archives.get(number).map_or_else(Vec::new, |a| a.pieces.clone()),
            described: BTreeSet::new(),
        })
    }

    /// The files of an archive that come before its items, by name.
    pub(super) fn head(&self, number: usize) -> Vec<(String, Vec<u8>)> {
        let mut blobs = Vec::new();
        let index = match self.part(number) {
            None => encode_index("current", self.described.first().map_or(&[][..], Vec::as_slice)),
            Some(part) => {
                let described: Vec<_> = self
                    .described
                    .iter()
                    .map(|bytes| (Digest::of(bytes), bytes.len() as u64))
                    .collect();
                let (entry, manifests) = encode_part(&part, &described);
                let index = encode_index(&tag(&part), &entry);
                blobs.push(entry);
                blobs.extend(manifests);
                index
            }
        };
        blobs.extend(self.described.iter().cloned());
        let mut head =
            vec![("oci-layout".into(), LAYOUT.as_bytes().to_vec()), ("index.json".into(), index)];
        let mut seen = BTreeSet::new();
        for bytes in blobs {
            let digest = Digest::of(&bytes);
            if seen.insert(digest) {
                head.push((blob_name(&digest), bytes));
            }
        }
        head
    }

    /// The ranges into which items were cut that are not hashed yet, of those
    /// that start in one archive: each item with all its ranges.
    pub(super) fn unhashed(&self, number: usize) -> BTreeMap<Digest, Vec<Range>> {
        let pieces = self.archives.get(number).map_or(&[][..], |archive| &archive.pieces);
        let mut cut: BTreeMap<Digest, Vec<Range>> = BTreeMap::new();
        for range in pieces.iter().filter_map(|piece| piece.range) {
            if range.offset == 0 {
                cut.insert(range.whole, Vec::new());
            }
        }
        for range in self.pieces().filter_map(|piece| piece.range) {
            if let Some(ranges) = cut.get_mut(&range.whole) {
                ranges.push(range);
            }
        }
        cut
    }

    /// Notes the digests of an item's ranges, by offset.
    pub(super) fn hashed(&mut self, whole: &Digest, digests: &BTreeMap<u64, Digest>) {
        for piece in self.archives.iter_mut().flat_map(|archive| &mut archive.pieces) {
            let offset = piece.range.filter(|range| range.whole == *whole).map(|r| r.offset);
            if let Some(digest) = offset.and_then(|offset| digests.get(&offset)) {
                piece.digest = *digest;
            }
        }
    }

    fn split(&mut self, split: u64) -> Result<(), BundleError> {
        let pieces = self.archives.pop().map_or_else(Vec::new, |archive| archive.pieces);
        // As parts they need an index; the highest number is the longest.
        self.archives = (0..MAX_PARTS).map(|_| Archive { pieces: Vec::new() }).collect();
        let fixed = self.size(self.archives.len() - 1) + MANIFEST_COST;
        let needed = fixed + MIN_RANGE + RANGE_COST;
        if split < needed {
            return Err(BundleError::SmallParts { size: split, needed });
        }
        self.archives =
            evenly(&pieces, split - fixed).into_iter().map(|pieces| Archive { pieces }).collect();
        if self.archives.len() > MAX_PARTS as usize {
            return Err(BundleError::ManyParts { limit: MAX_PARTS });
        }
        Ok(())
    }
}

/// The name of a blob in a layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{digest}")
}

/// What an archive that is not all is tagged.
fn tag(part: &Part) -> String {
    match (part.count, &part.base) {
        (1, Some(_)) => "delta".into(),
        (count, _) => format!("part-{}-of-{count}", part.number),
    }
}

/// Bytes that a piece takes in an archive, its share of the manifests with it.
fn cost(piece: &Piece) -> u64 {
    let share = MANIFEST_COST / 100 + 1;
    let blob = (BLOCK + padding(piece.size)) as u64;
    piece.size.saturating_add(blob + piece.listing() + share)
}

/// Parts of at most `capacity`, as few as can be and as even as can be: of all
/// targets that give so few parts, the smallest.
fn evenly(pieces: &[Piece], capacity: u64) -> Vec<Vec<Piece>> {
    let sum = total(pieces.iter().map(cost));
    let mut count = sum.div_ceil(capacity).max(1);
    loop {
        let fits = |target| {
            let parts = fill(pieces, target, capacity);
            (parts.len() as u64 <= count).then_some(parts)
        };
        let mut least = sum.div_ceil(count).clamp(MIN_RANGE + RANGE_COST, capacity);
        let mut most = capacity;
        let Some(mut best) = fits(most) else {
            count += 1;
            continue;
        };
        while least + BLOCK as u64 <= most {
            let middle = u64::midpoint(least, most);
            match fits(middle) {
                Some(parts) => (best, most) = (parts, middle),
                None => least = middle + 1,
            }
        }
        return best;
    }
}

/// Fills parts one after the other up to `target` bytes; an item that crosses
/// the end is cut there.
fn fill(pieces: &[Piece], target: u64, capacity: u64) -> Vec<Vec<Piece>> {
    let (mut parts, mut part, mut used) = (Vec::new(), Vec::new(), 0_u64);
    for piece in pieces {
        let mut offset = 0;
        loop {
            let rest = cut(piece, offset, piece.size - offset);
            let small = rest.size <= MIN_RANGE;
            let end = used + cost(&rest);
            if end <= target || (small && end <= capacity) {
                used = end;
                part.push(rest);
                break;
            }
            let room = target.saturating_sub(used + RANGE_COST);
            if !small && room >= MIN_RANGE {
                let size = room.min(rest.size - 1);
                part.push(cut(piece, offset, size));
                offset += size;
            }
            parts.push(std::mem::take(&mut part));
            used = 0;
        }
    }
    if !part.is_empty() || parts.is_empty() {
        parts.push(part);
    }
    parts
}

/// `size` bytes of an item; all of it as itself. A range's digest is not known
/// yet.
fn cut(piece: &Piece, offset: u64, size: u64) -> Piece {
    if size == piece.size {
        return piece.clone();
    }
    let range = Range { whole: piece.digest, size: piece.size, offset };
    Piece { size, range: Some(range), ..piece.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simplestreams::RelPath;

    fn piece(number: usize, size: u64) -> Piece {
        let path = RelPath::new(format!("items/{number}")).expect("path");
        Piece { path, digest: Digest::of(&number.to_be_bytes()), size, range: None }
    }

    proptest! {
        /// Every byte of every item is in exactly one part, no part is too
        /// large, and all but the last are about as large as each other.
        #[test]
        fn parts_hold_everything_once(
            sizes in prop::collection::vec(0_u64..3_000_000, 0..40),
            capacity in 80_000_u64..2_000_000,
        ) {
            let pieces: Vec<_> =
                sizes.iter().enumerate().map(|(number, size)| piece(number, *size)).collect();
            let parts = evenly(&pieces, capacity);
            for part in &parts {
                prop_assert!(total(part.iter().map(cost)) <= capacity);
            }
            let mut rest = pieces.into_iter();
            let mut at = 0;
            let mut whole = rest.next();
            for piece in parts.iter().flatten() {
                let item = whole.clone().expect("no more than there is");
                prop_assert_eq!(piece.whole(), item.digest);
                prop_assert_eq!(piece.whole_size(), item.size);
                prop_assert_eq!(piece.range.map_or(0, |range| range.offset), at);
                at += piece.size;
                if at == item.size {
                    whole = rest.next();
                    at = 0;
                }
            }
            prop_assert!(whole.is_none() && at == 0);
            let costs: Vec<u64> = parts.iter().map(|part| total(part.iter().map(cost))).collect();
            if let Some((last, others)) = costs.split_last() {
                let most = others.iter().max().copied().unwrap_or(*last);
                let least = others.iter().min().copied().unwrap_or(*last);
                prop_assert!(most - least <= 3 * MIN_RANGE, "{costs:?}");
            }
        }
    }
}
