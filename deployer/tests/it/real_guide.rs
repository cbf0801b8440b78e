//! The guide's commands on a real Kubernetes, in its order, with a small part of the chart.

use serde_json::{Value, json};

use crate::guide::{Typed, of_the_guide};
use crate::real_release::Site;

/// The reader's cluster.
struct Reader {
    site: Site,
    kubeconfig: String,
}

impl Reader {
    /// The revisions that are there.
    fn revisions(&self) -> Vec<Value> {
        let space = &self.site.namespace.name;
        let history = self.site.world.verb(&["history", "-n", space, "-o", "json"]).run();
        if history.code != 0 {
            return Vec::new();
        }
        history.json()["revisions"].as_array().cloned().unwrap_or_default()
    }

    /// What the reader has before this command, where the guide does not say how it came.
    #[track_caller]
    fn prepare(&self, typed: &Typed) {
        if typed.verb().is_none() {
            return;
        }
        let is_there = !self.revisions().is_empty();
        let wants_none = typed.verb() == Some("install") || typed.has("--pre");
        if wants_none && is_there {
            self.site.ours("uninstall", &["--yes"]).run().expect(0);
        }
        if !wants_none && !is_there {
            self.site.with_values("install", "values.yaml", &[]).run().expect(0);
        }
        if typed.verb() == Some("rollback") {
            for number in self.revisions().len()..4 {
                let again = format!("conf.maas.workers={}", 4 + number);
                let set = ["--set", &again];
                self.site.with_values("upgrade", "values.yaml", &set).run().expect(0);
            }
        }
    }

    /// Runs it in the namespace that is the test's own.
    #[track_caller]
    fn types(&self, typed: &Typed) {
        let (name, own) = (&self.site.namespace.name, format!("-n {}", self.site.namespace.name));
        let mut here = Typed(typed.0.replace("-n maas", &own));
        // The test's own is there already.
        let (made, found) = (format!("get namespace {name}"), "create namespace maas");
        here.0 = here.0.replace(found, &made);
        if here.has("--watch") {
            // Until Ctrl-C.
            here.0 = format!("timeout --signal INT 5 {}", here.0);
        }
        let folder = self.site.file("values.yaml");
        let folder = folder.parent().expect("a folder");
        let output = here.run(folder, &[("KUBECONFIG", &self.kubeconfig)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().expect("an exit code");
        assert!(expected(typed).contains(&code), "{code}, {here:?}: {said}");
    }
}

/// How it may end here, where a small part of the chart is installed and nobody can answer.
fn expected(typed: &Typed) -> &'static [i32] {
    match typed.verb() {
        Some("uninstall") if !typed.has("--yes") && !typed.has("--dry-run") => &[5],
        Some("diff") if typed.has("--detailed-exitcode") => &[0, 2],
        // Of a command that it ended.
        Some("status") if typed.has("--watch") => &[124],
        // MAAS itself is not there, which they tell.
        Some("status" | "check") => &[0, 1, 5],
        _ => &[0],
    }
}

#[test]
fn the_guide_is_typed() {
    let Some(site) = Site::new("release-guide") else { return };
    site.values("values.yaml", &json!({}));
    std::fs::copy(site.file("values.yaml"), site.file("site.yaml")).expect("values");
    std::fs::write(site.file("rack-7.yaml"), "pod: {replicas: {rack: 7}}\n").expect("values");
    let kubeconfig = std::env::var("KUBECONFIG").expect("KUBECONFIG");
    let reader = Reader { site, kubeconfig };
    for typed in of_the_guide() {
        // Those of bundles have tests of their own, with images; `make` has been run.
        let is_here = typed.verb().is_some_and(|verb| verb != "bundle");
        if !is_here && !typed.0.starts_with("kubectl ") {
            continue;
        }
        reader.prepare(&typed);
        reader.types(&typed);
    }
}
