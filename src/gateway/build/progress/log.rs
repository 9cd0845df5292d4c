//! What jobs say, in the gateway's own log.

use jiff::Timestamp;

use super::texts;
use crate::cache::Event;

/// The gateway's log has it too: not every build is watched.
pub(super) fn log(event: &Event) {
    match event {
        Event::Warning(warning) => tracing::warn!(detail = ?warning.detail, "{}", warning.short),
        Event::Note(text) => tracing::info!("{text}"),
        Event::ExportSummary(summary) => {
            let text = texts::export(summary);
            text.inspect(|text| tracing::info!(scope = summary.scope, "{text}"));
        }
        Event::ImportSummary(summary) => {
            texts::import(summary).inspect(|text| tracing::info!("{text}"));
        }
        Event::Indexes { scope, indexes } => {
            tracing::info!("{}", texts::indexes(scope, indexes, Timestamp::now()));
        }
        Event::Transfer(_) | Event::Wait(_) | Event::LastLayers { .. } => {}
    }
}
