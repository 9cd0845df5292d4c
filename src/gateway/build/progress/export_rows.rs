//! One export of ours: BuildKit's vertex for it, and what waits for that to begin.

use std::time::Duration;

use prost_types::Timestamp;
use tokio::time::Instant;

use super::job_rows::JobRows;
use crate::{cache::Event, proto::control::Vertex};

/// How long events wait for BuildKit's vertex: clients drop what belongs to one that they do not know, and
/// BuildKit tells of it a moment after its first write. A version that has no such vertex never does.
const HOLD: Duration = Duration::from_secs(1);

/// Events that wait at most.
const MAX_HELD: usize = 1000;

/// An export of ours.
#[derive(Default)]
pub(super) struct ExportRows {
    pub rows: JobRows,
    /// It has come to something.
    pub ended: bool,
    vertex: VertexState,
    held: Vec<Event>,
    until: Option<Instant>,
}

#[derive(Default)]
enum VertexState {
    /// BuildKit has not told of it.
    #[default]
    Unknown,
    Begun(Timestamp),
    Completed,
    /// It did not come in time: what the export tells stands on our own vertex.
    Late,
}

/// Where an event belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Below BuildKit's vertex.
    Here,
    /// Below our own.
    OwnVertex,
    /// Nowhere yet.
    Held,
}

impl ExportRows {
    /// Takes what BuildKit says of the vertex. True if it is known from now on.
    pub fn record(&mut self, vertex: &Vertex) -> bool {
        let known = self.is_known();
        match (&self.vertex, vertex.started) {
            (VertexState::Completed | VertexState::Late, _) | (_, None) => {}
            (_, Some(_)) if vertex.completed.is_some() => self.vertex = VertexState::Completed,
            (_, Some(started)) => self.vertex = VertexState::Begun(started),
        }
        !known && self.is_known()
    }

    /// Where an event belongs that comes now.
    pub fn place(&mut self, now: Instant) -> Place {
        if self.is_known() {
            return Place::Here;
        }
        let until = *self.until.get_or_insert(now + HOLD);
        if matches!(self.vertex, VertexState::Late) || now >= until || self.held.len() >= MAX_HELD {
            self.vertex = VertexState::Late;
            return Place::OwnVertex;
        }
        Place::Held
    }

    pub fn hold(&mut self, event: Event) {
        self.held.push(event);
    }

    /// When events that wait must be shown elsewhere.
    pub fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| !self.held.is_empty())
    }

    /// The events that have waited.
    pub fn take_held(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.held)
    }

    /// Waits for the vertex no longer.
    pub fn give_up(&mut self) {
        if !self.is_known() {
            self.vertex = VertexState::Late;
        }
    }

    /// Whether clients know the vertex.
    pub fn is_known(&self) -> bool {
        matches!(self.vertex, VertexState::Begun(_) | VertexState::Completed)
    }

    /// When the vertex began, as long as it is at work.
    pub fn at_work_since(&self) -> Option<Timestamp> {
        match self.vertex {
            VertexState::Begun(started) => Some(started),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(completed: bool) -> Vertex {
        let started = Some(Timestamp::default());
        Vertex {
            started,
            completed: started.filter(|_| completed),
            ..Vertex::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_wait_for_the_vertex_and_not_for_ever() {
        let now = Instant::now();
        let mut export = ExportRows::default();
        assert_eq!(export.place(now), Place::Held);
        export.hold(Event::Note("a".to_owned()));
        assert_eq!(export.deadline(), Some(now + HOLD));
        assert!(!export.record(&Vertex::default()), "it has not started");
        assert!(export.record(&vertex(false)) && !export.record(&vertex(false)));
        assert_eq!(
            (export.place(now), export.take_held().len()),
            (Place::Here, 1)
        );
        assert!(export.at_work_since().is_some() && export.deadline().is_none());
        export.record(&vertex(true));
        export.record(&vertex(false));
        assert_eq!(
            export.at_work_since(),
            None,
            "a slower stream tells of its begin"
        );

        let mut late = ExportRows::default();
        assert_eq!(late.place(now), Place::Held);
        assert_eq!(late.place(now + HOLD), Place::OwnVertex);
        late.record(&vertex(false));
        assert_eq!(late.place(now), Place::OwnVertex, "its rows stand there");
    }
}
