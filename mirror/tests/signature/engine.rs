//! What the private GnuPG home does to the machine: nothing that stays.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use maas_mirror::signature::Keyring;

use super::{key, keyring_files, trusting};

/// Set for the child processes of this module: the signed file to check.
const FILE: &str = "SIGNATURE_TEST_FILE";
/// The keyring for it.
const KEYRING: &str = "SIGNATURE_TEST_KEYRING";

/// Does nothing by itself: [`in_a_child`] runs it in a process of its own.
#[test]
fn child_that_verifies() {
    let (Some(file), Some(keyring)) = (env::var_os(FILE), env::var_os(KEYRING)) else {
        return;
    };
    let before = env::temp_dir();
    {
        let keyring = Keyring::from_files(&[keyring.into()]).unwrap();
        keyring.verify(&fs::read(file).unwrap()).unwrap();
        assert_eq!(names(&before).len(), 1, "one home while the keyring lives");
    }
    assert_eq!(names(&before), BTreeSet::new(), "no home once it is dropped");
}

/// A process with folders of its own for HOME, GNUPGHOME and temporary files.
struct Sandbox {
    root: tempfile::TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["home", "gnupg", "tmp"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        Self { root }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Verifies a good file in a child process of this sandbox.
    fn verify(&self) {
        let key = key();
        let (_dir, files) = keyring_files(&[key.keyring(), &key.clear_sign(b"{}\n").unwrap()]);
        let [keyring, file] = files.as_slice() else {
            panic!("two files");
        };
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "engine::child_that_verifies"])
            .env("HOME", self.at("home"))
            .env("GNUPGHOME", self.at("gnupg"))
            .env("TMPDIR", self.at("tmp"))
            .env(KEYRING, keyring)
            .env(FILE, file)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}

#[test]
fn the_users_own_gnupg_is_not_touched_and_no_home_stays() {
    let sandbox = Sandbox::new();
    sandbox.verify();
    for name in ["home", "gnupg", "tmp"] {
        assert_eq!(names(&sandbox.at(name)), BTreeSet::new(), "{name}");
    }
}

/// A `gpg.conf` of the user that breaks gpg, and one keyring that would trust
/// anything, change nothing.
#[test]
fn the_users_own_gnupg_options_have_no_effect() {
    let sandbox = Sandbox::new();
    for name in ["gnupg", "home/.gnupg"] {
        fs::create_dir_all(sandbox.at(name)).unwrap();
        fs::write(sandbox.at(name).join("gpg.conf"), "no-such-option\n").unwrap();
    }
    sandbox.verify();
}

#[test]
fn no_agent_is_left_running() {
    let sandbox = Sandbox::new();
    sandbox.verify();
    assert_eq!(processes_naming(&sandbox.at("tmp")), Vec::<String>::new());
}

#[test]
fn eight_threads_verify_at_once() {
    let (known, unknown) = (key(), key());
    let keyring = trusting(&[&known]);
    let sign = |body: &str| known.clear_sign(body.as_bytes()).unwrap();
    let files: Vec<_> = (0..8).map(|n| (format!("{{\"n\": {n}}}\n"), n)).collect();
    let signed: Vec<_> = files.iter().map(|(body, _)| sign(body)).collect();
    let bad = unknown.clear_sign(b"{}\n").unwrap();
    std::thread::scope(|scope| {
        for ((body, _), file) in files.iter().zip(&signed) {
            let (keyring, bad) = (&keyring, &bad);
            scope.spawn(move || {
                for _ in 0..5 {
                    assert_eq!(keyring.verify(file).unwrap().plaintext, body.as_bytes());
                    assert!(keyring.verify(bad).is_err());
                }
            });
        }
    });
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The command lines of running processes that name something in `folder`.
fn processes_naming(folder: &Path) -> Vec<String> {
    let needle = folder.as_os_str().as_bytes();
    let command_line = |entry: io::Result<fs::DirEntry>| {
        // Processes end while the list is read.
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        let found = line.windows(needle.len()).any(|part| part == needle);
        found.then(|| OsStr::from_bytes(&line).to_string_lossy().into_owned())
    };
    fs::read_dir("/proc").unwrap().filter_map(command_line).collect()
}
