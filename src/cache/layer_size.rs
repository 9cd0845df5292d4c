//! Whether an entry has the size of the layer that it stands for. Exports and imports decide it alike.

/// The expected size, if the entry has another one. Where nobody knows what to expect, every size is
/// right.
pub(super) fn mismatch(expected: Option<u64>, actual: u64) -> Option<u64> {
    expected.filter(|expected| *expected != actual)
}

/// Whether the entry has the expected size, as far as that is known.
pub(super) fn matches(expected: Option<u64>, actual: u64) -> bool {
    mismatch(expected, actual).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_size_is_no_mismatch() {
        assert!(matches(None, 7) && matches(Some(7), 7));
        assert!(!matches(Some(0), 7));
        assert_eq!(mismatch(Some(8), 7), Some(8));
    }
}
