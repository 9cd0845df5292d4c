//! Durations as Go writes them (`10m`, `1h30m`, `1.5h`), which is what users of BuildKit know, and
//! days (`90d`), which Go does not know.
//!
//! [`parse`] is Go's grammar, for attributes that BuildKit reads, too, and for times that may be 0;
//! [`parse_positive`] is for all others.

use std::time::Duration;

/// The largest duration that Go can hold: an `int64` of nanoseconds, about 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;

/// Fraction digits beyond this are below a nanosecond even for hours, and are dropped as Go does.
const MAX_FRACTION_DIGITS: usize = 18;

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not in the form that Go reads.
    #[error("not a duration such as 90s, 10m or 1h30m")]
    Malformed,
    /// A number without `ns`, `us`, `ms`, `s`, `m`, `h` or `d`.
    #[error("no known unit: use ns, us, ms, s, m, h or d, as in 10m")]
    Unit,
    /// Below zero. Go reads these; nothing here can wait for less than no time.
    #[error("a negative duration")]
    Negative,
    /// More than Go can hold.
    #[error("longer than 292 years")]
    TooLong,
    /// 0, where nothing works without any time.
    #[error("no time at all")]
    Zero,
}

/// Reads a duration as Go's `time.ParseDuration` does, except that days are known and a negative
/// one is refused.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits == "0" {
        return Ok(Duration::ZERO);
    }
    if digits.is_empty() {
        return Err(InvalidDuration::Malformed);
    }
    let mut nanos: u128 = 0;
    let mut rest = digits;
    while !rest.is_empty() {
        let (term, tail) = term(rest)?;
        nanos = nanos.saturating_add(term);
        rest = tail;
    }
    match (nanos, negative) {
        (0, _) => Ok(Duration::ZERO),
        (_, true) => Err(InvalidDuration::Negative),
        (MAX_NANOS.., false) if nanos > MAX_NANOS => Err(InvalidDuration::TooLong),
        _ => u64::try_from(nanos)
            .map(Duration::from_nanos)
            .map_err(|_| InvalidDuration::TooLong),
    }
}

/// As [`parse`], of what cannot be 0: nothing that is bounded by it could work.
pub fn parse_positive(text: &str) -> Result<Duration, InvalidDuration> {
    match parse(text)? {
        Duration::ZERO => Err(InvalidDuration::Zero),
        duration => Ok(duration),
    }
}

/// Writes a duration so that people read it at sight, in the largest unit that needs no fraction:
/// `90s`, `10m`, `1h`.
pub fn display(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() > 0 || seconds == 0 {
        return format(duration);
    }
    match seconds {
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Writes about how long something took, with no more than two units: `3.2s`, `5m40s`, `1h2m`.
pub fn short(duration: Duration) -> String {
    if duration < Duration::from_millis(59_950) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    let whole = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes, seconds) {
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

/// Writes a duration so that Go and [`parse`] read the same one.
pub fn format(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ns", duration.as_nanos())
    }
}

/// Reads one number with its unit; answers its nanoseconds and what follows.
fn term(text: &str) -> Result<(u128, &str), InvalidDuration> {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(InvalidDuration::Malformed);
    }
    let end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = unit_nanos(unit)?;
    let whole: u128 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| InvalidDuration::TooLong)?,
    };
    let fraction = &fraction[..fraction.len().min(MAX_FRACTION_DIGITS)];
    let below_one = match fraction {
        "" => 0,
        digits => {
            let value: u128 = digits.parse().map_err(|_| InvalidDuration::Malformed)?;
            value * unit / 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0))
        }
    };
    Ok((whole.saturating_mul(unit).saturating_add(below_one), rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn unit_nanos(unit: &str) -> Result<u128, InvalidDuration> {
    Ok(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter mu, both of which Go accepts.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(InvalidDuration::Unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_how_long_is_written_short() {
        for (millis, text) in [
            (40, "0.0s"),
            (3_160, "3.2s"),
            (59_960, "1m"),
            (340_100, "5m40s"),
            (3_600_000, "1h"),
            (3_725_000, "1h2m"),
        ] {
            assert_eq!(short(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn reads_what_go_reads() {
        for (text, millis) in [
            ("0", 0),
            ("-0s", 0),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("90d", 7_776_000_000),
            ("1d12h", 129_600_000),
            (".5s", 500),
            ("+2s", 2_000),
            ("1m0.25s", 60_250),
            ("1s1s", 2_000),
            ("250000\u{b5}s", 250),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(
            parse("9223372036854775807ns").map(|d| d.as_nanos()),
            Ok(MAX_NANOS)
        );
    }

    #[test]
    fn refuses_the_rest() {
        use InvalidDuration::*;
        for (text, why) in [
            ("", Malformed),
            ("-", Malformed),
            (".s", Malformed),
            ("m", Malformed),
            ("10", Unit),
            ("10 m", Unit),
            ("1w", Unit),
            ("-1s", Negative),
            ("9223372036854775808ns", TooLong),
            ("99999999999999999999999999999999999999999h", TooLong),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for nanos in [0, 1, 1_500_000_000, 600_000_000_000] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&format(duration)), Ok(duration));
            assert_eq!(parse(&display(duration)), Ok(duration));
        }
        for text in ["0s", "90s", "10m", "1h", "36h"] {
            assert_eq!(display(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_positive_duration_is_more_than_nothing() {
        let days = Duration::from_hours(90 * 24);
        assert_eq!(parse_positive("90d"), Ok(days));
        assert_eq!(parse_positive("0s"), Err(InvalidDuration::Zero));
        let malformed = parse_positive("soon");
        assert_eq!(malformed, Err(InvalidDuration::Malformed));
    }
}
