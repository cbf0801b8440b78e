//! Options and where they come from, outputs, and what must never be printed.

use std::path::Path;

use e2e::{Mirror, Serving, World, files_below};
use fixtures::{Fault, StreamSpec};
use serde_json::Value;

#[test]
fn flag_over_environment_over_file_over_default() {
    let world = World::of(&StreamSpec::new().version_count(8));
    let file = world.dir().join("config.toml");
    std::fs::write(&file, "max-versions = 2\n").expect("write");
    let versions = |run: Mirror| {
        let args = ["--dry-run", "-o", "json", "--no-bootloaders", "ftype=manifest"];
        let plan = run.args(args).run().expect(0).json();
        plan["item_count"].as_u64().expect("count")
    };
    let with_file = || world.sync().args(["--config".as_ref(), file.as_os_str()]);
    let with_env = |run: Mirror| run.env("MAAS_MIRROR_MAX_VERSIONS", "3");
    assert_eq!(versions(world.sync()), 1);
    assert_eq!(versions(with_file()), 2);
    assert_eq!(versions(world.sync().env("MAAS_MIRROR_CONFIG", &file)), 2);
    assert_eq!(versions(with_env(with_file())), 3);
    assert_eq!(versions(with_env(with_file()).args(["--max-versions", "4"])), 4);
    assert_eq!(versions(with_env(with_file()).args(["--max-versions", "all"])), 8);
    // A table is for its verb alone.
    std::fs::write(
        &file,
        "max-versions = 2\n[sync]\nmax-versions = 5\n[serve]\nmax-versions = 6\n",
    )
    .expect("write");
    assert_eq!(versions(with_file()), 5);
}

#[test]
fn a_whole_configuration_file() {
    let world = World::new();
    let file = world.dir().join("config.toml");
    let text = format!(
        "store = {:?}\nupstream = {:?}\nkeyring = [{:?}]\nrelease = [\"xenial\"]\nretries = 0\nquiet = true\n",
        world.store(),
        world.server.url(),
        world.dir().join("keyring.gpg"),
    );
    std::fs::write(&file, text).expect("write");
    let run = |verb: &str| Mirror::new([verb]).args(["--config".as_ref(), file.as_os_str()]).run();
    assert_eq!(run("sync").expect(0).stdout, "");
    run("verify").expect(0);
    run("status").expect(0);
}

#[track_caller]
fn bad_file(text: &str, says: &str) {
    let world = World::new();
    let file = world.dir().join("config.toml");
    std::fs::write(&file, text).expect("write");
    let run = world.sync().args(["--config".as_ref(), file.as_os_str()]).run().expect(64);
    assert!(run.stderr.starts_with("error: cannot use the configuration file "), "{}", run.stderr);
    assert!(run.stderr.contains(says), "{}", run.stderr);
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
    assert!(world.server.requests().is_empty());
}

#[test]
fn a_configuration_file_that_is_wrong() {
    bad_file("retrys = 1\n", "because there is no option 'retrys'; did you mean 'retries'?");
    bad_file(
        "[sync]\nstorr = \"x\"\n",
        "because there is no option 'sync.storr'; did you mean 'store'?",
    );
    bad_file("[sink]\nstore = \"x\"\n", "because there is no verb 'sink'");
    bad_file("store = ", "at line 1, column ");
    bad_file("quiet = true\nupstream = \"http://me:s3cret@h/\" x\n", "at line 2, column ");
    bad_file("store = 1.5\n", "because store: only texts");
    let missing = Mirror::new(["status", "--config", "/nonexistent.toml"]).run().expect(64);
    assert!(missing.stderr.contains("because No such file"), "{}", missing.stderr);
}

/// A report that is cut short by a full disk is no success.
#[test]
fn data_that_cannot_be_printed() {
    let world = World::synced();
    for args in [&["status"][..], &["list", "-o", "json"], &["list", "--files"]] {
        let run = world.mirror(args[0]).args(&args[1..]).to_full_disk().run().expect(1);
        assert!(run.stderr.contains("the output is not complete"), "{}", run.stderr);
    }
}

#[test]
fn usage_errors() {
    for (args, says) in [
        (&["sync", "--bogus"][..], "unexpected argument '--bogus'"),
        (&["sink"], "unrecognized subcommand 'sink'"),
        (&["sync", "no-operator"], "no-operator"),
        (&["sync", "release~("], "release~("),
        (&["sync", "--grace", "soon"], "write a duration such as 6h"),
        (&["sync", "--grace=-1h"], "write a duration such as 6h"),
        (&["sync", "--max-versions", "0"], "neither a number from 1 nor 'all'"),
        (&["sync", "--parallel", "0"], "--parallel"),
        (&["sync", "--upstream", "ftp://h/"], "only http://, https:// and oci:// are supported"),
        (&["sync", "--upstream", "http://h/streams/v1/index.json"], "is not signed"),
        (&["serve", "--once"], "--upstream"),
        (&["serve", "--listen", "nowhere"], "write ADDRESS:PORT"),
        (&["serve", "--upstream", "http://h/", "--once", "--every", "1h"], "cannot be used with"),
        (&["serve", "--every", "1h"], "--every is given without --upstream"),
        (&["sync", "arch~(("], "Opening parenthesis"),
        (&["status", "-o", "yaml"], "possible values: text, json"),
        (&["completions", "tcsh"], "possible values"),
        (&[], "Usage: maas-mirror"),
    ] {
        let run = Mirror::new(args).run().expect(64);
        assert!(run.stderr.contains(says), "{args:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
    }
    let wrong = Mirror::new(["status"]).env("MAAS_MIRROR_OUTPUT", "yaml").run().expect(64);
    assert!(wrong.stderr.contains("possible values"), "{}", wrong.stderr);
}

#[test]
fn version_help_and_completions() {
    let version = Mirror::new(["--version"]).run().expect(0);
    assert!(version.stdout.starts_with("maas-mirror "), "{}", version.stdout);
    for verb in ["", "sync", "serve", "verify", "status", "list", "prune", "completions"] {
        let args = [verb, "--help"].into_iter().filter(|arg| !arg.is_empty());
        let help = Mirror::new(args).run().expect(0);
        assert!(help.stdout.contains("Usage: maas-mirror"), "{}", help.stdout);
        assert_eq!(help.stderr, "");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = Mirror::new(["completions", shell]).run().expect(0).stdout;
        assert!(script.contains("maas-mirror") && script.contains("upstream"), "{shell}");
    }
}

#[test]
fn bash_completes_verbs_and_their_options() {
    let script = Mirror::new(["completions", "bash"]).run().expect(0).stdout;
    // What bash does at a Tab: words, the current one, and the one before it.
    let complete = |words: &[&str]| -> String {
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let call = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; _maas__mirror maas-mirror '{last}' '{before}'; \
             printf '%s ' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1,
        );
        let run = std::process::Command::new("bash").args(["-c", &call]).output().expect("bash");
        String::from_utf8(run.stdout).expect("text")
    };
    assert_eq!(complete(&["maas-mirror", "sy"]), "sync ");
    assert_eq!(complete(&["maas-mirror", "verify", "--re"]), "--repair --report ");
    assert_eq!(complete(&["maas-mirror", "sync", "--progress", "p"]), "plain ");
}

#[test]
fn json_is_one_object() {
    let (world, _) = World::held();
    let json = |run: Mirror, code: i32| -> Value {
        let value = run.args(["-o", "json"]).run().expect(code).json();
        let schema = value["schema"].as_str().expect("schema").to_owned();
        assert!(schema.starts_with("maas-mirror/"), "{schema}");
        value
    };
    json(world.sync(), 0);
    json(world.sync().args(["--dry-run"]), 0);
    json(world.verify(), 0);
    json(world.mirror("status"), 0);
    json(world.mirror("list"), 0);
    json(world.mirror("prune"), 0);
    let error = json(world.at("status", Path::new("/nonexistent")), 1);
    assert_eq!(error["exit_code"], 1);
    assert_eq!(error["causes"][0], "there is no store at /nonexistent");
    let error = json(world.sync().args(["release=warty"]), 1);
    assert!(error["hint"].as_str().expect("hint").contains("--release"));
    world.server.fault(Fault::on("index.sjson").status(404));
    assert_eq!(json(world.sync(), 1)["exit_code"], 1);
    json(world.sync().args(["--keyring", "/nonexistent"]), 1);
    // A report that cannot be written, and a repair that cannot be made.
    json(world.verify().args(["--report", "/nonexistent/x"]), 1);
    let squashfs = world.stream.items["xenial/amd64/20210928/squashfs"].sha256();
    std::fs::remove_file(world.store().join("blobs/sha256").join(squashfs)).expect("remove");
    assert_eq!(json(world.verify(), 4)["intact"], false);
    let lock = std::fs::File::open(world.store().join(".maas-mirror/lock")).expect("lock");
    lock.lock().expect("lock");
    json(world.verify().args(["--repair"]), 6);
}

#[test]
fn passwords_are_not_shown() {
    let (world, _) = World::held_and_newer();
    let url = world.server.url().replace("//", "//robot:s3cret-word@");
    let mut said = String::new();
    let mut hear = |run: e2e::Run| said.push_str(&(run.stdout + &run.stderr));
    let sync = || world.sync_from(&url).args(["-v", "-v"]);
    world.server.clear_log();
    hear(sync().args(["--dry-run"]).run().expect(0));
    let asked = &world.server.requests()[0];
    assert_eq!(asked.header("authorization"), Some("Basic cm9ib3Q6czNjcmV0LXdvcmQ="));
    world.server.fault(Fault::on("20211015/squashfs").status(500));
    hear(sync().env("MAAS_MIRROR_RETRIES", "1").run().expect(3));
    hear(sync().args(["-o", "json"]).run().expect(3));
    world.server.fault(Fault::on("index.sjson").drop_after(100));
    hear(sync().run().expect(1));
    hear(sync().args(["-o", "json", "--log-format", "json"]).run().expect(1));
    world.server.clear_faults();
    let serve = world.serve().args(["--upstream", &url, "-v", "-v"]).args(world.keyring_args());
    let serving = Serving::ready(serve);
    e2e::eventually("the new version", || {
        serving.get("/images/xenial/amd64/20211015/squashfs").status == 200
    });
    hear(serving.stop());
    for verb in ["status", "list"] {
        hear(world.mirror(verb).run().expect(0));
        hear(world.mirror(verb).args(["-o", "json"]).run().expect(0));
    }
    // Values that are wrong are shown, but not with their passwords.
    hear(world.sync_from("ftp://robot:s3cret-word@h/").run().expect(64));
    hear(world.sync_from("http://robot:s3cret-word@h/?x").run().expect(64));
    let wrong = world.mirror("sync").env("MAAS_MIRROR_UPSTREAM", "ftp://robot:s3cret-word@h/");
    hear(wrong.run().expect(64));
    for path in files_below(&world.store()) {
        said.push_str(&String::from_utf8_lossy(&std::fs::read(path).expect("file")));
    }
    for secret in ["s3cret-word", "robot:", "cm9ib3Q6czNjcmV0LXdvcmQ="] {
        let at = said.find(secret);
        assert!(at.is_none(), "{:?}", at.map(|at| &said[at.saturating_sub(300)..at + 20]));
    }
}
