//! The two programs that are compared.

use serde::Serialize;

/// Whose `type=gha` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Side {
    Stock,
    Ours,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Stock, Self::Ours];
}
