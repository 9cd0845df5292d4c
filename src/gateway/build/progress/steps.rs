//! The steps of a build, so that what was made can be called by the step that made it.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::{
    cache::{Step as StepOfLog, steps::VertexTimes},
    proto::control::Vertex,
};

/// What is remembered of the names.
const MAX_NAME_CHARS: usize = 80;

/// Steps of more than any Dockerfile has are not remembered.
const MAX_STEPS: usize = 10_000;

/// The steps that ran, by their digests.
#[derive(Default)]
pub(crate) struct Steps(HashMap<String, Step>);

struct Step {
    name: String,
    started: Timestamp,
    completed: Timestamp,
}

impl Steps {
    /// Takes what BuildKit says of a vertex. The steps of a Dockerfile begin with their place, as
    /// in `[build 2/3] RUN make`; the frontend's own are `[internal]`.
    pub fn record(&mut self, vertex: &Vertex) {
        let of_dockerfile = vertex.name.starts_with('[') && !vertex.name.starts_with("[internal]");
        let times = moment(vertex.started.as_ref()).zip(moment(vertex.completed.as_ref()));
        let Some((started, completed)) = times.filter(|_| of_dockerfile && !vertex.cached) else {
            return;
        };
        if self.0.len() >= MAX_STEPS {
            return;
        }
        let name = match vertex.name.char_indices().nth(MAX_NAME_CHARS) {
            Some((end, _)) => format!("{}…", &vertex.name[..end]),
            None => vertex.name.clone(),
        };
        let step = Step {
            name,
            started,
            completed,
        };
        self.0.insert(vertex.digest.clone(), step);
    }

    /// The step that was at work at `moment`, if there was exactly one.
    pub fn at(&self, moment: Timestamp) -> Option<StepOfLog> {
        let mut steps = self
            .0
            .iter()
            .filter(|(_, step)| (step.started..=step.completed).contains(&moment));
        let (vertex, step) = steps.next()?;
        steps.next().is_none().then(|| StepOfLog {
            name: step.name.clone(),
            vertex: vertex.clone(),
        })
    }
}

/// What a Status message says of a vertex.
pub(super) fn times(vertex: &Vertex) -> VertexTimes {
    VertexTimes {
        started: moment(vertex.started.as_ref()),
        completed: moment(vertex.completed.as_ref()),
        cached: vertex.cached,
        failed: !vertex.error.is_empty(),
    }
}

fn moment(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(name: &str, started: i64, completed: i64) -> Vertex {
        let at = |seconds| {
            Some(prost_types::Timestamp {
                seconds,
                nanos: 500,
            })
        };
        Vertex {
            digest: name.to_owned(),
            name: name.to_owned(),
            started: at(started),
            completed: at(completed),
            ..Vertex::default()
        }
    }

    #[test]
    fn only_a_step_that_worked_alone_is_named() {
        let mut steps = Steps::default();
        for seen in [
            vertex("[internal] load build context", 0, 30),
            vertex("[1/3] COPY a b", 0, 10),
            vertex("[2/3] RUN make", 10, 20),
            vertex("[other 2/2] RUN test", 15, 30),
            vertex("exporting to image", 0, 30),
        ] {
            steps.record(&seen);
        }
        let at = |second| {
            let step = steps.at(Timestamp::from_second(second).unwrap())?;
            assert_eq!(step.vertex, step.name, "as the vertices are called here");
            Some(step.name)
        };
        assert_eq!(at(5).as_deref(), Some("[1/3] COPY a b"));
        assert_eq!(at(12).as_deref(), Some("[2/3] RUN make"));
        assert_eq!(at(17), None, "two were at work");
        assert_eq!(at(25).as_deref(), Some("[other 2/2] RUN test"));
        assert_eq!(at(40), None);
    }
}
