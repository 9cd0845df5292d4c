//! An issuer and the address of its keys, as an operator names them.

use std::str::FromStr;

use url::{Host, Url};

/// Longest name of an issuer among repositories; with an id it stays below what a repository may have.
const MAX_OWNER_CHARS: usize = 100;

/// An issuer whose tokens are good here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// What its tokens say in `iss`.
    pub issuer: IssuerUrl,
    /// Where its keys are; `None` asks the issuer where.
    pub keys: Option<KeysUrl>,
}

/// The URL of an issuer, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerUrl(Url);

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysUrl(Url);

/// Why a URL cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No URL at all.
    #[error(transparent)]
    Parse(#[from] url::ParseError),
    /// Whoever can listen to or change what is sent would decide which tokens are good.
    #[error("it must be an https URL; http is for an address of this machine alone")]
    Scheme,
    /// A user, a password or a fragment, or a query where none can be.
    #[error("it must have no user, password, query or fragment")]
    Parts,
    /// A name that is longer than that of any repository's owner.
    #[error("host and path may have at most {MAX_OWNER_CHARS} characters")]
    Long,
}

impl IssuerUrl {
    /// As the claim `iss` has it, without a slash at its end.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// True if a token whose `iss` this is says that it is of this issuer.
    pub(super) fn is_named_by(&self, iss: &str) -> bool {
        iss.strip_suffix('/').unwrap_or(iss) == self.as_str()
    }

    /// What stands in the place of `owner` in the names of its repositories: ids mean something only together
    /// with their issuer. What a name of a repository cannot have is an underscore.
    pub(super) fn owner(&self) -> String {
        let (_, place) = self.as_str().split_once("://").unwrap_or_default();
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        let chars = place.chars();
        chars
            .map(|c| if allowed(c) { c } else { '_' })
            .collect::<String>()
            .to_ascii_lowercase()
    }

    /// One of its documents that every issuer has at the same place.
    pub(super) fn well_known(&self, document: &str) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend([".well-known", document]);
        }
        url
    }

    /// True if it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

impl KeysUrl {
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for IssuerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Self(secure(text)?);
        if url.0.query().is_some() {
            return Err(UrlError::Parts);
        }
        if url.owner().len() > MAX_OWNER_CHARS {
            return Err(UrlError::Long);
        }
        Ok(url)
    }
}

impl FromStr for KeysUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        secure(text).map(Self)
    }
}

/// A URL whose answers are those of whom it names.
fn secure(text: &str) -> Result<Url, UrlError> {
    let url = Url::parse(text)?;
    let secure = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(&url),
        _ => false,
    };
    if !secure {
        return Err(UrlError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(UrlError::Parts);
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> IssuerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn an_issuer_is_known_by_its_claim() {
        let github = issuer("https://token.actions.githubusercontent.com/");
        assert!(github.is_named_by("https://token.actions.githubusercontent.com"));
        assert!(github.is_named_by("https://token.actions.githubusercontent.com/"));
        for other in [
            "https://token.actions.githubusercontent.com//",
            "https://token.actions.githubusercontent.com/octo",
            "http://token.actions.githubusercontent.com",
            "https://token.actions.githubusercontent.com.example",
            "",
        ] {
            assert!(!github.is_named_by(other), "{other}");
        }
    }

    #[test]
    fn its_documents_are_below_its_path() {
        let server = issuer("https://ghes.example/_services/token");
        assert_eq!(
            server.well_known("jwks").as_str(),
            "https://ghes.example/_services/token/.well-known/jwks"
        );
        let github = issuer("https://token.actions.githubusercontent.com");
        assert_eq!(
            github.well_known("openid-configuration").as_str(),
            "https://token.actions.githubusercontent.com/.well-known/openid-configuration"
        );
    }

    #[test]
    fn repositories_are_named_after_their_issuer() {
        for (url, owner) in [
            (
                "https://token.actions.githubusercontent.com",
                "token.actions.githubusercontent.com",
            ),
            (
                "https://GHES.example:8443/_services/Token/",
                "ghes.example_8443__services_token",
            ),
        ] {
            assert_eq!(issuer(url).owner(), owner);
        }
    }

    #[test]
    fn what_others_could_answer_for_is_refused() {
        let refusal = |text: &str| text.parse::<IssuerUrl>().unwrap_err();
        for text in [
            "http://ghes.example/",
            "http://127.0.0.1.example/",
            "file:///x",
        ] {
            assert_eq!(refusal(text), UrlError::Scheme, "{text}");
        }
        for text in [
            "https://u@h.example",
            "https://h.example?q",
            "https://h.example#f",
        ] {
            assert_eq!(refusal(text), UrlError::Parts, "{text}");
        }
        assert!(matches!(refusal("ghes.example"), UrlError::Parse(_)));
        let long = format!("https://h.example/{}", "a".repeat(MAX_OWNER_CHARS));
        assert_eq!(refusal(&long), UrlError::Long);
        issuer("http://127.0.0.1:8080");
        issuer("http://[::1]:8080");
        "https://h.example/keys?version=1"
            .parse::<KeysUrl>()
            .unwrap();
        let clear = "http://h.example/keys".parse::<KeysUrl>();
        assert_eq!(clear.unwrap_err(), UrlError::Scheme);
    }
}
