//! Helm, as a program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::{Objects, files};

/// The program `helm`, and what it is told besides value files.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    chart: PathBuf,
    release: String,
    namespace: String,
    arguments: Vec<String>,
}

impl Helm {
    /// The program that `HELM` names, else `helm` on the path. Without it a
    /// test has nothing to say: `None`, loudly, and a failure under `CI`.
    #[must_use]
    pub fn find() -> Option<Self> {
        static RUNS: OnceLock<bool> = OnceLock::new();
        let program = std::env::var_os("HELM").map_or_else(|| "helm".into(), PathBuf::from);
        let version = || Command::new(&program).arg("version").output();
        if !RUNS.get_or_init(|| version().is_ok_and(|output| output.status.success())) {
            let missing = "SKIPPED: there is no helm: name it in the environment, as HELM";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("{missing}");
            return None;
        }
        let (release, namespace) = ("maas".to_owned(), "maas".to_owned());
        Some(Self { program, chart: files::chart(), release, namespace, arguments: Vec::new() })
    }

    /// As another release.
    #[must_use]
    pub fn release(mut self, name: &str) -> Self {
        name.clone_into(&mut self.release);
        self
    }

    /// In another namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        name.clone_into(&mut self.namespace);
        self
    }

    /// Another chart.
    #[must_use]
    pub fn chart(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.chart);
        self
    }

    /// With `--set KEY=VALUE` for each.
    #[must_use]
    pub fn set(mut self, settings: &[&str]) -> Self {
        for setting in settings {
            self.arguments.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        self
    }

    /// For a cluster of another version.
    #[must_use]
    pub fn kubernetes(mut self, version: &str) -> Self {
        self.arguments.extend(["--kube-version".to_owned(), version.to_owned()]);
        self
    }

    /// A command with the program's name. `helm template` and `lint` ask no
    /// cluster.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("HELM_NAMESPACE", &self.namespace);
        command
    }

    /// `helm template` with these value files.
    #[must_use]
    pub fn run(&self, values: &[&Path]) -> Output {
        let mut command = self.command();
        command.args(["template", &self.release]).arg(&self.chart).args(&self.arguments);
        // Built by `go install`, Helm takes every cluster for 1.20, which the chart refuses.
        if !self.arguments.iter().any(|argument| argument == "--kube-version") {
            command.args(["--kube-version", "1.33.0"]);
        }
        for file in values {
            command.arg("--values").arg(file);
        }
        command.output().expect("helm runs")
    }

    /// The manifests, as Helm prints them.
    #[must_use]
    pub fn text(&self, values: &[&Path]) -> String {
        let output = self.run(values);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "helm template {values:?}: {errors}");
        String::from_utf8(output.stdout).expect("helm prints UTF-8")
    }

    /// The rendered objects.
    #[must_use]
    pub fn objects(&self, values: &[&Path]) -> Objects {
        Objects::read(&self.text(values))
    }

    /// Why Helm refuses these values. What it says of several comes in any
    /// order: here sorted.
    #[must_use]
    pub fn refusal(&self, values: &[&Path]) -> String {
        let output = self.run(values);
        assert!(!output.status.success(), "helm takes {values:?} {:?}", self.arguments);
        let chart = self.chart.to_string_lossy();
        let text = String::from_utf8_lossy(&output.stderr).replace(&*chart, "CHART");
        let (said, mut each): (Vec<_>, Vec<_>) =
            text.trim().lines().partition(|line| !line.starts_with("- at"));
        each.sort_unstable();
        [said, each].concat().join("\n")
    }

    /// NOTES.txt with these values. `helm template` does not print it: here it
    /// is a text in an object, of a copy of the chart.
    #[must_use]
    pub fn notes(&self, values: &[&Path]) -> String {
        let copy = self.copy();
        let path = copy.path().join("templates/NOTES.txt");
        let notes = std::fs::read_to_string(&path).expect("NOTES.txt");
        std::fs::remove_file(path).unwrap();
        let define = format!("{{{{- define \"notes\" -}}}}{notes}{{{{- end -}}}}");
        std::fs::write(copy.path().join("templates/_notes.tpl"), define).unwrap();
        let object = "apiVersion: v1\nkind: Notes\nmetadata: {name: notes}\n\
                      text: {{ include \"notes\" . | toJson }}\n";
        std::fs::write(copy.path().join("templates/notes.yaml"), object).unwrap();
        let objects = self.clone().chart(copy.path()).objects(values);
        objects.one("Notes", "notes").json["text"].as_str().expect("a text").to_owned()
    }

    /// A copy of the chart, to be changed.
    #[must_use]
    pub fn copy(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy_folder(&self.chart, folder.path());
        folder
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
