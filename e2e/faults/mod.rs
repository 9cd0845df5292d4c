//! The fault matrix: what a build does when one remote operation of its cache goes wrong.
//!
//! A [`cell::Cell`] is one fault, when it happens, on one operation of an export or an import. Each
//! runs on the real programs: buildctl, the gateway, buildkitd, a proxy of its own that makes the
//! fault, our service. What was seen is judged by what users are promised, and written to
//! `docs/FAULTS.md`.
//!
//! | file | what |
//! |---|---|
//! | `cell`, `plan`, `terms` | what a cell is, and which ones there are |
//! | `promise` | what users are promised for a cell |
//! | `lane` | a gateway and its daemon, which run cells one after another |
//! | `corner` | what one cell has for itself, and the builds that it makes |
//! | `remote` | what is really in the cache, read without any code of the program's |
//! | `seen` | what one cell came to |
//! | `matrix` | all cells on several lanes, and how much longer than an undisturbed build each took |
//! | `table`, `rows`, `told` | the document: its tables, and what users read |
//! | `proven` | the promises one by one, and the cells that prove each |
//! | `detail` | every cell by itself, for programs |

pub mod cell;
mod corner;
pub mod detail;
mod lane;
pub mod matrix;
pub mod plan;
mod promise;
mod proven;
mod remote;
mod rows;
mod seen;
pub mod table;
mod terms;
mod told;
