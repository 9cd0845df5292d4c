//! `Range` and `Content-Range`: what is accepted lies inside the content, ends included.

use buildkit_gha::protocol::range::{ContentRange, RangeError, parse_request};

/// Eight bytes of size, then the header's text.
pub fn body(data: &[u8]) {
    let Some((size, text)) = data.split_first_chunk() else {
        return;
    };
    let size = u64::from_be_bytes(*size);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match parse_request(text, size) {
        Ok(range) => assert!(range.start < range.end && range.end <= size, "{range:?}"),
        Err(RangeError::Malformed(quoted)) => assert!(text.starts_with(&quoted)),
        Err(error) => assert_eq!(error, RangeError::Unsatisfiable { size }),
    }
    if let Ok(read) = ContentRange::parse(text) {
        assert!(read.range.start < read.range.end);
        assert!(read.total.is_none_or(|total| read.range.end <= total));
        assert_eq!(ContentRange::parse(&read.to_string()), Ok(read));
    }
}
