//! The block lists that `serve` takes: what is read is bounded, and the same when it is written again.

use buildkit_gha::protocol::block_list::{MAX_BLOCKS, MAX_ID_BYTES, check_id, parse, write};

/// A body of a Put Block List.
pub fn body(data: &[u8]) {
    let Ok(xml) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(ids) = parse(xml) else {
        return;
    };
    assert!(ids.len() <= MAX_BLOCKS);
    for id in &ids {
        assert_eq!(check_id(id), Ok(*id));
        // Four characters of base64 are three bytes.
        assert!(id.len() <= MAX_ID_BYTES.div_ceil(3) * 4, "{id}");
        assert!(!id.contains(['<', '>', '&', '"']), "{id}");
    }
    assert_eq!(parse(&write(&ids)), Ok(ids));
}
