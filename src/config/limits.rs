//! Bounds of time and space that an operator may move: one environment variable each.
//!
//! What is not said here keeps the default of the room that owns the limit.

use std::{fmt, time::Duration};

use super::{Env, duration, gateway::ConfigErrors, size};
use crate::cache::{Budgets, PerMinute, Settings, go_duration};

/// How long builds in flight may go on after a signal that asks for the end. It is the default
/// `timeout` of an export, so that an export which keeps its time loses nothing; whoever sends the
/// signal has a patience of his own (`docker stop` 10 s, Kubernetes 30 s, systemd 90 s) and ends
/// the wait earlier by force.
pub const DRAIN: Duration = Duration::from_mins(10);

/// The bounds that the environment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `BUILDKIT_GHA_DRAIN`, see [`DRAIN`].
    pub drain: Duration,
    /// `BUILDKIT_GHA_NO_PROGRESS`: how long a transfer may go without moving one byte.
    pub no_progress: Option<Duration>,
    /// `BUILDKIT_GHA_INDEX_WAIT`: how long a build waits for the indexes of its imports.
    pub index_wait: Option<Duration>,
    /// `BUILDKIT_GHA_LOOKUP_WAIT`: how long the lookups of one import may wait in all.
    pub lookup_wait: Option<Duration>,
    /// `BUILDKIT_GHA_CALL_TIMEOUT`: how long one API call may take at most.
    pub call_timeout: Option<Duration>,
    /// `BUILDKIT_GHA_EXPORT_SPOOL`: bytes that exports may keep on disk.
    pub export_spool: Option<u64>,
    /// `BUILDKIT_GHA_IMPORT_SPOOL`: bytes that imports may keep on disk.
    pub import_spool: Option<u64>,
    /// `BUILDKIT_GHA_SPOOL_FREE`: bytes that exports leave free on the disk of the spool.
    pub spool_free: Option<u64>,
    /// `BUILDKIT_GHA_CREATIONS_PER_MINUTE` and `BUILDKIT_GHA_LOOKUPS_PER_MINUTE`: a number, or
    /// `unlimited`.
    pub budgets: Budgets,
}

impl Limits {
    /// Reads the environment; what cannot be used becomes a mistake.
    pub(super) fn read(env: &Env, mistakes: &mut ConfigErrors) -> Self {
        let drain = read(env, "BUILDKIT_GHA_DRAIN", go_duration::parse, mistakes);
        let mut pace = |name| read(env, name, per_minute, mistakes).unwrap_or_default();
        let budgets = Budgets {
            creations: pace("BUILDKIT_GHA_CREATIONS_PER_MINUTE"),
            lookups: pace("BUILDKIT_GHA_LOOKUPS_PER_MINUTE"),
        };
        let mut time = |name| read(env, name, duration::parse, mistakes);
        Self {
            drain: drain.unwrap_or(DRAIN),
            no_progress: time("BUILDKIT_GHA_NO_PROGRESS"),
            index_wait: time("BUILDKIT_GHA_INDEX_WAIT"),
            lookup_wait: time("BUILDKIT_GHA_LOOKUP_WAIT"),
            call_timeout: time("BUILDKIT_GHA_CALL_TIMEOUT"),
            export_spool: read(env, "BUILDKIT_GHA_EXPORT_SPOOL", size::parse, mistakes),
            import_spool: read(env, "BUILDKIT_GHA_IMPORT_SPOOL", size::parse, mistakes),
            spool_free: read(env, "BUILDKIT_GHA_SPOOL_FREE", size::parse, mistakes),
            budgets,
        }
    }

    /// Moves the bounds of the cache.
    pub fn apply(&self, settings: &mut Settings) {
        fn set<T: Copy>(target: &mut T, value: Option<T>) {
            *target = value.unwrap_or(*target);
        }
        set(&mut settings.client.no_progress, self.no_progress);
        set(&mut settings.client.call_timeout, self.call_timeout);
        set(&mut settings.promise_wait, self.lookup_wait);
        set(&mut settings.export_spool_bytes, self.export_spool);
        set(&mut settings.import_spool_bytes, self.import_spool);
        settings.spool_free = self.spool_free.or(settings.spool_free);
    }
}

fn read<T, E: fmt::Display>(
    env: &Env,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
    mistakes: &mut ConfigErrors,
) -> Option<T> {
    let text = env.get(name)?;
    mistakes.take(parse(text).map_err(|why| format!("{}={text:?}: {why}", env.source(name))))
}

fn per_minute(text: &str) -> Result<PerMinute, &'static str> {
    match text.parse() {
        _ if text == "unlimited" => Ok(PerMinute::Unlimited),
        Ok(calls) if calls > 0 => Ok(PerMinute::Calls(calls)),
        _ => Err("neither a number above 0 nor unlimited"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(env: &[(&str, &str)]) -> (Limits, String) {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut mistakes = ConfigErrors::default();
        let limits = Limits::read(&env.collect(), &mut mistakes);
        let mistakes = mistakes
            .none()
            .map_or_else(|e| e.to_string(), |()| String::new());
        (limits, mistakes)
    }

    #[test]
    fn what_is_said_moves_a_bound_and_the_rest_stays() {
        let (limits, mistakes) = limits(&[
            ("BUILDKIT_GHA_NO_PROGRESS", "1m30s"),
            ("BUILDKIT_GHA_DRAIN", "0"),
            ("BUILDKIT_GHA_LOOKUP_WAIT", "7s"),
            ("BUILDKIT_GHA_EXPORT_SPOOL", "2GB"),
            ("BUILDKIT_GHA_IMPORT_SPOOL", ""),
            ("BUILDKIT_GHA_SPOOL_FREE", "3GB"),
            ("BUILDKIT_GHA_CREATIONS_PER_MINUTE", "20"),
            ("BUILDKIT_GHA_LOOKUPS_PER_MINUTE", "unlimited"),
        ]);
        assert_eq!(mistakes, "");
        assert_eq!(limits.drain, Duration::ZERO);
        assert_eq!(limits.budgets.creations, PerMinute::Calls(20));
        assert_eq!(limits.budgets.lookups, PerMinute::Unlimited);
        let before = Settings::new("/spool".into());
        let mut settings = before.clone();
        limits.apply(&mut settings);
        assert_eq!(settings.client.no_progress, Duration::from_secs(90));
        assert_eq!(settings.promise_wait, Duration::from_secs(7));
        assert_eq!(settings.export_spool_bytes, 2 << 30);
        assert_eq!(settings.spool_free, Some(3 << 30));
        assert_eq!(settings.import_spool_bytes, before.import_spool_bytes);
        assert_eq!(settings.client.call_timeout, before.client.call_timeout);
    }

    #[test]
    fn each_mistake_names_the_variable_and_its_value() {
        let (_, mistakes) = limits(&[
            ("BUILDKIT_GHA_NO_PROGRESS", "0s"),
            ("BUILDKIT_GHA_INDEX_WAIT", "5"),
            ("BUILDKIT_GHA_CALL_TIMEOUT", "-1s"),
            ("BUILDKIT_GHA_IMPORT_SPOOL", "lots"),
            ("BUILDKIT_GHA_LOOKUPS_PER_MINUTE", "0"),
        ]);
        let expected = [
            "BUILDKIT_GHA_LOOKUPS_PER_MINUTE=\"0\": neither a number above 0 nor unlimited",
            "BUILDKIT_GHA_NO_PROGRESS=\"0s\": no time at all",
            "BUILDKIT_GHA_INDEX_WAIT=\"5\": no known unit: use ns, us, ms, s, m, h or d, as in 10m",
            "BUILDKIT_GHA_CALL_TIMEOUT=\"-1s\": a negative duration",
            "BUILDKIT_GHA_IMPORT_SPOOL=\"lots\": not a size such as 512MB or 10GB",
        ];
        assert_eq!(mistakes.lines().collect::<Vec<_>>(), expected);
    }
}
