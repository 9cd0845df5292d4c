//! A moment as Go writes it in JSON.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Go's zero time, which it writes like any other.
const ZERO: &str = "0001-01-01T00:00:00Z";

/// An RFC 3339 moment. The text is kept, zone and all, since BuildKit passes it on as it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Time(Box<str>);

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-02-03T04:05:06.7Z")]
pub struct InvalidTime;

impl Time {
    /// Reads an RFC 3339 text.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        text.parse::<Timestamp>().map_err(|_| InvalidTime)?;
        Ok(Self(text.into()))
    }

    /// The same moment in UTC, in the form that Go gives it.
    #[must_use]
    pub(crate) fn to_utc(&self) -> Self {
        self.0
            .parse::<Timestamp>()
            .map_or_else(|_| self.clone(), |moment| Self(moment.to_string().into()))
    }

    /// The moment, unless nobody knows it.
    pub fn moment(&self) -> Option<Timestamp> {
        self.0.parse().ok().filter(|_| !self.is_zero())
    }

    /// The text as it was read.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for Go's zero time, which means that nobody knows.
    pub fn is_zero(&self) -> bool {
        &*self.0 == ZERO
    }
}

impl Default for Time {
    fn default() -> Self {
        Self(ZERO.into())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_is_written_as_go_writes_it() {
        for (text, utc) in [
            ("2026-02-03T04:05:06.120Z", "2026-02-03T04:05:06.12Z"),
            (
                "2026-02-03T04:05:06.000000001+02:00",
                "2026-02-03T02:05:06.000000001Z",
            ),
            ("2026-02-03T04:05:06Z", "2026-02-03T04:05:06Z"),
            (ZERO, ZERO),
        ] {
            assert_eq!(Time::parse(text).unwrap().to_utc().as_str(), utc);
        }
        assert!(Time::default().is_zero());
        assert_eq!(Time::parse("yesterday"), Err(InvalidTime));
    }
}
