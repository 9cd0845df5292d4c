//! `BUILDKIT_GHA_DEFAULT_CACHE`: the cache of builds that name none of type gha.

use url::Url;

use super::Env;
use crate::{
    cache::attributes::{
        self, AttributesError, Mistake, OperatorService, OperatorToken, Overrides, name,
    },
    gateway::DefaultCache,
    secret::Secret,
};

const VARIABLE: &str = "BUILDKIT_GHA_DEFAULT_CACHE";

/// The only type there is; what an entry without a type means.
const TYPE: &str = "gha";

/// What may not stand in it, and what to set instead: it can be a flag, which everybody on the
/// machine can read, and the service is the operator's.
const ELSEWHERE: [(&str, &str); 4] = [
    (name::TOKEN, "BUILDKIT_GHA_TOKEN or BUILDKIT_GHA_TOKEN_FILE"),
    (name::GHTOKEN, "ghtoken on the entries of builds"),
    (name::URL, "BUILDKIT_GHA_URL"),
    (name::URL_V2, "BUILDKIT_GHA_URL"),
];

/// Why it cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DefaultCacheError {
    /// There is no service that it would be a cache of.
    #[error("{0} needs BUILDKIT_GHA_URL, and BUILDKIT_GHA_TOKEN or BUILDKIT_GHA_TOKEN_FILE")]
    NoService(String),
    /// What it says cannot be an entry.
    #[error("{0}: {1}")]
    Entry(String, EntryError),
}

/// What is wrong with the entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A part of it is not an attribute.
    #[error("{0:?} is not name=value")]
    NotAnAttribute(String),
    /// Another type than [`TYPE`].
    #[error("type={0}: only gha can be a default cache")]
    Type(String),
    /// An attribute that may not stand in it.
    #[error("{name} cannot stand here: set {instead}")]
    Elsewhere {
        /// The attribute.
        name: String,
        /// What to set.
        instead: &'static str,
    },
    /// An attribute that `type=gha` does not have.
    #[error("{0} is not an attribute of type=gha")]
    Unknown(String),
    /// A value that cannot be used.
    #[error(transparent)]
    Invalid(#[from] AttributesError),
    /// A value that would be overlooked in the entry of a build.
    #[error(transparent)]
    Ignored(#[from] Mistake),
}

/// Reads it as buildx reads `--cache-to`, with every value checked: a slip should stop the gateway
/// at its start, not the cache of every build.
pub(super) fn read(
    env: &Env,
    overrides: &Overrides,
) -> Result<Option<DefaultCache>, DefaultCacheError> {
    let Some(text) = env.get(VARIABLE) else {
        return Ok(None);
    };
    let name = || env.source(VARIABLE).to_owned();
    let attrs = parse(text).map_err(|error| DefaultCacheError::Entry(name(), error))?;
    let Some(url) = overrides.service.url() else {
        return Err(DefaultCacheError::NoService(name()));
    };
    check(&attrs, url).map_err(|error| DefaultCacheError::Entry(name(), error))?;
    Ok(Some(attrs))
}

fn parse(text: &str) -> Result<DefaultCache, EntryError> {
    let mut attrs = DefaultCache::new();
    for part in text.split(',') {
        let Some((name, value)) = part.split_once('=') else {
            return Err(EntryError::NotAnAttribute(part.to_owned()));
        };
        let name = name.trim().to_ascii_lowercase();
        if name == "type" {
            if value != TYPE {
                return Err(EntryError::Type(value.to_owned()));
            }
            continue;
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            return Err(EntryError::Elsewhere { name, instead });
        }
        attrs.insert(name, value.to_owned());
    }
    Ok(attrs)
}

fn check(attrs: &DefaultCache, url: &Url) -> Result<(), EntryError> {
    // The token file is read for each build; here any token will do.
    let overrides = Overrides {
        service: OperatorService::Set {
            url: url.clone(),
            token: OperatorToken::Given(Secret::new("any")),
        },
        ..Overrides::default()
    };
    let parsed = attributes::parse(attrs, &overrides);
    parsed.spec?;
    if let Some(name) = parsed.unknown.into_iter().next() {
        return Err(EntryError::Unknown(name));
    }
    match parsed.ignored.into_iter().next() {
        Some(ignored) => Err(ignored.into()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<DefaultCache>, DefaultCacheError> {
        let env: Env = [(VARIABLE.to_owned(), text.to_owned())]
            .into_iter()
            .collect();
        let overrides = Overrides {
            service: OperatorService::Set {
                url: "http://cache/".parse().unwrap(),
                token: OperatorToken::File("/token".into()),
            },
            ..Overrides::default()
        };
        super::read(&env, &overrides)
    }

    #[test]
    fn it_is_read_as_a_cache_entry() {
        let attrs = read("type=gha,scope=app,mode=max").unwrap().unwrap();
        let expected = [("mode", "max"), ("scope", "app")];
        let read = attrs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        assert_eq!(read.collect::<Vec<_>>(), expected);
        assert!(
            super::read(&Env::default(), &Overrides::default())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn slips_are_errors_that_name_it_and_show_no_secret() {
        for (text, part) in [
            ("type=registry,ref=x", "only gha"),
            ("scope", "name=value"),
            ("scope=a,token=hunter2", "BUILDKIT_GHA_TOKEN"),
            ("url=http://x/", "BUILDKIT_GHA_URL"),
            ("scop=a", "scop is not an attribute"),
            ("mode=most", "mode"),
            ("timeout=soon", "timeout"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(VARIABLE), "{error}");
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let env: Env = [(VARIABLE.to_owned(), "scope=a".to_owned())]
            .into_iter()
            .collect();
        let error = super::read(&env, &Overrides::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("BUILDKIT_GHA_URL"), "{error}");
    }
}
