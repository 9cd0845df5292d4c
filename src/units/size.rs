//! Sizes as BuildKit's users write them (`10GB`, `512MB`): as in buildkitd.toml, in steps of 1024.

/// The letters before `B` or `iB`, each 1024 times the one before.
const STEPS: &str = "kmgtp";

/// A text that is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a size such as 512MB or 10GB")]
pub struct InvalidSize;

/// Reads a size in bytes. `10GB`, `10G`, `10gb` and `10GiB` are the same.
pub fn parse(text: &str) -> Result<u64, InvalidSize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().map_err(|_| InvalidSize)?;
    let unit = unit.trim_start().to_ascii_lowercase();
    let letter = unit
        .strip_suffix("ib")
        .or_else(|| unit.strip_suffix('b'))
        .unwrap_or(&unit);
    let steps = match letter {
        "" if unit != "ib" => 0,
        letter if letter.len() == 1 => STEPS.find(letter).ok_or(InvalidSize)? + 1,
        _ => return Err(InvalidSize),
    };
    (0..steps)
        .try_fold(number, |size, _| size.checked_mul(1024))
        .ok_or(InvalidSize)
}

/// Why a text is not a size above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPositiveSize {
    /// No size at all.
    #[error(transparent)]
    Malformed(#[from] InvalidSize),
    /// 0, where nothing fits into nothing.
    #[error("no room at all")]
    Zero,
}

/// As [`parse`], of what cannot be 0: nothing that is bounded by it could work.
pub fn parse_positive(text: &str) -> Result<u64, InvalidPositiveSize> {
    match parse(text)? {
        0 => Err(InvalidPositiveSize::Zero),
        size => Ok(size),
    }
}

/// Writes a size in the largest unit that needs no fraction: `512MB`, `10GB`.
pub fn display(size: u64) -> String {
    let (mut number, mut unit) = (size, None);
    for letter in STEPS.chars() {
        if number == 0 || !number.is_multiple_of(1024) {
            break;
        }
        (number, unit) = (number / 1024, Some(letter.to_ascii_uppercase()));
    }
    match unit {
        Some(letter) => format!("{number}{letter}B"),
        None => format!("{number}B"),
    }
}

/// Writes about how much it is, in three digits and steps of 1000, as clients show progress: `640 MB`.
pub fn approximate(size: u64) -> String {
    let mut unit = "";
    let mut divisor = 1_u64;
    for letter in ["k", "M", "G", "T", "P"] {
        if size / divisor < 1000 {
            break;
        }
        (unit, divisor) = (letter, divisor * 1000);
    }
    let whole = size / divisor;
    // In tenths or hundredths, cut off: nothing is shown that is not there.
    let hundredths = size % divisor * 100 / divisor;
    match whole {
        _ if divisor == 1 => format!("{whole} B"),
        0..10 => format!("{whole}.{hundredths:02} {unit}B"),
        10..100 => format!("{whole}.{} {unit}B", hundredths / 10),
        _ => format!("{whole} {unit}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_how_much_has_three_digits() {
        for (size, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (85_040_000, "85.0 MB"),
            (640_000_000, "640 MB"),
            (1_239_999_999, "1.23 GB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(approximate(size), text);
        }
    }

    #[test]
    fn a_size_is_written_as_people_write_it() {
        for text in ["0B", "7B", "1025B", "2KB", "512MB", "10GB", "1PB"] {
            assert_eq!(display(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn a_positive_size_is_more_than_nothing() {
        assert_eq!(parse_positive("10GB"), Ok(10 << 30));
        assert_eq!(parse_positive("0B"), Err(InvalidPositiveSize::Zero));
        let malformed = parse_positive("much");
        assert_eq!(malformed, Err(InvalidPositiveSize::Malformed(InvalidSize)));
    }

    #[test]
    fn sizes_are_read_as_buildkitd_reads_them() {
        for (text, size) in [
            ("0", 0),
            ("4096", 4096),
            ("7B", 7),
            ("2k", 2 << 10),
            ("512MB", 512 << 20),
            ("10GB", 10 << 30),
            ("10 gib", 10 << 30),
            ("1P", 1 << 50),
        ] {
            assert_eq!(parse(text), Ok(size), "{text}");
        }
        for text in [
            "",
            "GB",
            "-1",
            "1.5GB",
            "10iB",
            "10GBB",
            "10XB",
            "10kMB",
            "99999999P",
        ] {
            assert_eq!(parse(text), Err(InvalidSize), "{text}");
        }
    }
}
