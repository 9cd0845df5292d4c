//! How long the gateway of a cell may wait.

/// How long an export may take in all where a fault stays, in seconds: it ends soon.
pub const TIMEOUT: u64 = 20;

/// The same where the fault passes: nothing but a hang reaches it, however slow the machine is.
pub const LONG_TIMEOUT: u64 = 120;

/// How long a call may take and a transfer go without progress, in seconds.
pub const SILENCE: u64 = 3;
