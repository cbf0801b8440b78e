//! Blobs that come in ranges.

use maas_mirror::simplestreams::Digest;

use super::support::TestStore;

#[test]
fn a_record_that_outlived_its_bytes_is_not_believed() {
    let test = TestStore::new();
    let writer = test.writer();
    let digest = Digest::of(b"abcdefgh");
    let mut assembly = writer.assembly(digest, 8).unwrap();
    assembly.write_at(0, b"abcd").unwrap();
    assembly.note(0, 4).unwrap();
    drop(assembly);
    assert!(writer.assembly(digest, 8).unwrap().has(0, 4));
    std::fs::remove_file(test.path(".maas-mirror/import").join(digest.to_string())).unwrap();
    // A run that ends before it has brought anything.
    drop(writer.assembly(digest, 8).unwrap());
    let mut assembly = writer.assembly(digest, 8).unwrap();
    assert!(!assembly.has(0, 4));
    assembly.write_at(0, b"abcdefgh").unwrap();
    assembly.note(0, 8).unwrap();
    assembly.finish().unwrap();
    assert_eq!(test.store.read_blob(&digest).unwrap(), b"abcdefgh");
}
