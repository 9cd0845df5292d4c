//! Every setting: its environment variable, its flag, and what people are told of it.
//!
//! The flag of `BUILDKIT_GHA_SPOOL_DIR` is `--spool-dir`, and so for each. Tokens alone have no
//! flag: everybody on the machine can read a command line.

use super::{Env, ModuleConfigs, limit::Limit};

/// What every variable of ours begins with.
pub const PREFIX: &str = "BUILDKIT_GHA_";

/// Two names further apart than this, from 0 to 1, are not meant for one another.
const LEAST_LIKENESS: f64 = 0.7;

/// One setting of `gateway`: a row of [`SETTINGS`].
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its variable, without [`PREFIX`].
    name: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// What it is.
    pub help: &'static str,
    /// What is taken when nothing is said, in words for people; empty where the value itself says it.
    default: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
    /// True if it may stand on a command line.
    pub has_flag: bool,
    /// Where its value goes, if that is all that becomes of it.
    pub(super) limit: Option<Limit>,
}

const fn setting(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
    why: &'static str,
) -> Setting {
    Setting {
        name,
        value,
        help,
        default,
        why,
        has_flag: true,
        limit: None,
    }
}

const fn secret(name: &'static str, value: &'static str, help: &'static str) -> Setting {
    Setting {
        has_flag: false,
        ..setting(name, value, "", help, "")
    }
}

const fn limit(
    name: &'static str,
    limit: Limit,
    default: &'static str,
    help: &'static str,
    why: &'static str,
) -> Setting {
    Setting {
        limit: Some(limit),
        ..setting(name, limit.placeholder(), default, help, why)
    }
}

/// The settings of `gateway`. A new limit is a row here, and `make docs`. Its default is that of the
/// module that owns it, and is shown as it is unless the row has other words for it.
#[rustfmt::skip] // A table is read by its columns.
pub const SETTINGS: [Setting; 26] = [
    setting("UPSTREAM", "ADDR", "start one", "Front a buildkitd that is running already", ""),
    setting("BUILDKITD", "PATH", "buildkitd", "The buildkitd to start", ""),
    setting("URL", "URL", "", "The cache service; with a token for it, wins over the attributes of entries", ""),
    secret("TOKEN", "TOKEN", "The token for it; with the URL, wins over the attributes of entries"),
    setting("TOKEN_FILE", "PATH", "", "A file with that token, read again for each build", ""),
    setting("DEFAULT_CACHE", "ENTRY", "", "The cache of builds that name none of type gha, as in type=gha,scope=app,mode=max", ""),
    setting("IMPORT", "WAY", "loopback, or content where build steps could listen", "How buildkitd reads layers: loopback (over HTTP), or content (over the session, where it cannot reach the gateway)",
        "Loopback is faster; what build steps may listen to should not pass there in clear"),
    setting("IMPORT_LISTEN", "ADDR", "127.0.0.1:0", "Where buildkitd reads layers from the gateway",
        "buildkitd is on the same host"),
    setting("IMPORT_URL", "URL", "that address", "What buildkitd reaches it by, from another network namespace", ""),
    setting("IMPORT_TLS_CERT", "PATH", "made at the start", "A certificate for it that buildkitd trusts, with --upstream", ""),
    setting("IMPORT_TLS_KEY", "PATH", "", "Its key", ""),
    setting("SPOOL_DIR", "DIR", "in buildkitd's root", "Where layers wait on their way",
        "It is on a disk with room; the system's temporary folder may be memory"),
    limit("EXPORT_SPOOL", Limit::Size(|m| &mut m.cache.export_spool_bytes), "", "How much of it exports may take",
        "A repository's cache holds 10 GB: a larger export could not stay there"),
    limit("IMPORT_SPOOL", Limit::Size(|m| &mut m.cache.import_spool_bytes), "", "How much of it imports may take",
        "BuildKit pulls four layers at once: four of 2 GiB"),
    limit("SPOOL_FREE", Limit::SizeIfSaid(|m| &mut m.cache.spool_free), "a tenth of the disk", "What exports leave free on the disk of the spool",
        "It is the disk of every build; at least 1 GB and at most 4 GB, if this is not set"),
    limit("INDEX_WAIT", Limit::Duration(|m| &mut m.interceptor.index_wait), "", "How long a build waits for the index of its imports",
        "Long enough for a service that answers, and all that one costs that does not"),
    limit("LOOKUP_WAIT", Limit::Duration(|m| &mut m.cache.lookup_wait), "", "How long a build waits in all for slow or throttled lookups",
        "Running the steps again costs about as much"),
    limit("NO_PROGRESS", Limit::Duration(|m| &mut m.cache.client.no_progress), "", "How long a transfer may stand still before it is made again",
        "A slow link is no fault, a silent one is"),
    limit("CALL_TIMEOUT", Limit::Duration(|m| &mut m.cache.client.call_timeout), "", "How long one call of the cache's API may take",
        "GitHub's front end gives up by itself after 60 s"),
    limit("CREATIONS_PER_MINUTE", Limit::PerMinute(|m| &mut m.http.budgets.creations), "200 on github.com", "Calls that make entries, or unlimited",
        "What github.com takes; elsewhere unlimited"),
    limit("LOOKUPS_PER_MINUTE", Limit::PerMinute(|m| &mut m.http.budgets.lookups), "1500 on github.com", "Calls that look entries up, or unlimited",
        "What github.com takes; elsewhere unlimited"),
    limit("DRAIN", Limit::DurationOrZero(|m| &mut m.drain), "", "How long builds in flight may go on after SIGTERM or SIGINT",
        "The default `timeout` of an export; whoever sends the signal ends the wait earlier by force"),
    setting("ADMIN_SOCKET", "PATH", "buildkit-gha.sock beside the first unix socket", "Where `stats`, `drain` and `doctor` reach the gateway, or off",
        "Whoever may use the builder's socket need not see every build: it is for the gateway's own user and root"),
    setting("METRICS_LISTEN", "ADDR", "off", "Where /healthz, /readyz and /metrics can be had over TCP, too",
        "It has no authentication"),
    setting("LOG", "FILTER", "info", "What to log, in the syntax of RUST_LOG", ""),
    setting("LOG_FORMAT", "FORMAT", "text", "How log lines look: text or json", ""),
];

/// Variables of the other commands, whose flags clap reads.
const OTHERS: [&str; 41] = [
    "ACCESS_LOG",
    "ADDR",
    "ADVERTISE",
    "AUDIT_LOG",
    "BASE_URL",
    "DATABASE",
    "DATA_DIR",
    "DIRECT",
    "DRAIN_TIMEOUT",
    "FORGEJO_SECRET_FILE",
    "FROM_DATABASE",
    "FROM_DATA_DIR",
    "FROM_STORE",
    "GITEA_SECRET_FILE",
    "JWKS_URL",
    "LISTEN",
    "LOW_WATER",
    "MAX_AGE",
    "MAX_ENTRIES",
    "MAX_LOOKUPS_PER_MINUTE",
    "MAX_REPOSITORY_ENTRIES",
    "MAX_REPOSITORY_SIZE",
    "MAX_RESERVATIONS_PER_MINUTE",
    "MAX_SIZE",
    "PAGE",
    "PROXY_PROTOCOL",
    "RESERVATION_AGE",
    "ROOT",
    "SCOPE",
    "STORE",
    "TLS_CERT",
    "TLS_KEY",
    "TO_DATABASE",
    "TO_DATA_DIR",
    "TO_STORE",
    "TRUSTED_PROXY",
    "TRUST_ISSUER",
    "TRUST_REPOSITORY",
    "TTL",
    "UPSTREAM_RESULTS_URL",
    "URL_TTL",
];

impl Setting {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Its flag, without dashes.
    pub fn flag(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// What is taken when nothing is said, in words for people.
    pub fn default(&self) -> String {
        match self.limit {
            Some(limit) if self.default.is_empty() => limit.display(&mut ModuleConfigs::default()),
            _ => self.default.to_owned(),
        }
    }

    /// The setting of a flag that is the gateway's alone. `--log-format` is buildkitd's, too.
    pub(super) fn find_by_flag(flag: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| {
            setting.has_flag && setting.name != "LOG_FORMAT" && setting.flag() == flag
        })
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Setting {}

/// One line for each variable that looks like ours and is none: a slip that would go unseen. The
/// value may be a secret and is not shown.
pub fn unknown_variables(env: &Env) -> Vec<String> {
    let known: Vec<&str> = SETTINGS.iter().map(|s| s.name).chain(OTHERS).collect();
    let ours = env.names().filter_map(|name| name.strip_prefix(PREFIX));
    ours.filter(|name| !known.contains(name))
        .map(|name| {
            let likeness = |known: &str| strsim::jaro_winkler(known, name);
            let nearest = known
                .iter()
                .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let hint = match nearest {
                Some(nearest) if likeness(nearest) > LEAST_LIKENESS => {
                    format!("; did you mean {PREFIX}{nearest}?")
                }
                _ => String::new(),
            };
            format!("{PREFIX}{name} is not a setting of buildkit-gha and is ignored{hint}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn a_slip_is_one_line_with_the_nearest_name() {
        let env: Env = [
            ("BUILDKIT_GHA_TOKN", "hunter2"),
            ("BUILDKIT_GHA_EXPORT_SPOOL_SIZE", "1GB"),
            ("BUILDKIT_GHA_DRAIN", "1m"),
            ("BUILDKIT_GHA_ZZZ", ""),
            ("BUILDX_CONFIG", "/x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
        let lines = unknown_variables(&env);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].ends_with("did you mean BUILDKIT_GHA_EXPORT_SPOOL?"));
        assert!(lines[1].ends_with("did you mean BUILDKIT_GHA_TOKEN?"));
        assert!(lines[2].ends_with("ignored"));
        assert!(!lines.concat().contains("hunter2"));
    }

    /// What is read anywhere and is not in the table would be warned of.
    #[test]
    fn every_variable_in_the_source_is_in_the_table() {
        let pattern = regex::Regex::new(r#""BUILDKIT_GHA_([A-Z_]+)"#).unwrap();
        let mut read = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("config/settings.rs") {
                    let source = fs::read_to_string(path).unwrap();
                    read.extend(pattern.captures_iter(&source).map(|c| c[1].to_owned()));
                }
            }
        }
        assert!(read.len() > 10, "{read:?}");
        let known: Vec<_> = SETTINGS.iter().map(|s| s.name).chain(OTHERS).collect();
        read.retain(|name| !known.contains(&name.as_str()));
        assert!(read.is_empty(), "{read:?} are in no table");
    }
}
