//! Shares of a whole, as people write them: `90%`.

use std::fmt;

/// A text that is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a share from 1% to 100%, such as 90%")]
pub struct InvalidPercent;

/// A share from 1 to 100 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// A share of so many hundredths; `None` beyond 1 to 100.
    pub const fn new(hundredths: u8) -> Option<Self> {
        match hundredths {
            1..=100 => Some(Self(hundredths)),
            _ => None,
        }
    }

    /// This share of a number, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        // In two steps, so that no product is too large.
        let share = u64::from(self.0);
        whole / 100 * share + whole % 100 * share / 100
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Reads a share. `90%` and `90` are the same.
pub fn parse(text: &str) -> Result<Percent, InvalidPercent> {
    let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
    let number: u8 = digits.parse().map_err(|_| InvalidPercent)?;
    Percent::new(number).ok_or(InvalidPercent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, share) in [("90%", 90), ("90", 90), ("1 %", 1), ("100%", 100)] {
            assert_eq!(parse(text), Ok(Percent(share)), "{text}");
        }
        for text in ["", "%", "0%", "101%", "-1%", "0.9", "9e1", "90%%"] {
            assert_eq!(parse(text), Err(InvalidPercent), "{text}");
        }
        assert_eq!(parse("90").unwrap().to_string(), "90%");
    }

    #[test]
    fn a_share_is_rounded_down_and_fits() {
        let share = |hundredths| Percent::new(hundredths).unwrap();
        assert_eq!(share(90).of(10), 9);
        assert_eq!(share(90).of(9), 8);
        assert_eq!(share(90).of(1), 0);
        assert_eq!(share(100).of(u64::MAX), u64::MAX);
        assert_eq!(share(1).of(u64::MAX), u64::MAX / 100);
    }
}
