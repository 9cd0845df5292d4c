//! Compiles `proto/` with protox, so that nobody needs a protoc, and finds out what is built.

use std::{error::Error, path::Path, process::Command};

const FILES: [&str; 5] = [
    "proto/content.proto",
    "proto/control.proto",
    "proto/actions_cache.proto",
    "proto/health.proto",
    "proto/trace.proto",
];

/// What a reproducible build takes instead of any other time.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={SOURCE_DATE_EPOCH}");
    tell_version();
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".containerd.services.content.v1.WriteContentRequest.data")
        .bytes(".containerd.services.content.v1.ReadContentResponse.data")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The commit and its time. Both depend on the source alone, never on when or where it is built;
/// without git or outside a checkout they are left out.
fn tell_version() {
    let in_checkout = Path::new(".git").exists();
    let git = |args: &[&str]| in_checkout.then(|| git(args)).flatten();
    for name in ["HEAD", "packed-refs"] {
        watch(git(&["rev-parse", "--git-path", name]));
    }
    if let Some(branch) = git(&["symbolic-ref", "--quiet", "HEAD"]) {
        watch(git(&["rev-parse", "--git-path", &branch]));
    }
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo:rustc-env=GIT_COMMIT={commit}");
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a setting of the build, not of the program"
    )]
    let said = std::env::var(SOURCE_DATE_EPOCH).ok();
    let epoch = said.or_else(|| git(&["log", "-1", "--format=%ct"]));
    if let Some(epoch) = epoch {
        println!("cargo:rustc-env=GIT_COMMIT_EPOCH={epoch}");
    }
}

/// A path that does not exist would make every build a new one.
fn watch(path: Option<String>) {
    if let Some(path) = path.filter(|path| Path::new(path).exists()) {
        println!("cargo:rerun-if-changed={path}");
    }
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| text.trim().to_owned())
}
