//! What a gateway knows of its last builds: the document, and how people read it.

mod document;
mod markdown;
mod summary;
mod table;
mod text;

pub use document::{Build, Export, ExportState, Import, Index, Missed, Outcome, Stats, Steps};

impl Stats {
    /// The same with the `last` builds only.
    #[must_use]
    pub fn last(mut self, last: usize) -> Self {
        self.builds.truncate(last);
        self
    }

    /// As a table for a terminal.
    pub fn to_table(&self) -> String {
        table::render(self)
    }

    /// As the summary of a GitHub job.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }
}
