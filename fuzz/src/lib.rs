//! What the fuzz targets assert: one module per target, each with a `body` that takes any bytes
//! and panics if a promise is broken.
//!
//! `fuzz_targets/` calls the bodies under libFuzzer, `tests/corpus.rs` over the saved corpus.

pub mod attributes;
pub mod block_list;
pub mod filter;
pub mod framing;
pub mod index;
pub mod keys;
pub mod listing;
pub mod manifest;
pub mod proxy_protocol;
pub mod query;
pub mod range;
pub mod solve;
pub mod token;
pub mod twirp;
pub mod wire;

/// A target: its name, which is also that of its folder in `corpus/`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 15] = [
    ("attributes", attributes::body),
    ("block_list", block_list::body),
    ("filter", filter::body),
    ("framing", framing::body),
    ("index", index::body),
    ("keys", keys::body),
    ("listing", listing::body),
    ("manifest", manifest::body),
    ("proxy_protocol", proxy_protocol::body),
    ("query", query::body),
    ("range", range::body),
    ("solve", solve::body),
    ("token", token::body),
    ("twirp", twirp::body),
    ("wire", wire::body),
];

/// The text before the first byte `mark`, and the bytes after it: two inputs in one.
fn split_at_mark(data: &[u8], mark: u8) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == mark);
    end.map_or((data, &[]), |end| (&data[..end], &data[end + 1..]))
}
