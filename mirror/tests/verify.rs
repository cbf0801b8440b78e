//! Proof that a store holds what was signed, and what is said where it does
//! not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test says where it failed by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fixtures::{SigningKey, Stream, StreamSpec};
use maas_mirror::signature::Keyring;
use maas_mirror::simplestreams::{Digest, Document, RelPath, Selection, select};
use maas_mirror::store::{Claim, Content, FileRef, Store, VersionKey, Writer};
use maas_mirror::verify::{Options, Problem, ProblemKind, Report, repair, verify};
use tempfile::TempDir;

const QUICK: Options = Options { quick: true };
const FULL: Options = Options { quick: false };
const SQUASHFS: &str = "xenial/amd64/20210928/squashfs";

/// A store built through the library from a signed stream.
struct Mirror {
    store: Store,
    content: Content,
    key: SigningKey,
    keyring: Keyring,
    dir: TempDir,
}

impl Mirror {
    fn new() -> Self {
        Self::of(&StreamSpec::new().scale(0.0).build())
    }

    fn of(stream: &Stream) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(dir.path().join("store")).unwrap();
        let key = key();
        let keyring = keyring(dir.path().join("keys.gpg"), &key);
        let writer = store.writer("test").unwrap();
        let content = fill(&writer, stream, &key);
        writer.publish(&content, jiff::Timestamp::UNIX_EPOCH).unwrap();
        drop(writer);
        Self { store, content, key, keyring, dir }
    }

    fn verify(&self, options: Options) -> Report {
        verify(&self.store, &self.keyring, options, &|_, _| {}).unwrap()
    }

    /// The one problem that is found.
    #[track_caller]
    fn problem(&self, options: Options) -> Problem {
        let report = self.verify(options);
        assert!(!report.intact);
        let [problem] = report.problems.try_into().unwrap();
        problem
    }

    fn file(&self, path: &str) -> FileRef {
        let mut files = self.content.files();
        files.find(|file| file.path.as_str() == path).unwrap().clone()
    }

    /// The blob of the file at `path`, which a test may damage.
    fn blob(&self, path: &str) -> PathBuf {
        self.store.blob_path(&self.file(path).digest)
    }

    /// Publishes the content with changes that no signature covers.
    fn forge(&mut self, bytes: &[u8], change: impl FnOnce(&mut Content, FileRef)) {
        let file = FileRef {
            path: RelPath::new("xenial/evil").unwrap(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        change(&mut self.content, file);
        let writer = self.store.writer("test").unwrap();
        writer.put_all([bytes]).unwrap();
        writer.publish(&self.content, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let long_after = jiff::Timestamp::now();
        writer.collect(std::time::Duration::ZERO, long_after).unwrap();
    }
}

fn key() -> SigningKey {
    SigningKey::generate("Test <test@example.org>").unwrap()
}

fn keyring(path: PathBuf, key: &SigningKey) -> Keyring {
    key.write_keyring(&path).unwrap();
    Keyring::from_files(&[path]).unwrap()
}

/// Stores what the default selection takes from `stream`, signed by `key`.
fn fill(writer: &Writer, stream: &Stream, key: &SigningKey) -> Content {
    let mut content = Content::default();
    let mut texts: Vec<_> = stream
        .products
        .keys()
        .map(|path| (path.as_str(), stream.products_text(path).unwrap()))
        .collect();
    let parse = |(_, text): &(&str, Vec<u8>)| match Document::parse(text).unwrap() {
        Document::Products(products) => products,
        Document::Index(_) => panic!("an index"),
    };
    let documents: Vec<_> = texts.iter().map(parse).collect();
    texts.push(("streams/v1/index.sjson", stream.index_text().unwrap()));
    for (path, text) in texts {
        let bytes = key.clear_sign(&text).unwrap();
        writer.put_all([bytes.as_slice()]).unwrap();
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        content.metadata.push(FileRef { path: RelPath::new(path).unwrap(), digest, size });
    }
    for item in select(&documents, &Selection::default()).unwrap() {
        writer.put_all([stream.content(item.path.as_str()).unwrap().as_slice()]).unwrap();
        let version = VersionKey { product: item.product, version: item.version };
        let file = FileRef { path: item.path, digest: item.sha256, size: item.size };
        content.versions.entry(version).or_default().push(file);
    }
    content
}

fn flip_a_byte(path: &PathBuf) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).unwrap() ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_intact_store_has_no_problems_and_a_full_report() {
    let mirror = Mirror::new();
    for options in [FULL, QUICK] {
        let report = mirror.verify(options);
        assert!(report.intact, "{:?}", report.problems);
        assert!(report.problems.is_empty());
        assert_eq!(report.quick, options.quick);
        assert_eq!(report.trusted_keys, [mirror.key.fingerprint()]);
        let (blobs, _) = mirror.store.blobs().unwrap();
        assert_eq!((report.blobs, report.bytes), (blobs.len(), blobs.values().sum()));
        assert_eq!(report.removable.unreferenced_blobs, 0);
        let [snapshot] = report.snapshots.try_into().unwrap();
        assert!(snapshot.current);
        // Two kernels, each with its initrd, the image and its manifest, and
        // three files of bootloaders.
        assert_eq!(snapshot.items, 9);
        assert_eq!(snapshot.metadata.len(), 3);
        assert!(snapshot.metadata.iter().all(|file| file.signed_by == [mirror.key.fingerprint()]));
    }
}

#[test]
fn an_empty_store_is_intact() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(dir.path().join("store")).unwrap();
    let keyring = keyring(dir.path().join("keys.gpg"), &key());
    let report = verify(&store, &keyring, FULL, &|_, _| {}).unwrap();
    assert!(report.intact && report.snapshots.is_empty());
}

#[test]
fn progress_adds_up_to_every_byte() {
    let mirror = Mirror::new();
    let (most, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |done, all| {
        most.fetch_max(done, Ordering::Relaxed);
        total.store(all, Ordering::Relaxed);
    };
    let report = verify(&mirror.store, &mirror.keyring, FULL, &progress).unwrap();
    assert_eq!(most.into_inner(), report.bytes);
    assert_eq!(total.into_inner(), report.bytes);
}

#[test]
fn a_flipped_byte_is_found_where_blobs_are_read() {
    let mirror = Mirror::new();
    flip_a_byte(&mirror.blob(SQUASHFS));
    let problem = mirror.problem(FULL);
    assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Blob, SQUASHFS));
    assert_eq!(problem.blob, Some(mirror.file(SQUASHFS).digest));
    assert!(mirror.verify(QUICK).intact, "quick compares lengths alone");
}

#[test]
fn a_truncated_blob_is_found_even_by_a_quick_look() {
    let mirror = Mirror::new();
    let size = mirror.file(SQUASHFS).size;
    let file = fs::File::options().write(true).open(mirror.blob(SQUASHFS)).unwrap();
    file.set_len(size - 1).unwrap();
    for options in [FULL, QUICK] {
        let problem = mirror.problem(options);
        assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Blob, SQUASHFS));
        assert!(problem.detail.contains(&format!("{} of {size}", size - 1)), "{}", problem.detail);
    }
}

#[test]
fn a_missing_blob_is_found() {
    let mirror = Mirror::new();
    fs::remove_file(mirror.blob(SQUASHFS)).unwrap();
    for options in [FULL, QUICK] {
        let problem = mirror.problem(options);
        assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Blob, SQUASHFS));
        assert!(problem.detail.contains("missing"), "{}", problem.detail);
    }
}

#[test]
fn a_damaged_metadata_file_is_named_once_with_its_blob() {
    let mirror = Mirror::new();
    let path = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson";
    flip_a_byte(&mirror.blob(path));
    // It is read in any case, so a quick look finds it too.
    for options in [FULL, QUICK] {
        let problem = mirror.problem(options);
        assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Metadata, path));
        assert!(problem.blob.is_some());
    }
}

#[test]
fn a_damaged_description_is_a_problem_of_the_snapshot() {
    let mirror = Mirror::new();
    let digest = mirror.store.current().unwrap().unwrap().digest;
    flip_a_byte(&mirror.store.blob_path(&digest));
    let report = mirror.verify(FULL);
    assert!(!report.intact);
    let first = report.problems.first().unwrap();
    assert_eq!(first.kind, ProblemKind::Snapshot);
    assert!(first.subject.contains(&digest.short()), "{}", first.subject);
}

#[test]
fn an_item_that_no_signed_file_lists_is_unlisted() {
    let mut mirror = Mirror::new();
    mirror.forge(b"evil", |content, file| {
        content.versions.values_mut().next().unwrap().push(file);
    });
    let problem = mirror.problem(FULL);
    assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Unlisted, "xenial/evil"));
    assert_eq!(problem.blob, None, "to fetch it again would not mend it");
}

#[test]
fn other_content_under_a_listed_path_is_unlisted() {
    let mut mirror = Mirror::new();
    mirror.forge(b"evil", |content, evil| {
        let files = content.versions.values_mut().flatten();
        for file in files.filter(|file| file.path.as_str() == SQUASHFS) {
            *file = FileRef { path: file.path.clone(), ..evil.clone() };
        }
    });
    let report = mirror.verify(FULL);
    assert!(!report.intact);
    for problem in &report.problems {
        assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Unlisted, SQUASHFS));
    }
}

#[test]
fn an_unsigned_metadata_file_is_a_problem() {
    let mut mirror = Mirror::new();
    mirror.forge(b"{\"format\": \"products:1.0\"}", |content, file| content.metadata.push(file));
    let problem = mirror.problem(FULL);
    assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Metadata, "xenial/evil"));
    assert!(problem.detail.contains("not signed"), "{}", problem.detail);
}

#[test]
fn another_keyring_trusts_no_metadata_file() {
    let mirror = Mirror::new();
    let other = keyring(mirror.dir.path().join("other.gpg"), &key());
    let report = verify(&mirror.store, &other, FULL, &|_, _| {}).unwrap();
    assert!(!report.intact);
    assert_eq!(report.problems.len(), 3);
    for problem in &report.problems {
        assert_eq!(problem.kind, ProblemKind::Metadata);
        assert!(problem.detail.contains("not in the keyring"), "{}", problem.detail);
    }
}

#[test]
fn a_file_that_is_no_blob_is_a_stranger() {
    let mirror = Mirror::new();
    let stranger = mirror.store.root().join("blobs/sha256/shell.php");
    fs::write(&stranger, "x").unwrap();
    let problem = mirror.problem(QUICK);
    assert_eq!(problem.kind, ProblemKind::Stranger);
    assert_eq!(problem.subject, stranger.display().to_string());
}

#[test]
fn what_no_snapshot_reaches_is_removable_and_no_problem() {
    let mirror = Mirror::new();
    let writer = mirror.store.writer("test").unwrap();
    writer.put_all([b"orphan".as_slice(), b"another"]).unwrap();
    writer.partial(Digest::of(b"partial"), 7).unwrap().write(b"part").unwrap();
    let report = mirror.verify(FULL);
    assert!(report.intact, "{:?}", report.problems);
    let removable = report.removable;
    assert_eq!((removable.unreferenced_blobs, removable.unreferenced_bytes), (2, 13));
    assert_eq!((removable.partials, removable.partial_bytes), (1, 4));
}

/// Its name says that its digest held; something wrote over it since.
#[test]
fn a_damaged_blob_is_a_problem_even_where_no_snapshot_needs_it() {
    let mirror = Mirror::new();
    mirror.store.writer("test").unwrap().put_all([b"orphan".as_slice()]).unwrap();
    flip_a_byte(&mirror.store.blob_path(&Digest::of(b"orphan")));
    let problem = mirror.problem(FULL);
    assert_eq!((problem.kind, problem.subject.as_str()), (ProblemKind::Blob, "(in no snapshot)"));
}

#[test]
fn repair_moves_damaged_blobs_away_and_the_next_put_mends() {
    let mirror = Mirror::new();
    let squashfs = mirror.file(SQUASHFS);
    let good = fs::read(mirror.blob(SQUASHFS)).unwrap();
    let kernel = mirror.file("xenial/amd64/20210928/ga-16.04/generic/boot-kernel");
    flip_a_byte(&mirror.blob(SQUASHFS));
    fs::remove_file(mirror.store.blob_path(&kernel.digest)).unwrap();

    let writer = mirror.store.writer("test").unwrap();
    let report = mirror.verify(FULL);
    assert_eq!(report.problems.len(), 2);
    assert_eq!(repair(&writer, &report).unwrap(), 1, "what is missing cannot be moved");
    assert!(!mirror.store.has_blob(&squashfs.digest, squashfs.size));
    assert!(mirror.store.has_blob(
        &mirror.file("streams/v1/index.sjson").digest,
        mirror.file("streams/v1/index.sjson").size
    ));
    let quarantined = mirror.store.root().join(".maas-mirror/quarantine");
    assert_eq!(fs::read_dir(quarantined).unwrap().count(), 1);
    assert_eq!(repair(&writer, &report).unwrap(), 0, "a second time there is nothing to move");

    writer.put_all([good.as_slice()]).unwrap();
    assert_eq!(mirror.problem(FULL).blob, Some(kernel.digest));
}

/// A server pulls without the lock that a repair holds: what it mended since the report stays.
#[test]
fn repair_leaves_what_was_pulled_since_the_report() {
    let mirror = Mirror::new();
    let FileRef { digest, size, .. } = mirror.file(SQUASHFS).clone();
    let good = fs::read(mirror.blob(SQUASHFS)).unwrap();
    fs::write(mirror.blob(SQUASHFS), &good[1..]).unwrap();

    let writer = mirror.store.writer("test").unwrap();
    let report = mirror.verify(FULL);
    let Claim::Ours(mut pull) = mirror.store.claim(digest, size).unwrap() else {
        panic!("a short blob counts as held")
    };
    assert_eq!(repair(&writer, &report).unwrap(), 0, "it is being written");
    pull.write(&good).unwrap();
    pull.finish().unwrap();
    assert_eq!(repair(&writer, &report).unwrap(), 0, "it is good now");
    assert!(mirror.verify(FULL).intact);
}

#[test]
fn every_kept_snapshot_is_checked() {
    let mut stream = StreamSpec::new().scale(0.0).build();
    let mirror = Mirror::of(&stream);
    stream.add_version("20211005").unwrap();
    let writer = mirror.store.writer("test").unwrap();
    let second = fill(&writer, &stream, &mirror.key);
    writer.publish(&second, jiff::Timestamp::now()).unwrap();
    let report = mirror.verify(FULL);
    assert!(report.intact, "{:?}", report.problems);
    let current: Vec<_> = report.snapshots.iter().map(|snapshot| snapshot.current).collect();
    assert_eq!(current, [true, false]);

    // Only the older snapshot holds it.
    fs::remove_file(mirror.blob(SQUASHFS)).unwrap();
    assert_eq!(mirror.problem(QUICK).subject, SQUASHFS);
}

#[test]
fn a_report_can_be_filed_as_json() {
    let mirror = Mirror::new();
    flip_a_byte(&mirror.blob(SQUASHFS));
    let report = serde_json::to_value(mirror.verify(FULL)).unwrap();
    let report: BTreeMap<String, serde_json::Value> = serde_json::from_value(report).unwrap();
    let get = |key: &str| report.get(key).unwrap();
    assert_eq!(get("schema"), "maas-mirror/verify/1");
    assert_eq!(get("intact"), false);
    let problem = get("problems").get(0).unwrap();
    assert_eq!(problem.get("kind").unwrap(), "blob");
    assert_eq!(*problem.get("blob").unwrap(), mirror.file(SQUASHFS).digest.to_oci());
}
