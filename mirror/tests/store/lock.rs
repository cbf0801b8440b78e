//! There is one writer at a time.

use std::sync::atomic::{AtomicBool, Ordering};

use maas_mirror::store::{Store, StoreError};

use super::support::TestStore;

#[test]
fn a_second_writer_is_refused_and_told_who_holds_the_lock() {
    let test = TestStore::new();
    let _writer = test.store.writer("maas-mirror sync").unwrap();
    let other = Store::open(test.store.root()).unwrap();
    for store in [&test.store, &other] {
        let error = store.writer("maas-mirror prune").unwrap_err();
        let StoreError::Locked { holder, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((holder.pid, holder.command.as_str()), (std::process::id(), "maas-mirror sync"));
        assert_eq!(store.lock_holder().unwrap().as_ref(), Some(holder));
        assert!(error.to_string().contains("'maas-mirror sync'"), "{error}");
    }
}

#[test]
fn dropping_the_writer_frees_the_lock() {
    let test = TestStore::new();
    drop(test.store.writer("a command with a long name").unwrap());
    assert_eq!(test.store.lock_holder().unwrap(), None);
    let _writer = test.store.writer("short").unwrap();
    assert_eq!(test.store.lock_holder().unwrap().unwrap().command, "short");
}

#[test]
fn reading_needs_no_lock() {
    let test = TestStore::new();
    let _writer = test.writer();
    let reader = Store::open(test.store.root()).unwrap();
    assert_eq!(reader.current().unwrap(), None);
}

/// `status` looks at the lock; that must not make a `sync` that starts at the
/// same moment believe that another process writes.
#[test]
fn looking_who_holds_the_lock_never_takes_it_from_a_writer() {
    let test = TestStore::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    test.store.lock_holder().unwrap();
                }
            });
        }
        let refused = (0..200).filter(|_| test.store.writer("test").is_err()).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
}
