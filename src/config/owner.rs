//! Groups by name, as `--group` takes them.

use std::io;

/// The system's groups.
const GROUP_FILE: &str = "/etc/group";

/// Why a group is not known.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// No group has the name.
    #[error("--group {0:?}: no such group")]
    Unknown(String),
    /// The system's groups cannot be read.
    #[error("--group {0:?}: cannot read {GROUP_FILE}: {1}")]
    Read(String, io::Error),
}

/// The id of a group that is given by number or name.
pub fn gid(group: &str) -> Result<u32, GroupError> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let groups = std::fs::read_to_string(GROUP_FILE)
        .map_err(|error| GroupError::Read(group.into(), error))?;
    find(&groups, group).ok_or_else(|| GroupError::Unknown(group.into()))
}

/// Lines are `name:password:id:members`.
fn find(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        (parts.next() == Some(name)).then(|| parts.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\ndocker-users:x:5:\ndocker:x:998:a,b\n";
        assert_eq!(find(groups, "docker"), Some(998));
        assert_eq!(find(groups, "dock"), None);
        assert_eq!(gid("12").unwrap(), 12);
    }
}
