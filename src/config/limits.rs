//! Fills the limits that an operator names into the configurations of the modules.

use std::fmt;

use super::{
    Env, ModuleConfigs,
    error::ConfigErrors,
    limit::Limit,
    settings::{SETTINGS, Setting},
};

impl ModuleConfigs {
    /// The defaults with every limit that the environment names.
    pub(super) fn read(env: &Env, errors: &mut ConfigErrors) -> Self {
        let mut modules = Self::default();
        for (setting, limit) in limits() {
            let variable = setting.variable();
            if let Some(text) = env.get(&variable) {
                let name = env.source(&variable);
                errors.take(limit.set(&mut modules, name, text));
            }
        }
        modules
    }
}

fn limits() -> impl Iterator<Item = (&'static Setting, Limit)> {
    SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, setting.limit?)))
}

/// The limits, as they would be written.
impl fmt::Debug for ModuleConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut copy = self.clone();
        let values = limits().map(|(setting, limit)| (setting.flag(), limit.display(&mut copy)));
        f.debug_map().entries(values).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{actions::PerMinute, cache};

    fn read(env: &[(&str, &str)]) -> (ModuleConfigs, String) {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut errors = ConfigErrors::default();
        let modules = ModuleConfigs::read(&env.collect(), &mut errors);
        (modules, errors.to_string())
    }

    #[test]
    fn what_is_said_moves_a_limit_and_the_rest_stays() {
        let (modules, errors) = read(&[
            ("BUILDKIT_GHA_NO_PROGRESS", "1m30s"),
            ("BUILDKIT_GHA_DRAIN", "0"),
            ("BUILDKIT_GHA_LOOKUP_WAIT", "7s"),
            ("BUILDKIT_GHA_INDEX_WAIT", "9s"),
            ("BUILDKIT_GHA_EXPORT_SPOOL", "2GB"),
            ("BUILDKIT_GHA_IMPORT_SPOOL", ""),
            ("BUILDKIT_GHA_SPOOL_FREE", "3GB"),
            ("BUILDKIT_GHA_CREATIONS_PER_MINUTE", "20"),
            ("BUILDKIT_GHA_LOOKUPS_PER_MINUTE", "unlimited"),
        ]);
        assert_eq!(errors, "");
        assert_eq!(modules.drain, Duration::ZERO);
        assert_eq!(modules.http.budgets.creations, PerMinute::Calls(20));
        assert_eq!(modules.http.budgets.lookups, PerMinute::Unlimited);
        let (cache, before) = (&modules.cache, cache::Config::default());
        assert_eq!(cache.client.no_progress, Duration::from_secs(90));
        assert_eq!(cache.lookup_wait, Duration::from_secs(7));
        assert_eq!(modules.interceptor.index_wait, Duration::from_secs(9));
        assert_eq!(cache.export_spool_bytes, 2 << 30);
        assert_eq!(cache.spool_free, Some(3 << 30));
        assert_eq!(cache.import_spool_bytes, before.import_spool_bytes);
        assert_eq!(cache.client.call_timeout, before.client.call_timeout);
        let shown = format!("{modules:?}");
        assert!(shown.contains(r#""export-spool": "2GB""#), "{shown}");
    }

    #[test]
    fn each_error_names_the_variable_and_its_value() {
        let (_, errors) = read(&[
            ("BUILDKIT_GHA_NO_PROGRESS", "0s"),
            ("BUILDKIT_GHA_INDEX_WAIT", "5"),
            ("BUILDKIT_GHA_CALL_TIMEOUT", "-1s"),
            ("BUILDKIT_GHA_IMPORT_SPOOL", "lots"),
            ("BUILDKIT_GHA_LOOKUPS_PER_MINUTE", "0"),
        ]);
        let expected = [
            "BUILDKIT_GHA_IMPORT_SPOOL=\"lots\": not a size such as 512MB or 10GB",
            "BUILDKIT_GHA_INDEX_WAIT=\"5\": no known unit: use ns, us, ms, s, m, h or d, as in 10m",
            "BUILDKIT_GHA_NO_PROGRESS=\"0s\": no time at all",
            "BUILDKIT_GHA_CALL_TIMEOUT=\"-1s\": a negative duration",
            "BUILDKIT_GHA_LOOKUPS_PER_MINUTE=\"0\": neither a number above 0 nor unlimited",
        ];
        assert_eq!(errors.lines().collect::<Vec<_>>(), expected);
    }
}
