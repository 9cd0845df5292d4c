//! The wire language of the Actions cache: names, types and limits, and no I/O.
//!
//! Client (`actions`), embedded service (`service`) and loopback endpoint (`gateway`) share it,
//! so whatever it says is also tested against peers that this project did not write.

pub mod block_list;
pub mod identity;
pub mod key;
pub mod range;
pub mod rest;
pub mod scope;
pub mod v1;
pub mod v2;
