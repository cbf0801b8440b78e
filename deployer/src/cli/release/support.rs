//! `maas-deployer support-bundle`.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::super::failure::{Exit, Failure};
use super::super::job::interrupted;
use super::super::target;
use super::args::SupportArgs;
use super::check::from_outside;
use super::colour::{Paint, When};
use super::{Context, status_json, status_text};
use crate::check::Names;
use crate::counted::counted;
use crate::status::look;
use crate::support::{Begin, Contents, Gathering, Options, SupportError};

/// How long the checks may take.
const CHECKS: Duration = Duration::from_secs(60);

/// What to do where the archive would take the place of something else.
const NO_FILE: &str = "name another file, or - for standard output: devices, pipes, folders and links are not replaced";

/// Where the archive goes.
enum Target {
    Stdout(io::Stdout),
    /// A file that has its name when it is whole. Only its owner may read it.
    File(NamedTempFile, PathBuf),
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(stdout) => stdout.write(bytes),
            Self::File(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(file, _) => file.flush(),
        }
    }
}

impl Context<'_> {
    /// Gathers what the release tells, and writes it to one archive.
    pub(super) async fn support(&self, args: &SupportArgs) -> Result<Exit, Failure> {
        tokio::select! {
            result = Box::pin(self.bundled(args)) => result,
            exit = interrupted() => Ok(exit),
        }
    }

    async fn bundled(&self, args: &SupportArgs) -> Result<Exit, Failure> {
        let target = self.target(args)?;
        let options = Options {
            log_lines: args.log_lines,
            log_bytes: 4 * 1024 * 1024,
            bytes: args.max_size * 1024 * 1024,
            timeout: args.timeout,
            unstruck: args.unstruck,
        };
        let (cluster, name, namespace) = (self.cluster, self.name, self.namespace);
        let begun = Gathering::begin(cluster, name, namespace, options, target).await;
        let mut gathering = begun.map_err(|error| self.not_begun(&error))?;
        if let Some(warning) = gathering.warning() {
            let then = match args.unstruck {
                true => {
                    "they may stand in logs and texts of the bundle: look through it before you send it"
                }
                false => {
                    "logs, events, ConfigMaps and texts of objects are left out; --unstruck takes them all the same"
                }
            };
            self.output.error(&format!("warning: {warning}; {then}"));
        }
        let work = self.filled(&mut gathering);
        work.await.map_err(|error| self.not_written(&error))?;
        let (contents, target) = gathering.finish().map_err(|error| self.not_written(&error))?;
        let written = target.keep().map_err(|error| self.not_written(&error.into()))?;
        self.tell_bundle(&contents, written.as_deref());
        Ok(Exit::Done)
    }

    async fn filled(&self, gathering: &mut Gathering<'_, Target>) -> Result<(), SupportError> {
        gathering.gather().await?;
        match look(self.cluster, self.name, self.namespace).await {
            Ok(status) => {
                let paint = Paint::of(When::Never, false);
                gathering.add("status.txt", &status_text::screen(&status, paint))?;
                gathering.add_json("status.json", &status_json::described(&status))?;
            }
            Err(error) => gathering.left("status.json", &crate::chain(&error)),
        }
        let names = Names { release: self.name.to_owned(), namespace: self.namespace.to_owned() };
        let checked = tokio::time::timeout(CHECKS, from_outside(self.cluster, &names)).await;
        match checked {
            Ok(Ok((text, report))) => {
                gathering.add("check.txt", &text)?;
                gathering.add_json("check.json", &report)?;
            }
            Ok(Err(error)) => gathering.left("check.json", &crate::chain(&error)),
            Err(_) => gathering.left("check.json", "it took too long"),
        }
        Ok(())
    }

    fn target(&self, args: &SupportArgs) -> Result<Target, Failure> {
        if args.out.as_deref() == Some(Path::new("-")) {
            if io::stdout().is_terminal() {
                let reason = "standard output is a terminal, and the archive is no text";
                return Err(
                    Failure::usage(self.doing, reason).with_hint("redirect it, or name a file")
                );
            }
            return Ok(Target::Stdout(io::stdout()));
        }
        let path = args.out.clone().unwrap_or_else(|| {
            let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            PathBuf::from(format!("maas-support-{}-{}-{now}.tar.gz", self.namespace, self.name))
        });
        target::check(self.doing, &path, args.overwrite.force, NO_FILE)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        // The error of the file itself would name it, and it has no name yet.
        let file = std::fs::metadata(folder).and_then(|_| NamedTempFile::new_in(folder));
        let wrong = |source| SupportError::Folder { folder: folder.to_owned(), source };
        let file = file.map_err(|error| self.not_written(&wrong(error)))?;
        Ok(Target::File(file, path))
    }

    fn not_begun(&self, error: &Begin) -> Failure {
        match error {
            Begin::Absent(error) => Failure::apply(self.doing, error),
            Begin::Support(error) => self.not_written(error),
        }
    }

    fn not_written(&self, error: &SupportError) -> Failure {
        let hint = match error {
            SupportError::Write(_) | SupportError::Folder { .. } => {
                "name a file that can be written with -O, or - for stdout"
            }
            SupportError::Strike(_) => "this is an error of the program: report it",
        };
        Failure::new(self.doing, error).with_hint(hint)
    }

    /// Where the archive itself went to stdout, on stderr.
    fn tell_bundle(&self, contents: &Contents, path: Option<&Path>) {
        let is_stdout = path.is_none();
        let files = contents.files.len();
        let bytes: u64 = contents.files.iter().map(|file| file.bytes).sum();
        if !is_stdout {
            let left = contents.left.iter();
            self.output.json(&json!({
                "schema": "maas-deployer/support-bundle/1",
                "release": self.name,
                "namespace": self.namespace,
                "file": path.map(|path| path.display().to_string()),
                "files": files,
                "bytes": bytes,
                "left_out": left.map(|it| json!({"what": it.what, "why": it.reason})).collect::<Value>(),
            }));
        }
        let where_to = path.map_or_else(|| "stdout".to_owned(), |path| path.display().to_string());
        let mut lines = vec![format!(
            "wrote {where_to}: {}, {bytes} bytes before packing",
            counted(files, "file")
        )];
        lines.extend(
            contents.left.iter().map(|left| format!("not in it: {}: {}", left.what, left.reason)),
        );
        for line in lines {
            if is_stdout { self.output.error(&line) } else { self.output.confirm(&line) }
        }
    }
}

impl Target {
    /// Gives the file its name; none where there is no file.
    fn keep(self) -> io::Result<Option<PathBuf>> {
        match self {
            Self::Stdout(_) => Ok(None),
            Self::File(file, path) => {
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)?;
                Ok(Some(path))
            }
        }
    }
}
