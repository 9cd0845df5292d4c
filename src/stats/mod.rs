//! What a gateway tells over its admin socket: the documents, and how people read them.

mod document;
mod drain;
mod markdown;
mod summary;
mod table;
mod text;

pub use document::{
    Build, Export, ExportState, Import, Index, Missed, NoIndex, Outcome, Stats, Steps,
};
pub use drain::{DrainState, DrainStatus, FailedExports, UnfinishedExport};

impl Stats {
    /// The same with the `last` builds only.
    #[must_use]
    pub fn last(mut self, last: usize) -> Self {
        self.builds.truncate(last);
        self
    }

    /// As the document itself.
    pub fn to_json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("it has texts and numbers only");
        text + "\n"
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
