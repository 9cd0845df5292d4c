//! The environment, read once and handed around as a value.

use std::collections::BTreeMap;

use zeroize::Zeroize as _;

use crate::gateway::SECRET_VARIABLES;

/// The variables of a process. An empty one is as good as none, as CI systems often set them.
#[derive(Clone, Default)]
pub struct Env {
    variables: BTreeMap<String, String>,
    /// The flags that have taken the place of a variable.
    flags: BTreeMap<String, String>,
}

impl Env {
    /// The environment of this process. Variables that are not Unicode are left out.
    pub fn from_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The names of all variables, empty ones too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Lets a flag win over its variable.
    pub(super) fn set_by_flag(&mut self, variable: String, flag: &str, value: String) {
        self.flags.insert(variable.clone(), format!("--{flag}"));
        self.variables.insert(variable, value);
    }

    /// Where the value of a variable comes from, as people wrote it: the flag or the variable.
    pub(super) fn source<'a>(&'a self, name: &'a str) -> &'a str {
        self.flags.get(name).map_or(name, String::as_str)
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        for name in SECRET_VARIABLES {
            if let Some(value) = self.variables.get_mut(name) {
                value.zeroize();
            }
        }
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            flags: BTreeMap::new(),
        }
    }
}
