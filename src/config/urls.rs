//! URLs of the environment.

use url::Url;

use super::{
    Env,
    error::{ConfigError, ConfigErrors},
};

/// The http or https URL that a variable or its flag holds.
pub(super) fn read(env: &Env, variable: &str, errors: &mut ConfigErrors) -> Option<Url> {
    let text = env.get(variable)?;
    let name = || env.source(variable).to_owned();
    let url = errors.take(Url::parse(text).map_err(|error| ConfigError::Url(name(), error)))?;
    if !matches!(url.scheme(), "http" | "https") {
        errors.push(ConfigError::Scheme(name()));
        return None;
    }
    Some(url)
}
