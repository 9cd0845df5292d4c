//! The byte ranges of HTTP that the Actions cache uses: `Range` of a download, `Content-Range` of
//! an upload (`bytes 0-9/*`) and of a partial answer (`bytes 0-9/100`).
//!
//! Ends are inclusive on the wire and exclusive in [`std::ops::Range`]; the conversion is here only.

use std::ops::Range;

/// Why a header is not a range that can be served or stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not of the form that is understood.
    #[error("{0:?} is not a byte range")]
    Malformed(String),
    /// A valid range that lies outside the content.
    #[error("the range lies outside the {size} bytes of the content")]
    Unsatisfiable {
        /// How many bytes there are.
        size: u64,
    },
}

/// A header value is quoted in errors up to this many characters.
const QUOTED_CHARS: usize = 64;

fn malformed(text: &str) -> RangeError {
    RangeError::Malformed(text.chars().take(QUOTED_CHARS).collect())
}

/// Reads decimal digits only: `str::parse` alone would accept a sign.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Reads a `Range` header against content of `size` bytes: `bytes=a-b`, `bytes=a-`, `bytes=-n`.
/// Lists of ranges are refused; no client of the cache sends one.
pub fn parse_request(header: &str, size: u64) -> Result<Range<u64>, RangeError> {
    let spec = header
        .strip_prefix("bytes=")
        .ok_or_else(|| malformed(header))?;
    let (start, end) = spec.split_once('-').ok_or_else(|| malformed(header))?;
    let range = match (number(start), number(end)) {
        (Some(start), Some(last)) if start <= last => start..last.saturating_add(1).min(size),
        (Some(start), None) if end.is_empty() => start..size,
        (None, Some(suffix)) if start.is_empty() => size.saturating_sub(suffix)..size,
        _ => return Err(malformed(header)),
    };
    if range.start >= range.end {
        return Err(RangeError::Unsatisfiable { size });
    }
    Ok(range)
}

/// A `Content-Range`: which bytes, and of how many where that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes of the body within the whole.
    pub range: Range<u64>,
    /// The size of the whole; `None` for `*`.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads the header's value.
    pub fn parse(header: &str) -> Result<Self, RangeError> {
        let parsed = || {
            let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
            let (start, last) = range.split_once('-')?;
            let (start, end) = (number(start)?, number(last)?.checked_add(1)?);
            let total = match total {
                "*" => None,
                digits => Some(number(digits)?),
            };
            let fits = start < end && total.is_none_or(|total| end <= total);
            fits.then_some(Self {
                range: start..end,
                total,
            })
        };
        parsed().ok_or_else(|| malformed(header))
    }
}

impl std::fmt::Display for ContentRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bytes {}-{}/", self.range.start, self.range.end - 1)?;
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_against_the_size() {
        assert_eq!(parse_request("bytes=0-9", 100), Ok(0..10));
        assert_eq!(parse_request("bytes=90-", 100), Ok(90..100));
        assert_eq!(parse_request("bytes=90-1000", 100), Ok(90..100));
        assert_eq!(parse_request("bytes=-10", 100), Ok(90..100));
        assert_eq!(
            parse_request("bytes=100-", 100),
            Err(RangeError::Unsatisfiable { size: 100 })
        );
        for text in [
            "bytes=9-0",
            "bytes=-",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "0-1",
            "bytes=a-b",
        ] {
            assert!(
                matches!(parse_request(text, 100), Err(RangeError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn content_ranges_round_trip() {
        for text in ["bytes 0-0/*", "bytes 5-9/10"] {
            assert_eq!(ContentRange::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "bytes 9-5/*",
            "bytes -1-5/*",
            "bytes 0-10/10",
            "bytes 0-18446744073709551615/*",
            "bytes */10",
        ] {
            assert!(ContentRange::parse(text).is_err(), "{text}");
        }
    }
}
