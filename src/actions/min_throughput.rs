//! Tells a transfer that moves from one that only looks alive.

use std::time::Duration;

/// What a transfer must bring on average, in bytes a second. No link worth having is slower, and a
/// server that sends a byte now and then would otherwise hold a call for ever.
pub const MIN_BYTES_PER_SECOND: u64 = 1 << 10;

/// How fast a body comes: in every `window` spent waiting for it, [`MIN_BYTES_PER_SECOND`] at least. Time in
/// which nobody asked for bytes is not counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct MinThroughput {
    window: Duration,
    left: Duration,
    moved: u64,
}

impl MinThroughput {
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            left: window,
            moved: 0,
        }
    }

    /// How long the next bytes may take.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Notes that bytes came after `waited`.
    pub fn moved(&mut self, bytes: usize, waited: Duration) {
        self.moved = self.moved.saturating_add(bytes as u64);
        self.left = self.left.saturating_sub(waited);
        if self.moved >= min_bytes(self.window) {
            *self = Self::new(self.window);
        }
    }

    /// What is wrong, once no time is left.
    pub fn describe(&self) -> String {
        match self.moved {
            0 => format!("nothing moved for {:?}", self.window),
            moved => format!("only {moved} bytes came in {:?}", self.window),
        }
    }
}

/// What must move in `time`.
pub fn min_bytes(time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    (millis.saturating_mul(MIN_BYTES_PER_SECOND) / 1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        let mut speed = MinThroughput::new(WINDOW);
        for _ in 0..29 {
            speed.moved(1, SECOND);
        }
        assert_eq!(speed.left(), SECOND);
        assert_eq!(speed.describe(), "only 29 bytes came in 30s");
        assert_eq!(
            MinThroughput::new(WINDOW).describe(),
            "nothing moved for 30s"
        );
    }

    #[test]
    fn the_slowest_link_goes_on_for_ever() {
        let mut speed = MinThroughput::new(WINDOW);
        for _ in 0..10_000 {
            speed.moved(1 << 10, SECOND);
            assert!(speed.left() >= SECOND);
        }
    }

    #[test]
    fn short_windows_ask_for_something() {
        assert_eq!(min_bytes(Duration::from_millis(1)), 1);
        assert_eq!(min_bytes(WINDOW), 30 << 10);
        assert!(min_bytes(Duration::MAX) > u64::MAX / 1001);
    }
}
