//! How many refusals are written down.

use jiff::{SignedDuration, Timestamp};

/// Most refusals in one [`WINDOW`]. Anybody can cause them, and each is a line of some 300 bytes: a flood takes 26 MB a
/// day of a disk, which leaves time to see it.
const MAX_DENIALS: u32 = 60;

const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// How many were written lately, and how many were not.
#[derive(Debug, Default)]
pub(super) struct DenialLimit {
    begun: Option<Timestamp>,
    written: u32,
    left_out: u64,
}

impl DenialLimit {
    /// Counts one that comes now. If it is to be written, answers how many were left out since the last that was.
    pub(super) fn admit(&mut self, now: Timestamp) -> Option<u64> {
        let passed = self.begun.map(|begun| now.duration_since(begun));
        // After a clock that was set back it has begun in the future.
        if passed.is_none_or(|passed| passed.is_negative() || passed >= WINDOW) {
            (self.begun, self.written) = (Some(now), 0);
        }
        if self.written == MAX_DENIALS {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(self.take_left_out())
    }

    /// How many were left out since that was last said.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written() {
        let mut limit = DenialLimit::default();
        let time = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let flood = (0..1000).filter(|_| limit.admit(time(0)).is_some());
        assert_eq!(flood.count(), 60);
        assert_eq!(limit.admit(time(59)), None);
        assert_eq!(limit.admit(time(60)), Some(941));
        assert_eq!(limit.admit(time(60)), Some(0));
        assert_eq!(limit.admit(time(0)), Some(0), "the clock was set back");
        assert_eq!(limit.take_left_out(), 0);
    }
}
