//! The folders of the chart and of its tests, and the value files.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use crate::{Helm, Objects};

/// The chart.
#[must_use]
pub fn chart() -> PathBuf {
    room().join("../../chart").canonicalize().expect("the folder chart/")
}

/// `tests/chart`.
#[must_use]
pub fn room() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every value file, sorted: a name, and where it is.
#[must_use]
pub fn all() -> Vec<(String, PathBuf)> {
    let found = below(&room().join("values"), "yaml");
    assert!(found.len() >= 40, "there are too few value files: {}", found.len());
    found
}

/// The value file of that name.
#[must_use]
pub fn named(name: &str) -> PathBuf {
    let path = room().join(format!("values/{name}.yaml"));
    assert!(path.exists(), "there is no value file {}", path.display());
    path
}

/// Files of a folder with that ending, sorted, with their names without it.
#[must_use]
pub fn below(folder: &Path, ending: &str) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    found
}

/// Does something for each of `all`, several at a time; the results in order.
pub fn side_by_side<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let next = Mutex::new(0..all.len());
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(index) = next.lock().unwrap().next() else { return };
                    let result = work(&all[index]);
                    done.lock().unwrap().push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What that value file renders to. `None` without Helm.
#[must_use]
pub fn objects(name: &str) -> Option<Objects> {
    let found = rendered()?.iter().find(|(file, _)| file == name);
    Some(found.unwrap_or_else(|| panic!("there is no value file {name}")).1.clone())
}

/// Every value file rendered, by name: once in a test program. `None` without
/// Helm.
pub fn rendered() -> Option<&'static [(String, Objects)]> {
    static RENDERED: OnceLock<Vec<(String, Objects)>> = OnceLock::new();
    let helm = Helm::find()?;
    let render = |(name, path): &(String, PathBuf)| (name.clone(), helm.objects(&[path]));
    Some(RENDERED.get_or_init(|| side_by_side(&all(), render)))
}
