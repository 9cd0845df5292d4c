//! Azure's block list: the blocks that make a blob, in their order, as XML.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// Most blocks of one list: what Azure allows.
pub const MAX_BLOCKS: usize = 50_000;

/// Longest block id once decoded from base64: what Azure allows.
pub const MAX_ID_BYTES: usize = 64;

/// Why a body is no list of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockListError {
    /// Not the XML of a block list.
    #[error("the body is not a block list")]
    Malformed,
    /// More than [`MAX_BLOCKS`].
    #[error("the list is too long")]
    TooLong,
    /// An id that is none.
    #[error("the block id is not valid")]
    Id,
}

/// Reads the ids of `<BlockList><Latest>…</Latest>…</BlockList>` in their order. `Committed` and
/// `Uncommitted` mean the same here, since a blob is committed once.
pub fn parse(xml: &str) -> Result<Vec<&str>, BlockListError> {
    const MALFORMED: BlockListError = BlockListError::Malformed;
    let mut rest = xml.trim_start_matches('\u{feff}').trim();
    if rest.starts_with("<?xml") {
        rest = rest.split_once("?>").ok_or(MALFORMED)?.1.trim();
    }
    if rest == "<BlockList/>" || rest == "<BlockList />" {
        return Ok(Vec::new());
    }
    rest = rest.strip_prefix("<BlockList>").ok_or(MALFORMED)?;
    rest = rest.strip_suffix("</BlockList>").ok_or(MALFORMED)?;
    let mut ids = Vec::new();
    while let Some(element) = rest.trim_start().strip_prefix('<') {
        let (kind, content) = element.split_once('>').ok_or(MALFORMED)?;
        if !matches!(kind, "Latest" | "Committed" | "Uncommitted") {
            return Err(MALFORMED);
        }
        let (id, after) = content.split_once("</").ok_or(MALFORMED)?;
        rest = after
            .strip_prefix(kind)
            .and_then(|after| after.strip_prefix('>'))
            .ok_or(MALFORMED)?;
        ids.push(check_id(id.trim())?);
        if ids.len() > MAX_BLOCKS {
            return Err(BlockListError::TooLong);
        }
    }
    if rest.trim().is_empty() {
        Ok(ids)
    } else {
        Err(MALFORMED)
    }
}

/// Writes a list of these ids, which must be block ids.
pub fn write<S: AsRef<str>>(ids: impl IntoIterator<Item = S>) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>".to_owned();
    for id in ids {
        xml.extend(["<Latest>", id.as_ref(), "</Latest>"]);
    }
    xml.push_str("</BlockList>");
    xml
}

/// A block id is base64 of at most [`MAX_ID_BYTES`].
pub fn check_id(id: &str) -> Result<&str, BlockListError> {
    let decoded = BASE64_STANDARD.decode(id).unwrap_or_default();
    if decoded.is_empty() || decoded.len() > MAX_ID_BYTES {
        return Err(BlockListError::Id);
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lists_of_both_clients_are_read() {
        let go = "<BlockList><Latest>YQ==</Latest><Latest>Yg==</Latest></BlockList>";
        let js = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<BlockList>\n  \
                  <Uncommitted>YQ==</Uncommitted>\n<Committed>Yg==</Committed>\n</BlockList>\n";
        for xml in [go, js, &write(["YQ==", "Yg=="])] {
            assert_eq!(parse(xml).unwrap(), ["YQ==", "Yg=="]);
        }
        assert!(parse("<BlockList></BlockList>").unwrap().is_empty());
    }

    #[test]
    fn other_bodies_are_refused() {
        for xml in [
            "",
            "{}",
            "<BlockList><Latest>YQ==</Latest>",
            "<BlockList><Latest>YQ==</Uncommitted></BlockList>",
            "<BlockList><Other>YQ==</Other></BlockList>",
            "<BlockList><Latest>not base64!</Latest></BlockList>",
            "<BlockList>text</BlockList>",
            "<BlockList><Latest></Latest></BlockList>",
        ] {
            assert!(parse(xml).is_err(), "{xml}");
        }
    }

    #[test]
    fn block_ids_have_at_most_64_bytes() {
        assert!(check_id(&BASE64_STANDARD.encode([7; 64])).is_ok());
        assert!(check_id(&BASE64_STANDARD.encode([7; 65])).is_err());
    }
}
