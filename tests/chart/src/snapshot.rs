//! What a person reads, compared with a file beside the tests.

use crate::files;

/// Compares `text` with `snapshots/NAME.txt`; with `UPDATE_SNAPSHOTS` in the
/// environment, writes that file instead.
///
/// # Panics
/// Where they differ.
pub fn compare(name: &str, text: &str) {
    let path = files::room().join(format!("snapshots/{name}.txt"));
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs; UPDATE_SNAPSHOTS=1 writes it anew. It is now:\n{text}",
        path.display()
    );
}
