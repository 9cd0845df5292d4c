//! The harness itself: it must tell a cached build from one that was not, or no other test here
//! means anything.

use crate::harness::{Build, Builder, Context, Daemon, Lab, SOON, command, run, version};

/// A matrix that runs the same version three times would pass, too.
#[test]
fn the_programs_are_of_the_version_that_was_asked_for() {
    let lab = Lab::new();
    for program in ["buildkitd", "buildctl"] {
        let mut ask = command(&lab, program);
        ask.arg("--version");
        let says = run(&lab, program, ask, SOON).ok(program);
        let says = says.split(' ').nth(2).expect("name, origin, version");
        assert!(version::asked().is_none_or(|asked| asked == says), "{says}");
    }
}

#[test]
fn cached_and_not_cached_are_told_apart() {
    let lab = Lab::new();
    let daemon = Daemon::stock(&lab, "buildkitd");
    let context = Context::multi_stage(&lab, "context");
    for (name, builder) in [
        ("buildctl", Builder::buildctl(&daemon)),
        ("remote", Builder::remote(&daemon, "remote")),
    ] {
        let first = lab.path(format!("{name}-1.tar"));
        let second = lab.path(format!("{name}-2.tar"));
        let third = lab.path(format!("{name}-3.tar"));
        let build = Build::new(&context);
        builder
            .build(&build.clone().tar(first.clone()))
            .ok()
            .none_cached();
        builder
            .build(&build.clone().tar(second.clone()))
            .ok()
            .all_cached();
        builder.prune();
        builder.build(&build.tar(third.clone())).ok().none_cached();
        builder.prune();

        let read = |path| std::fs::read(path).expect("read a result");
        assert_eq!(read(first.clone()), read(second), "cached: equal bytes");
        assert_ne!(read(first), read(third), "not cached: random bytes");
    }
}
