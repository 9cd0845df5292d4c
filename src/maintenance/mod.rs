//! What people do with a cache between builds: list, inspect, measure, prune, verify.
//!
//! | file | what |
//! |---|---|
//! | `remote` | where a cache is, and the clients that commands ask |
//! | `entries`, `filter` | entries by what they hold; which ones a command is about |
//! | `listing`, `content`, `snapshot` | all entries; what indexes name; both at one time |
//! | `liveness`, `plan` | what indexes need; what a prune removes: both without I/O |
//! | `ls`, `inspect`, `usage`, `prune`, `verify` | one command each: its document, and its table |
//! | `removal`, `keep_alive`, `download` | what the last two do |
//! | `progress`, `table`, `output` | what people see |
//!
//! An index never outlives a layer that it names by the hand of a prune: indexes go first, and what an index
//! names, or one may name that cannot be read, stays (ADR 59).

mod content;
mod download;
mod entries;
mod filter;
mod inspect;
mod keep_alive;
mod listing;
mod liveness;
mod ls;
mod output;
mod plan;
mod progress;
mod prune;
mod remote;
mod removal;
mod snapshot;
mod table;
mod usage;
mod verify;

pub use filter::{Filter, FilterArg};
pub use inspect::inspect;
pub use ls::list;
pub use output::Document;
pub use plan::Options;
pub use progress::Progress;
pub use prune::PrunePlan;
pub use remote::{Access, Remote};
pub use table::Table;
pub use usage::usage;
pub use verify::verify;
