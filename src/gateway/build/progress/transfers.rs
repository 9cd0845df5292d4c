//! Layers on their way, in few rows: one for all, and one of its own for a few large ones.
//!
//! Terminals show some twenty rows, and a client knows a row by its text: a number that changes would
//! make a new row each time, so the row has bytes that change and a text that does not.

use std::collections::HashMap;

use tokio::time::Instant;

use super::{rows::Row, texts};
use crate::{
    cache::{Transfer, TransferKey, TransferState},
    digest::Digest,
};

/// A layer of this size has a row of its own: it takes long enough for people to ask for it, about a
/// second on a fast link.
const LARGE_LAYER: u64 = 64 << 20;

/// So many layers have rows of their own. With the row for all, the summary and a wait or two, that is
/// eight rows at most.
const MAX_LARGE_ROWS: usize = 4;

/// Characters of a digest that tell layers apart, as docker shows them.
const SHORT_DIGEST: usize = 12;

/// What happens to the layers of an export.
pub(super) const UPLOADING: &str = "uploading";

/// What happens to layers that an import reads.
pub(super) const FETCHING: &str = "fetching";

/// The layers of one job that move in one direction.
pub(super) struct Transfers {
    /// What happens to them.
    verb: &'static str,
    layers: HashMap<Digest, Layer>,
    /// Those with rows of their own.
    large: Vec<Digest>,
    begun: Option<Instant>,
    /// How many are sent of how many, once that is known.
    announced: Option<(usize, usize)>,
    /// The row for all is shown and not done.
    open: bool,
}

struct Layer {
    current: u64,
    total: u64,
    state: TransferState,
}

impl Transfers {
    pub fn new(verb: &'static str) -> Self {
        Self {
            verb,
            layers: HashMap::new(),
            large: Vec::new(),
            begun: None,
            announced: None,
            open: false,
        }
    }

    /// Takes the state of one transfer; the rows that show it.
    pub fn update(&mut self, transfer: &Transfer) -> Vec<Row> {
        let (TransferKey::Upload(digest) | TransferKey::Download(digest)) = transfer.key;
        self.begun.get_or_insert_with(Instant::now);
        let failed = transfer.state == TransferState::Failed;
        let layer = Layer {
            current: transfer.current,
            // What will not come is not waited for.
            total: if failed {
                transfer.current
            } else {
                transfer.total
            },
            state: transfer.state,
        };
        let is_large = layer.total >= LARGE_LAYER;
        self.layers.insert(digest, layer);
        if is_large && self.large.len() < MAX_LARGE_ROWS && !self.large.contains(&digest) {
            self.large.push(digest);
        }
        let all = self.row_of_all();
        self.open = !all.done;
        let mut rows = vec![all];
        rows.extend(self.large.contains(&digest).then(|| self.row_of(digest)));
        rows
    }

    /// All layers are known: `sending` of `total` are sent. From now on the row says so, if any of them is
    /// not there yet.
    pub fn announce(&mut self, sending: usize, total: usize) -> Vec<Row> {
        let until_now = self.end();
        self.announced = Some((sending, total));
        self.open = self.under_way() > 0 || self.layers.len() < sending;
        let from_now = self.open.then(|| self.row_of_all());
        until_now.into_iter().chain(from_now).collect()
    }

    /// The job is at its end: nothing moves any more.
    pub fn end(&mut self) -> Option<Row> {
        let row = self.row_of_all();
        std::mem::take(&mut self.open).then_some(Row { done: true, ..row })
    }

    /// How far it is, for the name of the vertex: `5 of 12 layers, 85 MB/s`.
    pub fn live_text(&self) -> Option<String> {
        if self.under_way() == 0 {
            return None;
        }
        let all = self.layers.len();
        let all = self.announced.map_or(all, |(sending, _)| all.max(sending));
        let done = self.layers.len() - self.under_way();
        let bytes = self.layers.values().map(|layer| layer.current).sum();
        let rate = self
            .begun
            .and_then(|begun| texts::rate(bytes, begun.elapsed()));
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate}"));
        Some(format!("{done} of {all} layers{rate}"))
    }

    fn under_way(&self) -> usize {
        let running = |layer: &&Layer| layer.state == TransferState::Running;
        self.layers.values().filter(running).count()
    }

    fn row_of_all(&self) -> Row {
        let text = match self.announced {
            Some((sending, total)) => format!("{} {sending} of {total} layers", self.verb),
            None => format!("{} layers", self.verb),
        };
        // Of uploads more may come until the export is at its end.
        let may_end = self.verb == FETCHING;
        Row {
            text,
            current: self.layers.values().map(|layer| layer.current).sum(),
            total: self.layers.values().map(|layer| layer.total).sum(),
            done: may_end && self.under_way() == 0,
        }
    }

    fn row_of(&self, digest: Digest) -> Row {
        let layer = &self.layers[&digest];
        Row {
            text: format!("{} sha256:{}", self.verb, &digest.hex()[..SHORT_DIGEST]),
            current: layer.current,
            total: layer.total,
            done: layer.state != TransferState::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, current: u64, total: u64, state: TransferState) -> Transfer {
        Transfer {
            key: TransferKey::Upload(Digest::sha256(name)),
            current,
            total,
            state,
        }
    }

    #[test]
    fn many_layers_are_one_row_and_the_first_large_ones_have_their_own() {
        let mut uploads = Transfers::new(UPLOADING);
        let mut texts = std::collections::BTreeSet::new();
        for layer in 0..40 {
            for (current, state_of) in [(0, TransferState::Running), (9, TransferState::Done)] {
                let size = if layer < 30 { 9 } else { LARGE_LAYER };
                let rows = uploads.update(&state(&layer.to_string(), current, size, state_of));
                texts.extend(rows.into_iter().map(|row| row.text));
            }
        }
        assert_eq!(texts.len(), 1 + MAX_LARGE_ROWS, "{texts:?}");
        let last = uploads.end().unwrap();
        assert_eq!((last.current, last.total), (360, 270 + 10 * LARGE_LAYER));
    }

    #[tokio::test(start_paused = true)]
    async fn the_row_says_how_many_once_that_is_known() {
        let mut uploads = Transfers::new(UPLOADING);
        let rows = uploads.update(&state("a", 0, 10, TransferState::Running));
        assert_eq!(rows[0].text, "uploading layers");
        let rows = uploads.update(&state("a", 10, 10, TransferState::Done));
        assert!(!rows[0].done, "more may come");
        uploads.update(&state("b", 5, 10, TransferState::Running));
        tokio::time::advance(std::time::Duration::from_secs(3)).await;
        let live = uploads.live_text();
        assert_eq!(live.as_deref(), Some("1 of 2 layers, 5 B/s"));
        let rows = uploads.announce(2, 7);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (row.text.as_str(), row.done))
            .collect();
        let expected = [
            ("uploading layers", true),
            ("uploading 2 of 7 layers", false),
        ];
        assert_eq!(shown, expected);
        let rows = uploads.update(&state("b", 5, 10, TransferState::Failed));
        assert_eq!((rows[0].current, rows[0].total), (15, 15));
        assert_eq!(uploads.live_text(), None);
        assert!(uploads.end().is_some_and(|row| row.done) && uploads.end().is_none());
        let nothing_yet = Transfers::new(UPLOADING).announce(3, 7);
        assert_eq!(nothing_yet[0].text, "uploading 3 of 7 layers");
    }
}
