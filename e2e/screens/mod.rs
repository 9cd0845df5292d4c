//! The pictures of `docs/BUILD-LOG.md`: the same builds with stock buildkitd and with the gateway, in a
//! terminal and in plain and raw progress. `make screens` writes the page.

mod page;
mod scene;

pub use page::write;
