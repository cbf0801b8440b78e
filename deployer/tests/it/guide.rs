//! Every command of the guide and of README's part on the deployer, read from them and run. Those
//! that render are run whole. Those that need a cluster are run without one here, which a verb or an
//! option that is not there does not live to see; on a cluster, `real_guide` runs them.

use std::path::Path;
use std::process::{Command, Output};

const GUIDE: &str = include_str!("../../../docs/deployer.md");
const README: &str = include_str!("../../../README.md");
const OPERATORS: &str = include_str!("../../../docs/operators-guide.md");

/// Verbs that need nothing but values.
const RENDER: [&str; 3] = ["template", "values", "images"];

/// One command, as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed(pub(crate) String);

impl Typed {
    fn word(&self, number: usize) -> &str {
        self.0.split_whitespace().nth(number).unwrap_or_default()
    }

    /// The verb of `maas-deployer`; none where it is another program.
    pub(crate) fn verb(&self) -> Option<&str> {
        (self.word(0) == "maas-deployer").then(|| self.word(1))
    }

    /// Whether it says so.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.split_whitespace().any(|word| word == option)
    }

    /// Runs it as a reader would, in a folder, with the program on the path and what `env` says.
    pub(crate) fn run(&self, folder: &Path, env: &[(&str, &str)]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_maas-deployer"));
        let programs = program.parent().expect("a folder").display().to_string();
        let kubectl = std::env::var("KUBECTL").unwrap_or_default();
        let kubectl = Path::new(&kubectl).parent().unwrap_or(Path::new("")).display().to_string();
        let path = std::env::var("PATH").expect("PATH");
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", &self.0]).current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MAAS_DEPLOYER_") {
                shell.env_remove(name);
            }
        }
        shell.env("PATH", format!("{programs}:{kubectl}:{path}"));
        shell.stdin(std::process::Stdio::null());
        shell.envs(env.iter().copied()).output().expect("bash")
    }
}

/// The commands in blocks of a text, indented or fenced as `sh`, in their order.
pub(crate) fn commands(text: &str) -> Vec<Typed> {
    let (mut found, mut fence, mut joined) = (Vec::new(), None, String::new());
    for line in text.lines() {
        match (fence, line.strip_prefix("```")) {
            (None, Some(kind)) => fence = Some(kind),
            (Some(_), Some(_)) => fence = None,
            (Some("sh"), None) => joined += line.trim(),
            (None, None) if line.starts_with("    ") => joined += line.trim(),
            _ => {}
        }
        if let Some(first) = joined.strip_suffix('\\') {
            joined = first.to_owned();
        } else if !joined.is_empty() {
            found.push(Typed(std::mem::take(&mut joined)));
        }
    }
    found
}

/// The guide's commands.
pub(crate) fn of_the_guide() -> Vec<Typed> {
    commands(GUIDE)
}

/// The values that the guide has its reader write.
pub(crate) fn values_of_the_guide() -> &'static str {
    let after = GUIDE.split_once("```yaml\n").expect("values in the guide").1;
    after.split_once("```").expect("their end").0
}

/// README's, of its part on the deployer.
fn of_the_readme() -> Vec<Typed> {
    let part = README.split_once("Install MAAS in Kubernetes").expect("the part").1;
    commands(part.split_once("\n## ").expect("the next part").0)
}

/// The deployer's commands in the operator's guide, of its part on MAAS over an air gap.
fn of_the_operators_guide() -> Vec<Typed> {
    let part = OPERATORS.split_once("## MAAS over an air gap").expect("the part").1;
    let typed = commands(part.split_once("\n## ").expect("the next part").0).into_iter();
    // Taken out of the bundle, it stands in the folder.
    let typed = typed.map(|typed| Typed(typed.0.trim_start_matches("./").to_owned()));
    typed.filter(|typed| typed.verb().is_some()).collect()
}

/// A folder with the files that the commands name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["values.yaml", "site.yaml"] {
        std::fs::write(folder.path().join(name), values_of_the_guide()).expect("values");
    }
    std::fs::write(folder.path().join("rack-7.yaml"), "pod: {replicas: {rack: 7}}\n")
        .expect("values");
    folder
}

#[track_caller]
fn runs_without_a_cluster(typed: &Typed) {
    let folder = folder();
    let output = typed.run(folder.path(), &[("KUBECONFIG", "no-kubeconfig")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    match (typed.verb(), typed.word(0)) {
        (Some(verb), _) if RENDER.contains(&verb) => {
            assert_eq!(code, Some(0), "{typed:?}: {said}");
            assert!(!output.stdout.is_empty(), "{typed:?} prints nothing");
        }
        // Neither images nor a bundle are here: it says so, and not that it was told nonsense.
        (Some("bundle"), _) => {
            assert!(!matches!(code, None | Some(0 | 64 | 101 | 127)), "{typed:?}: {said}");
        }
        (Some(_), _) => {
            // Checks are a report, on stdout.
            let said = said + &String::from_utf8_lossy(&output.stdout);
            assert!(!matches!(code, None | Some(0 | 64 | 101 | 127)), "{typed:?}: {said}");
            assert!(said.contains("kubeconfig"), "{typed:?}: {said}");
        }
        (None, "make") => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the clone");
            let dry = Typed(typed.0.replacen("make", "make --dry-run", 1));
            let output = dry.run(root, &[]);
            assert!(output.status.success(), "{typed:?}: {output:?}");
        }
        // On a cluster only; Helm's own are those of tests/install.
        (None, "kubectl" | "helm") => {}
        (None, other) => panic!("{other}: no test runs it"),
    }
}

#[test]
fn the_guides_commands_are_there() {
    let all = of_the_guide();
    assert!(all.len() >= 15, "{all:?}");
    for typed in &all {
        runs_without_a_cluster(typed);
    }
}

#[test]
fn the_readmes_commands_are_there() {
    let all = of_the_readme();
    for verb in ["check", "install", "status"] {
        assert!(all.iter().any(|typed| typed.verb() == Some(verb)), "{verb}: {all:?}");
    }
    for typed in &all {
        runs_without_a_cluster(typed);
    }
}

#[test]
fn the_operators_guides_commands_are_there() {
    let all = of_the_operators_guide();
    for verb in ["bundle", "install"] {
        assert!(all.iter().any(|typed| typed.verb() == Some(verb)), "{verb}: {all:?}");
    }
    for typed in &all {
        runs_without_a_cluster(typed);
    }
}

#[test]
fn a_command_that_is_not_there_is_found() {
    for wrong in ["maas-deployer instal -n maas", "maas-deployer install --creat-namespace"] {
        let typed = Typed(wrong.to_owned());
        let told = std::panic::catch_unwind(|| runs_without_a_cluster(&typed));
        assert!(told.is_err(), "{wrong}");
    }
    let text = "a\n\n    one \\\n      two\n\n```sh\nthree   # four\n```\n```\nfive\n```\n";
    assert_eq!(commands(text), [Typed("one two".to_owned()), Typed("three   # four".to_owned())]);
}
