//! Which bytes of an entry have come, in whatever order.

use std::{collections::BTreeMap, ops::Range};

/// Which bytes are there: ranges that do not touch, by their starts.
#[derive(Debug, Default)]
pub(super) struct WrittenRanges(BTreeMap<u64, u64>);

impl WrittenRanges {
    pub fn add(&mut self, range: Range<u64>) {
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&s, &e)) = self.0.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.0.remove(&s);
            (start, end) = (start.min(s), end.max(e));
        }
        self.0.insert(start, end);
    }

    /// How many bytes there are from the start without a gap, if nothing lies beyond them.
    pub fn contiguous(&self) -> u64 {
        self.0.get(&0).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_any_order_are_counted_without_gaps() {
        let mut written = WrittenRanges::default();
        for (range, contiguous) in [
            (10..20, 0),
            (0..5, 5),
            (4..8, 8),
            (30..40, 8),
            (8..10, 20),
            (0..50, 50),
        ] {
            written.add(range.clone());
            assert_eq!(written.contiguous(), contiguous, "{range:?}");
        }
        assert_eq!(written.0.len(), 1);
    }
}
