//! What a command prints: a document as a table or as JSON.

use serde::Serialize;

/// What a command has found out.
pub trait Document: Serialize {
    /// For people.
    fn table(&self) -> String;

    /// What people must know beside it.
    fn notes(&self) -> &[String];

    /// For programs: one JSON object and the end of a line.
    fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.expect("documents are texts, numbers and lists") + "\n"
    }
}
