//! The fault matrix: what a build does when one remote operation of its cache goes wrong.
//!
//! A [`cell::Cell`] is one fault, when it happens, on one operation of an export or an import. Each
//! runs on the real programs: buildctl, the gateway, buildkitd, a proxy of its own that makes the
//! fault, our service. What was seen is compared with what is expected, and written to
//! `docs/FAULTS.md`.
//!
//! | file | what |
//! |---|---|
//! | `cell` | what a cell is |
//! | `operations` | the operations of a cache, and what can go wrong with each |
//! | `plan`, `option_cells` | all cells |
//! | `limits`, `expectation`, `time` | what a cell may come to, and how long it may take |
//! | `environment` | a gateway, its daemon and a service, which cells share |
//! | `case` | what one cell has for itself, and the builds that it makes |
//! | `worker` | runs cells one after another |
//! | `remote` | what is really in the cache, read without any code of the program's |
//! | `observation` | what one cell came to |
//! | `matrix` | all cells on several workers, and how much longer than an undisturbed build each took |
//! | `table`, `rows`, `messages` | the document: its tables, and what users read |
//! | `guarantees` | what users are promised, and the cells that prove it |
//! | `detail` | every cell by itself, for programs |

mod case;
pub mod cell;
pub mod detail;
mod environment;
mod expectation;
mod guarantees;
mod limits;
pub mod matrix;
mod messages;
mod observation;
mod operations;
mod option_cells;
pub mod plan;
mod remote;
mod rows;
pub mod table;
mod time;
mod worker;
