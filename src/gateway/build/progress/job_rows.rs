//! What the jobs of one vertex show: their rows, and the end of the vertex's name.

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    live::Waits,
    rows::Row,
    texts,
    transfers::{FETCHING, Transfers, UPLOADING},
};
use crate::cache::{Event, TransferKey, Wait};

/// The rows of the jobs that report on one vertex.
pub(super) struct JobRows {
    uploads: Transfers,
    downloads: Transfers,
    waits: Waits,
}

impl Default for JobRows {
    fn default() -> Self {
        Self {
            uploads: Transfers::new(UPLOADING),
            downloads: Transfers::new(FETCHING),
            waits: Waits::default(),
        }
    }
}

impl JobRows {
    /// The rows that show an event.
    pub fn update(&mut self, event: &Event) -> Vec<Row> {
        match event {
            Event::Warning(_) => Vec::new(),
            Event::Note(text) => vec![Row::note(text.clone())],
            Event::Transfer(transfer) => match transfer.key {
                TransferKey::Upload(_) => self.uploads.update(transfer),
                TransferKey::Download(_) => self.downloads.update(transfer),
            },
            Event::Wait(wait) => {
                self.waits.update(wait);
                vec![row_of_wait(wait)]
            }
            Event::LastLayers { sending, total } => self.uploads.announce(*sending, *total),
            Event::Indexes { scope, indexes } => {
                let text = texts::indexes(scope, indexes, Timestamp::now());
                vec![Row::note(text)]
            }
            Event::ExportSummary(summary) => {
                let ended = self.uploads.end().into_iter();
                ended.chain(texts::export(summary).map(Row::note)).collect()
            }
            Event::ImportSummary(summary) => {
                let ended = self.downloads.end().into_iter();
                ended.chain(texts::import(summary).map(Row::note)).collect()
            }
        }
    }

    /// The waits that go on, to be shown again: plain progress prints a row when it has changed.
    pub fn waits(&self) -> impl Iterator<Item = Row> {
        self.waits.texts().map(|text| Row {
            done: false,
            ..Row::note(text.clone())
        })
    }

    /// What stands behind the name of the vertex.
    pub fn live_text(&self, now: Instant) -> Option<String> {
        let moving = [&self.uploads, &self.downloads];
        let moving = moving.into_iter().filter_map(Transfers::live_text);
        let texts: Vec<_> = moving.chain(self.waits.live_text(now)).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

fn row_of_wait(wait: &Wait) -> Row {
    Row {
        done: wait.over,
        ..Row::note(wait.text.clone())
    }
}
