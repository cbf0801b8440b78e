//! The program as process 1 of a container, and as one that is started in it from outside.

use std::io::Write as _;

use e2e::{Running, Serving, World, children, eventually};
use fixtures::Fault;
use rustix::process::{Pid, Signal, kill_process};

/// The process that is number 1 in the namespace of `running`.
fn process_1(running: &Running) -> u32 {
    let all = children(running.pid());
    assert_eq!(all.len(), 1, "{all:?}: {}", running.stderr());
    all[0].0
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).expect("signal");
}

#[test]
fn gpg_leaves_no_zombies_behind() {
    let world = World::new();
    let Some(mirror) = world.serve_and_sync().as_process_1() else { return };
    // Each sync runs gpg, as the index is another one.
    let serving = Serving::ready(mirror);
    let process_1 = process_1(serving.process());
    let served = children(process_1).iter().filter(|(_, state)| *state != 'Z').count();
    assert_eq!(served, 1, "the server is its only child");
    eventually("what has ended to be waited for", || {
        children(process_1).iter().all(|(_, state)| *state != 'Z')
    });
    // It ends as ever: responses under way do, and the exit code is the server's.
    signal(process_1, Signal::TERM);
    let (_, serving) = serving.into_parts();
    let run = serving.wait().expect(0);
    assert!(run.stderr.contains("no more connections are taken"), "{}", run.stderr);
    world.verify().run().expect(0);
}

#[test]
fn the_exit_code_is_that_of_the_server() {
    let world = World::synced();
    let Some(mirror) = world.serve().as_process_1() else { return };
    let serving = Serving::ready(mirror);
    let server = children(process_1(serving.process()))[0].0;
    signal(server, Signal::KILL);
    serving.into_parts().1.wait().expect(137);
    let usage = world.serve().args(["--tls-cert", "x"]).as_process_1().expect("root");
    usage.run().expect(64);
}

#[test]
fn an_interrupted_download_goes_on_in_the_next_container() {
    let world = World::new();
    let gate = fixtures::Gate::new();
    world.server.fault(Fault::on("squashfs").hold_after(1000, &gate));
    let Some(mirror) = world.serve_and_sync().as_process_1() else { return };
    let serving = Serving::start(mirror);
    assert!(world.server.wait_for("xenial/amd64/20210928/squashfs", 1, e2e::PATIENCE));
    signal(process_1(serving.process()), Signal::INT);
    serving.into_parts().1.wait().expect(0);
    // The store is let go of.
    gate.open();
    world.server.clear_faults();
    world.sync().run().expect(0);
}

/// Writes more than a pipe holds to an import that is refused; whether all of it was taken.
fn refused(mirror: e2e::Mirror) -> (e2e::Run, std::io::Result<()>) {
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let running = mirror.stdin(reader).spawn();
    let sent = writer.write_all(&vec![b'x'; 3 << 20]);
    drop(writer);
    (running.wait(), sent)
}

#[test]
fn an_import_that_is_refused_takes_what_is_sent_from_outside() {
    let world = World::new();
    let import = || world.mirror("import").args(["-", "--keyring", "/nonexistent.gpg"]);
    let Some(inside) = import().as_process_1() else { return };
    let (run, sent) = refused(inside);
    sent.expect("all of it is taken");
    let inside = run.expect(1);
    assert!(inside.stderr.contains("/nonexistent.gpg"), "{}", inside.stderr);
    assert!(inside.stderr.contains("thrown away"), "{}", inside.stderr);
    // A usage error as well.
    let (run, sent) =
        refused(world.mirror("import").args(["-", "--nonsense"]).as_process_1().unwrap());
    sent.expect("all of it is taken");
    run.expect(64);
    // Elsewhere a pipe breaks, at once.
    let (outside, sent) = refused(import());
    assert_eq!(sent.expect_err("nobody reads it").kind(), std::io::ErrorKind::BrokenPipe);
    outside.expect(1);
}
