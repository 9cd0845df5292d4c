//! `BUILDKIT_GHA_DEFAULT_CACHE`: the cache of builds that name none of type gha.

use std::collections::BTreeMap;

use url::Url;

use super::Env;
use crate::{
    cache::attributes::{self, OperatorService, OperatorToken, Overrides, name},
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

/// The attributes of the export and the import that builds without a `gha` entry get.
pub type DefaultCache = BTreeMap<String, String>;

/// Reads it as buildx reads `--cache-to`, with every value checked: a slip should stop the gateway
/// at its start, not the cache of every build.
pub(super) fn read(env: &Env, overrides: &Overrides) -> Result<Option<DefaultCache>, String> {
    let Some(text) = env.get(VARIABLE) else {
        return Ok(None);
    };
    let source = env.source(VARIABLE);
    let attrs = attributes(text).map_err(|error| format!("{source}: {error}"))?;
    let Some(url) = overrides.service.url() else {
        return Err(format!(
            "{source} needs BUILDKIT_GHA_URL, and BUILDKIT_GHA_TOKEN or BUILDKIT_GHA_TOKEN_FILE"
        ));
    };
    check(&attrs, url).map_err(|error| format!("{source}: {error}"))?;
    Ok(Some(attrs))
}

fn attributes(text: &str) -> Result<DefaultCache, String> {
    let mut attrs = DefaultCache::new();
    for part in text.split(',') {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!("{part:?} is not name=value"));
        };
        let name = name.trim().to_ascii_lowercase();
        if name == "type" {
            if value != TYPE {
                return Err(format!("type={value}: only gha can be a default cache"));
            }
            continue;
        }
        if let Some((_, instead)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            return Err(format!("{name} cannot stand here: set {instead}"));
        }
        attrs.insert(name, value.to_owned());
    }
    Ok(attrs)
}

fn check(attrs: &DefaultCache, url: &Url) -> Result<(), String> {
    // The token file is read for each build; here any token will do.
    let overrides = Overrides {
        service: OperatorService::Set {
            url: url.clone(),
            token: OperatorToken::Given(Secret::new("any")),
        },
        ..Overrides::default()
    };
    let parsed = attributes::parse(attrs, &overrides);
    parsed.attributes.map_err(|error| error.to_string())?;
    let ignored = parsed.ignored.iter().map(ToString::to_string);
    let unknown = parsed.unknown.iter();
    let unknown = unknown.map(|name| format!("{name} is not an attribute of type=gha"));
    match unknown.chain(ignored).next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<DefaultCache>, String> {
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
            let error = read(text).unwrap_err();
            assert!(error.contains(VARIABLE), "{error}");
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let env: Env = [(VARIABLE.to_owned(), "scope=a".to_owned())]
            .into_iter()
            .collect();
        let error = super::read(&env, &Overrides::default()).unwrap_err();
        assert!(error.contains("BUILDKIT_GHA_URL"), "{error}");
    }
}
