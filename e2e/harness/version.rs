//! Which BuildKit the suite runs against: the present one, or that of `BUILDKIT_VERSION`.

use std::{path::Path, sync::LazyLock};

/// What the suite built.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin");

/// The version that was asked for, like `v0.26.3`.
static ASKED: LazyLock<Option<String>> = LazyLock::new(|| {
    #[expect(
        clippy::disallowed_methods,
        reason = "a setting of the suite, not of the program"
    )]
    let asked = std::env::var("BUILDKIT_VERSION").ok();
    asked.inspect(|version| {
        assert!(
            Path::new(TOOLS).join(version).join("buildkitd").exists(),
            "BuildKit {version} is not there: tools/setup.sh --matrix"
        );
    })
});

/// The version that was asked for; `None` is the present one.
pub fn asked() -> Option<&'static str> {
    ASKED.as_deref()
}

/// Where the tools are, for `PATH`.
pub fn tools() -> String {
    match asked() {
        Some(version) => format!("{TOOLS}/{version}:{TOOLS}"),
        None => TOOLS.to_owned(),
    }
}

/// The present buildkitd, but for what it takes for a genuine signature (`e2e/signing`).
pub const SEALING_BUILDKITD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/sealing/buildkitd");

/// The program of [`super::Eavesdropper`].
pub const EAVESDROPPER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/eavesdropper");

/// What starts buildkitd in the image of the BuildKit under test: upstream's script, where it has one.
pub fn entry_point() -> &'static str {
    if since(32) {
        "/usr/bin/buildkitd-entrypoint"
    } else {
        "buildkitd"
    }
}

/// A program for arm64, for a step of that platform.
pub const PLATFORM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/platform");

/// Fails where the BuildKit under test does not read `[cache.gha]`. `make test-matrix` skips the
/// tests of it there, and says so by their number.
pub fn must_sign() {
    assert!(
        since(27),
        "BuildKit {} has no signatures: skip this test",
        asked().unwrap_or_default()
    );
}

/// True if the BuildKit under test is version 0.`minor` or newer.
fn since(minor: u32) -> bool {
    asked().is_none_or(|version| {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, rest) = (numbers.next(), numbers.next());
        let is: u32 = rest
            .and_then(|minor| minor.parse().ok())
            .expect("a version");
        major != Some("0") || is >= minor
    })
}
