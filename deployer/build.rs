//! Lists the chart's files, for `src/chart.rs` to hold them in the program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let room = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let chart = room.join("../chart").canonicalize()?;
    println!("cargo::rerun-if-changed=../chart");
    let ignored = fs::read_to_string(chart.join(".helmignore"))?;
    let ignored: Vec<&str> = ignored.lines().map(str::trim).collect();
    let mut files = Vec::new();
    collect(&chart, &chart, &mut files)?;
    files.retain(|(name, _)| !ignored.contains(&name.as_str()) && !name.ends_with('~'));
    files.sort();
    let mut list = String::from("&[\n");
    for (name, path) in files {
        let _ = writeln!(list, "({name:?}, include_str!({path:?})),");
    }
    list.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("chart.rs"), list)
}

fn collect(folder: &Path, root: &Path, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, root, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push((name.to_string_lossy().into_owned(), path.clone()));
        }
    }
    Ok(())
}
