//! Which bytes of which objects an entry consists of.

use std::{collections::VecDeque, ops::Range};

/// What a blob store keeps as one thing: a file, or an object of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ObjectId(pub(crate) i64);

/// Some bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The object.
    pub(crate) object: ObjectId,
    /// Where they begin in it.
    pub(crate) offset: u64,
    /// How many there are.
    pub(crate) len: u64,
}

impl Extent {
    /// Where they end in their object.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// Some bytes of object 1.
#[cfg(test)]
impl From<(u64, u64)> for Extent {
    fn from((offset, len): (u64, u64)) -> Self {
        let object = ObjectId(1);
        Self {
            object,
            offset,
            len,
        }
    }
}

/// How long an object must be at least that holds all of these.
pub(super) fn end_of_all(extents: &[Extent]) -> u64 {
    extents.iter().map(Extent::end).max().unwrap_or(0)
}

/// Joins extents that touch and leaves empty ones out.
pub(crate) fn merge(extents: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let mut merged: Vec<Extent> = Vec::new();
    for extent in extents.into_iter().filter(|extent| extent.len > 0) {
        match merged.last_mut() {
            Some(last) if last.object == extent.object && last.end() == extent.offset => {
                last.len += extent.len;
            }
            _ => merged.push(extent),
        }
    }
    merged
}

/// The extents that hold `range` of the content in `extents`.
pub(super) fn select(extents: &[Extent], range: Range<u64>) -> Vec<Extent> {
    let mut selected = Vec::new();
    let mut position = 0;
    for extent in extents {
        let start = range.start.max(position);
        let end = range.end.min(position + extent.len);
        if start < end {
            selected.push(Extent {
                offset: extent.offset + (start - position),
                len: end - start,
                ..*extent
            });
        }
        position += extent.len;
    }
    selected
}

/// Takes the first extents, with at most `most` bytes in all, from `rest`.
pub(super) fn take(rest: &mut VecDeque<Extent>, most: u64) -> Vec<Extent> {
    let mut taken = Vec::new();
    let mut room = most;
    while room > 0
        && let Some(mut extent) = rest.pop_front()
    {
        let len = extent.len.min(room);
        if len == 0 {
            continue;
        }
        taken.push(Extent { len, ..extent });
        room -= len;
        extent.offset += len;
        extent.len -= len;
        if extent.len > 0 {
            rest.push_front(extent);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_that_touch_are_one() {
        let extents = [(0, 5), (5, 5), (10, 0), (10, 1), (20, 1)].map(Extent::from);
        assert_eq!(merge(extents), [(0, 11), (20, 1)].map(Extent::from));
        let other = Extent {
            object: ObjectId(2),
            ..Extent::from((5, 5))
        };
        let apart = [(0, 5).into(), other];
        assert_eq!(merge(apart), apart, "of two objects");
    }

    #[test]
    fn a_range_is_cut_out_of_the_extents() {
        let extents = [(100, 10), (50, 5), (0, 20)].map(Extent::from);
        let selected = |range| select(&extents, range);
        assert_eq!(selected(0..35), extents);
        assert_eq!(selected(3..4), [(103, 1)].map(Extent::from));
        let across = [(109, 1), (50, 5), (0, 1)].map(Extent::from);
        assert_eq!(selected(9..16), across);
        assert_eq!(selected(35..40), []);
    }

    #[test]
    fn crumbs_are_taken_together_and_a_large_extent_in_pieces() {
        let mut rest = VecDeque::from([(7, 1), (3, 2), (100, 9)].map(Extent::from));
        assert_eq!(
            take(&mut rest, 5),
            [(7, 1), (3, 2), (100, 2)].map(Extent::from)
        );
        assert_eq!(take(&mut rest, 5), [(102, 5)].map(Extent::from));
        assert_eq!(take(&mut rest, 5), [(107, 2)].map(Extent::from));
        assert_eq!(take(&mut rest, 5), []);
        let mut nothing = VecDeque::from([(7, 0)].map(Extent::from));
        assert_eq!(take(&mut nothing, 5), []);
    }
}
