//! How the bytes of an entry are cut into parts. All of the cutting is here, and pure.

use std::ops::Range;

use crate::protocol::v1;

/// Most blocks that Azure accepts in one blob.
const MAX_BLOCKS: u64 = 50_000;

/// Parts never become larger than this, since each part in flight is held in memory. With 50,000
/// blocks it allows entries of 1.5 TiB.
const MAX_PART: u64 = 32 << 20;
const _: () = assert!(MAX_PART <= v1::MAX_CHUNK);

/// Parts grow in these steps.
const PART_STEP: u64 = 1 << 20;

/// How an entry is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    part: u64,
}

impl Plan {
    /// Cuts `size` bytes into parts of `wanted` bytes, or more where they would be too many.
    /// `None` if no allowed cut exists.
    pub fn new(size: u64, wanted: u64) -> Option<Self> {
        let wanted = wanted.clamp(1, MAX_PART);
        let part = if size.div_ceil(wanted) <= MAX_BLOCKS {
            wanted
        } else {
            size.div_ceil(MAX_BLOCKS).next_multiple_of(PART_STEP)
        };
        (part <= MAX_PART).then_some(Self { size, part })
    }

    /// The parts in order; none of an empty entry.
    pub fn parts(self) -> impl ExactSizeIterator<Item = Part> + Send + use<> {
        (0..self.count()).map(move |index| {
            let start = u64::from(index) * self.part;
            Part {
                index,
                range: start..(start + self.part).min(self.size),
            }
        })
    }

    /// How many parts there are.
    pub fn count(self) -> u32 {
        u32::try_from(self.size.div_ceil(self.part)).expect("at most 50,000 parts")
    }

    /// All of the entry as one part.
    pub fn whole(self) -> Part {
        Part {
            index: 0,
            range: 0..self.size,
        }
    }

    /// True if one request can carry it all.
    pub fn is_single(self) -> bool {
        self.size <= self.part
    }
}

/// One piece of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place in the order.
    pub index: u32,
    /// Its bytes within the entry; never empty.
    pub range: Range<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn lengths(size: u64, wanted: u64) -> Vec<u64> {
        let parts = Plan::new(size, wanted).unwrap().parts();
        parts
            .map(|part| part.range.end - part.range.start)
            .collect()
    }

    #[test]
    fn parts_cover_the_entry_without_gaps() {
        assert_eq!(lengths(0, 8), [0; 0]);
        assert_eq!(lengths(8, 8), [8]);
        assert_eq!(lengths(17, 8), [8, 8, 1]);
        let mut end = 0;
        for part in Plan::new(1_000_003, 1_000).unwrap().parts() {
            assert_eq!(part.range.start, end);
            end = part.range.end;
        }
        assert_eq!(end, 1_000_003);
    }

    #[test]
    fn parts_grow_rather_than_become_too_many() {
        let size = 8 * MIB * MAX_BLOCKS;
        assert_eq!(Plan::new(size, 8 * MIB).unwrap().part, 8 * MIB);
        assert_eq!(Plan::new(size + 1, 8 * MIB).unwrap().part, 9 * MIB);
        assert_eq!(Plan::new(size + 1, 8 * MIB).unwrap().parts().len(), 44_445);
        assert_eq!(Plan::new(MAX_PART * MAX_BLOCKS + 1, 8 * MIB), None);
        assert_eq!(Plan::new(u64::MAX, 8 * MIB), None);
    }

    #[test]
    fn unreasonable_wishes_are_bounded() {
        assert_eq!(Plan::new(10, 0).unwrap().parts().len(), 10);
        assert_eq!(Plan::new(1 << 40, u64::MAX).unwrap().part, MAX_PART);
    }
}
