//! The version, with the commit and its date as far as the build knew them.

use std::sync::LazyLock;

/// `0.1.0 (0123456789ab, 2026-01-31)`.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("GIT_COMMIT").filter(|commit| !commit.is_empty());
    let date = option_env!("GIT_COMMIT_EPOCH").and_then(date);
    text(commit, date.as_deref())
});

pub fn version() -> &'static str {
    &TEXT
}

fn text(commit: Option<&str>, date: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let known: Vec<_> = commit.into_iter().chain(date).collect();
    if known.is_empty() {
        version.to_owned()
    } else {
        format!("{version} ({})", known.join(", "))
    }
}

fn date(epoch: &str) -> Option<String> {
    let time = jiff::Timestamp::from_second(epoch.parse().ok()?).ok()?;
    Some(time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_build_did_not_know_is_left_out() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(text(None, None), version);
        let date = date("1700000000").unwrap();
        let all = text(Some("0123abcd"), Some(&date));
        assert_eq!(all, format!("{version} (0123abcd, 2023-11-14)"));
    }
}
