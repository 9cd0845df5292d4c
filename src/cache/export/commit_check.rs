//! Whether what BuildKit has written is what it said it would write.

use crate::{
    content::{Commit, Error},
    digest::Digest,
};

/// An error unless `size` bytes with the digest `written` are what was announced: as the ref `named`,
/// as `total` bytes, and in the `commit`.
pub(super) fn check_commit(
    named: Digest,
    written: Digest,
    total: Option<u64>,
    size: u64,
    commit: &Commit,
) -> Result<(), Error> {
    if let Some(total) = total.filter(|total| *total != size) {
        return Err(Error::FailedPrecondition(format!(
            "cache export: {named} has {size} bytes where {total} were announced"
        )));
    }
    for expected in [Some(named), commit.expected].into_iter().flatten() {
        if expected != written {
            return Err(Error::FailedPrecondition(format!(
                "cache export: the bytes written as {expected} are {written}"
            )));
        }
    }
    Ok(())
}
