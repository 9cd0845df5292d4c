//! What the gateway logs: its own settings first, then those that buildkitd reads, too.

use super::{Env, Flags};

/// What is logged when nothing is said.
const DEFAULT_FILTER: &str = "info";

/// What to log and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// In the syntax of `RUST_LOG`.
    pub filter: String,
    /// `text` or `json`, as it was written.
    pub format: Option<String>,
}

impl LogSettings {
    /// The settings of a command that has no flags of buildkitd's.
    pub fn read(filter: Option<String>, format: Option<String>, env: &Env) -> Self {
        let get = |name| env.get(name).map(str::to_owned);
        Self {
            filter: filter
                .or_else(|| get("BUILDKIT_GHA_LOG"))
                .unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            format: format.or_else(|| get("BUILDKIT_GHA_LOG_FORMAT")),
        }
    }

    /// The settings of `gateway`: buildkitd's `--debug`, `--log-level` and `--log-format` count
    /// where nothing of our own says otherwise.
    pub fn for_gateway(flags: &Flags, outer: Option<String>, env: &Env) -> Self {
        let env = flags.apply_to(env);
        let by_flag = env.source("BUILDKIT_GHA_LOG") != "BUILDKIT_GHA_LOG";
        let outer = outer.filter(|_| !by_flag);
        let own = outer.or_else(|| env.get("BUILDKIT_GHA_LOG").map(str::to_owned));
        let own = own.or_else(|| level(flags, &env).map(filter));
        // buildkitd complains of a format that is none.
        let known = |format: &String| ["text", "json"].contains(&format.as_str());
        Self::read(own, flags.log_format.clone().filter(known), &env)
    }
}

/// buildkitd's order: `--log-level` and its variable win over the switches.
fn level<'a>(flags: &'a Flags, env: &'a Env) -> Option<&'static str> {
    let level = flags.log_level.as_deref();
    match level.or_else(|| env.get("BUILDKITD_LOG_LEVEL")) {
        Some("panic" | "fatal" | "error") => Some("error"),
        Some("warn" | "warning") => Some("warn"),
        Some("info") => Some("info"),
        Some("debug") => Some("debug"),
        Some("trace") => Some("trace"),
        // buildkitd complains of it.
        Some(_) => None,
        None if flags.trace => Some("trace"),
        None => flags.debug.then_some("debug"),
    }
}

/// Libraries below `info` drown what the gateway itself has to say.
fn filter(level: &str) -> String {
    match level {
        "debug" | "trace" => format!("{DEFAULT_FILTER},buildkit_gha={level}"),
        level => level.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(args: &[&str], env: &[(&str, &str)]) -> LogSettings {
        let flags = Flags::parse(args.iter().map(Into::into)).unwrap();
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        LogSettings::for_gateway(&flags, None, &env.collect())
    }

    #[test]
    fn buildkitds_flags_count_unless_our_own_say_otherwise() {
        let own = [("BUILDKIT_GHA_LOG", "warn")];
        let buildkitd = [("BUILDKITD_LOG_LEVEL", "error")];
        for (args, env, filter) in [
            (&[][..], &[][..], "info"),
            (&["--debug"], &[], "info,buildkit_gha=debug"),
            (&["--debug", "--log-level=warning"], &[], "warn"),
            (&["--log-level", "nonsense"], &[], "info"),
            (&["--debug"], &own, "warn"),
            (&["--debug"], &buildkitd, "error"),
            (&["--log", "h2=trace", "--debug"], &own, "h2=trace"),
        ] {
            assert_eq!(log(args, env).filter, filter, "{args:?} {env:?}");
        }
        assert_eq!(log(&["--log-format=json"], &[]).format.unwrap(), "json");
    }
}
