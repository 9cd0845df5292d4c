//! Durations of the command line and of the environment: one grammar for all of them.

use std::time::Duration;

use crate::cache::go_duration;

/// Reads a duration as Go writes it, days included (`90s`, `1h30m`, `90d`). No time at all is
/// refused: nothing that is set by it can work without any.
pub fn parse(text: &str) -> Result<Duration, String> {
    match go_duration::parse(text) {
        Ok(Duration::ZERO) => Err("no time at all".to_owned()),
        parsed => parsed.map_err(|why| why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_more_than_nothing() {
        assert_eq!(parse("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(parse("0s"), Err("no time at all".to_owned()));
        assert!(parse("soon").is_err());
    }
}
