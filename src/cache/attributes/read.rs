//! From the text of attributes to [`Attributes`], with every mistake collected.

use std::collections::BTreeMap;

use url::Url;

use super::{
    Attributes, AttributesError, DEFAULT_GITHUB_API_URL, DEFAULT_SCOPE, DEFAULT_TIMEOUT, Mistake,
    Mode, OperatorService, OperatorToken, Overrides, Parsed, Verify, name,
};
use crate::{actions::Api, protocol::key::MAX_KEY_CHARS, secret::Secret, units::duration};

/// A URL of this host speaks v2 even where an old client does not say so.
const V2_HOST: &str = "results-receiver.actions.githubusercontent.com";

/// A scope goes into the key of the index with about 30 other characters; the rest of what a key
/// may have is left to it.
const MAX_SCOPE_CHARS: usize = MAX_KEY_CHARS - 32;

/// A mistake quotes no more than this of a value.
const QUOTED_CHARS: usize = 100;

const COMPRESSIONS: [&str; 4] = ["uncompressed", "gzip", "estargz", "zstd"];

const KNOWN: [&str; 15] = [
    name::SCOPE,
    name::TOKEN,
    name::URL,
    name::URL_V2,
    name::VERSION,
    name::TIMEOUT,
    name::MODE,
    name::IGNORE_ERROR,
    name::ASYNC,
    name::REPOSITORY,
    name::GHTOKEN,
    name::IMPORT_VERIFY,
    name::COMPRESSION,
    name::COMPRESSION_LEVEL,
    name::FORCE_COMPRESSION,
];

/// An attribute, whether a value is one of its values, and how to say what these are.
type Check = (&'static str, fn(&str) -> bool, &'static str);

/// Reads the attributes of one `type=gha` entry.
pub fn parse(attrs: &BTreeMap<String, String>, overrides: &Overrides) -> Parsed {
    let mut reader = Reader {
        attrs,
        mistakes: Vec::new(),
        ignored: Vec::new(),
    };
    let ignore_error = reader.ignore_error();
    let attributes = reader.attributes(overrides, ignore_error);
    Parsed {
        attributes: match attributes {
            Some(attributes) if reader.mistakes.is_empty() => Ok(attributes),
            _ => Err(AttributesError {
                mistakes: reader.mistakes,
            }),
        },
        unknown: attrs
            .keys()
            .filter(|name| !KNOWN.contains(&name.as_str()))
            .cloned()
            .collect(),
        ignored: reader.ignored,
        ignore_error: ignore_error != Some(false),
    }
}

/// Reads attributes one by one and remembers what was wrong.
struct Reader<'a> {
    attrs: &'a BTreeMap<String, String>,
    mistakes: Vec<Mistake>,
    /// Mistakes that BuildKit's own backend overlooks, so the entry is used without that value.
    ignored: Vec<Mistake>,
}

impl Reader<'_> {
    /// None only if a mistake has been noted, or a token is still in its file.
    fn attributes(
        &mut self,
        overrides: &Overrides,
        ignore_error: Option<bool>,
    ) -> Option<Attributes> {
        let scope = self.scope();
        let mode = self.mode();
        let timeout = self.timeout();
        let import_verify = self.import_verify();
        let asynchronous = self.asynchronous(ignore_error);
        let passthrough = self.passthrough();
        // From one side both, or a build could name the URL for the operator's token.
        let (api, token) = match &overrides.service {
            OperatorService::Set { url, token } => self.operator_service(url, token),
            OperatorService::Half { .. } | OperatorService::Unset => (self.api(), self.token()),
        };
        Some(Attributes {
            scope,
            mode,
            api: api?,
            token: token?,
            repository: self.non_empty(name::REPOSITORY),
            ghtoken: self.non_empty(name::GHTOKEN).map(Secret::new),
            github_api_url: overrides.github_api_url.clone().unwrap_or_else(|| {
                Url::parse(DEFAULT_GITHUB_API_URL).expect("a constant that a test parses")
            }),
            timeout,
            import_verify,
            ignore_error,
            asynchronous,
            passthrough,
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).map(String::as_str)
    }

    fn non_empty(&self, name: &str) -> Option<String> {
        self.get(name).filter(|v| !v.is_empty()).map(str::to_owned)
    }

    fn wrong(&mut self, name: &'static str, reason: impl Into<String>) {
        let mistake = self.value(name, reason.into());
        self.mistakes.push(mistake);
    }

    /// The value cannot be used, and the default takes its place.
    fn overlook(&mut self, name: &'static str, expected: &str, default: &str) {
        let reason = format!("{expected} was expected, so {default} is used");
        let mistake = self.value(name, reason);
        self.ignored.push(mistake);
    }

    fn value(&self, name: &'static str, reason: String) -> Mistake {
        let value = self.get(name).unwrap_or_default();
        Mistake::Value {
            name,
            value: value.chars().take(QUOTED_CHARS).collect(),
            reason,
        }
    }

    fn scope(&mut self) -> String {
        let scope = self.get(name::SCOPE).unwrap_or(DEFAULT_SCOPE).to_owned();
        if scope.chars().count() > MAX_SCOPE_CHARS {
            self.wrong(
                name::SCOPE,
                format!("longer than {MAX_SCOPE_CHARS} characters"),
            );
        }
        // v1 looks keys up as a comma-separated list.
        if scope.contains(',') {
            self.wrong(name::SCOPE, "keys of the Actions cache cannot hold a comma");
        }
        scope
    }

    fn mode(&mut self) -> Mode {
        match self.get(name::MODE) {
            None | Some("" | "min") => Mode::Min,
            Some("max") => Mode::Max,
            Some(_) => {
                self.overlook(name::MODE, "min or max", "min");
                Mode::Min
            }
        }
    }

    fn import_verify(&mut self) -> Verify {
        match self.get(name::IMPORT_VERIFY) {
            None | Some("" | "probe") => Verify::Probe,
            Some("full") => Verify::Full,
            Some(_) => {
                self.overlook(name::IMPORT_VERIFY, "probe or full", "probe");
                Verify::Probe
            }
        }
    }

    fn ignore_error(&mut self) -> Option<bool> {
        let value = self.get(name::IGNORE_ERROR)?;
        let parsed = go_bool(value);
        if parsed.is_none() {
            self.overlook(name::IGNORE_ERROR, "true or false", "true");
        }
        parsed
    }

    /// An export that must be able to fail its build cannot outlive it.
    fn asynchronous(&mut self, ignore_error: Option<bool>) -> bool {
        let Some(value) = self.get(name::ASYNC) else {
            return false;
        };
        match go_bool(value) {
            Some(true) if ignore_error == Some(false) => {
                let reason =
                    "with ignore-error=false the build waits for its export, so false is used";
                let mistake = self.value(name::ASYNC, reason.to_owned());
                self.ignored.push(mistake);
                false
            }
            Some(value) => value,
            None => {
                self.overlook(name::ASYNC, "true or false", "false");
                false
            }
        }
    }

    fn timeout(&mut self) -> std::time::Duration {
        let Some(text) = self.get(name::TIMEOUT) else {
            return DEFAULT_TIMEOUT;
        };
        match duration::parse_positive(text) {
            Ok(timeout) => timeout,
            Err(e) => {
                self.wrong(name::TIMEOUT, e.to_string());
                DEFAULT_TIMEOUT
            }
        }
    }

    /// `BUILDKIT_GHA_URL` stands for a service of today: v2 unless the entry says `version=1`. A
    /// token that is still in its file was not read, which is the caller's to say.
    fn operator_service(
        &mut self,
        url: &Url,
        token: &OperatorToken,
    ) -> (Option<Api>, Option<Secret>) {
        let api = self.version().map(|version| match version {
            Some(1) => Api::V1(url.clone()),
            _ => Api::V2(url.clone()),
        });
        let token = match token {
            OperatorToken::Given(token) => Some(token.clone()),
            OperatorToken::File(_) => None,
        };
        (api, token)
    }

    fn token(&mut self) -> Option<Secret> {
        let token = self.non_empty(name::TOKEN).map(Secret::new);
        if token.is_none() {
            self.mistakes.push(Mistake::Missing {
                name: name::TOKEN,
                hint: "it is ACTIONS_RUNTIME_TOKEN of the job; or set both BUILDKIT_GHA_URL and \
                       BUILDKIT_GHA_TOKEN (or _TOKEN_FILE) on the gateway",
            });
        }
        token
    }

    /// BuildKit's choice: `url_v2` is v2 unless `version=1`; else `url` speaks what `version`
    /// says, and v1 without one.
    fn api(&mut self) -> Option<Api> {
        let version = self.version()?;
        let v2 = match version {
            Some(1) => None,
            _ => self.get(name::URL_V2),
        };
        let (name, text) = match v2.filter(|url| !url.is_empty()) {
            Some(url) => (name::URL_V2, url),
            None => (name::URL, self.get(name::URL).unwrap_or_default()),
        };
        if text.is_empty() {
            self.mistakes.push(Mistake::Missing {
                name: name::URL,
                hint: "it is ACTIONS_RESULTS_URL (v2) or ACTIONS_CACHE_URL of the job; or set both \
                       BUILDKIT_GHA_URL and BUILDKIT_GHA_TOKEN (or _TOKEN_FILE) on the gateway",
            });
            return None;
        }
        let speaks_v2 = match version {
            _ if v2.is_some() => true,
            None | Some(0) => text.contains(V2_HOST),
            Some(version) => version > 1,
        };
        let url = match http_url(text) {
            Ok(url) => url,
            Err(error) => {
                // Such URLs carry what opens the cache on some servers, so it is not shown.
                let reason = error.to_string();
                self.mistakes.push(Mistake::Hidden { name, reason });
                return None;
            }
        };
        Some(if speaks_v2 {
            Api::V2(url)
        } else {
            Api::V1(url)
        })
    }

    /// The inner None is "not said"; the outer one is a mistake.
    #[expect(
        clippy::option_option,
        reason = "two different absences, both handled at once above"
    )]
    fn version(&mut self) -> Option<Option<i64>> {
        let Some(text) = self.get(name::VERSION) else {
            return Some(None);
        };
        if let Ok(version) = text.parse() {
            return Some(Some(version));
        }
        self.wrong(name::VERSION, "1 or 2 was expected");
        None
    }

    /// Checked here: BuildKit's `gha` export overlooks a bad one, and its `local` export, which takes
    /// the place of that, fails the whole build over it.
    fn passthrough(&mut self) -> BTreeMap<String, String> {
        let checks: [Check; 3] = [
            (
                name::COMPRESSION,
                |v| COMPRESSIONS.contains(&v),
                "uncompressed, gzip, estargz or zstd",
            ),
            (
                name::COMPRESSION_LEVEL,
                |v| v.parse::<i64>().is_ok(),
                "a number",
            ),
            (
                name::FORCE_COMPRESSION,
                |v| v.is_empty() || go_bool(v).is_some(),
                "true or false",
            ),
        ];
        let mut passed = BTreeMap::new();
        for (name, valid, expected) in checks {
            let Some(value) = self.get(name).map(str::to_owned) else {
                continue;
            };
            if valid(&value) {
                passed.insert(name.to_owned(), value);
            } else {
                self.overlook(name, expected, "the default");
            }
        }
        passed
    }
}

#[derive(Debug, thiserror::Error)]
enum UrlError {
    #[error("not a URL: {0}")]
    Syntax(#[from] url::ParseError),
    #[error("an http:// or https:// URL was expected")]
    Scheme,
}

fn http_url(text: &str) -> Result<Url, UrlError> {
    let url = Url::parse(text)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        Ok(url)
    } else {
        Err(UrlError::Scheme)
    }
}

/// Go's `strconv.ParseBool`.
pub(crate) fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
