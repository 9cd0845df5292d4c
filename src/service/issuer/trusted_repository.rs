//! A repository that may use the service, as an operator names it.

use std::str::FromStr;

use super::claims::is_repository_id;

/// A repository of trusted issuers: `12345` of any of them, or `HOST/12345` of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRepository {
    owner: Option<String>,
    id: String,
}

/// A text that names no repository of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no id of a repository like 12345 or ghes.example__services_token/12345 \
     (`gh api repos/OWNER/NAME --jq .id` tells it): names change hands"
)]
pub struct InvalidRepository(String);

impl TrustedRepository {
    /// True if it is the one that an issuer calls `id`.
    pub(super) fn is(&self, owner: &str, id: &str) -> bool {
        self.id == id && self.owner.as_ref().is_none_or(|own| own == owner)
    }
}

impl FromStr for TrustedRepository {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, InvalidRepository> {
        let (owner, id) = match text.split_once('/') {
            Some((owner, id)) => (Some(owner.to_ascii_lowercase()), id),
            None => (None, text),
        };
        if !is_repository_id(id) || owner.as_ref().is_some_and(String::is_empty) {
            return Err(InvalidRepository(text.to_owned()));
        }
        Ok(Self {
            owner,
            id: id.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_by_their_ids() {
        let trusted = |text: &str| text.parse::<TrustedRepository>().unwrap();
        let any = trusted("12345");
        assert!(any.is("a.example", "12345") && any.is("b.example", "12345"));
        assert!(!any.is("a.example", "1234"));
        let one = trusted("A.example/12345");
        assert!(one.is("a.example", "12345") && !one.is("b.example", "12345"));
        for text in ["", "octo/app", "/1", "1/", "a/b/1", "-1"] {
            let refused = text.parse::<TrustedRepository>();
            assert_eq!(refused.unwrap_err(), InvalidRepository(text.to_owned()));
        }
    }
}
