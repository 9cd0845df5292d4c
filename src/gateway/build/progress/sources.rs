//! The lines of the Dockerfile that a build's steps come from.
//!
//! The answer to an `LLBBridge.Solve` carries the definition of what was solved, with its sources: files,
//! and for each step where it stands there. The digest of a step's definition is that of its vertex.

use std::collections::HashMap;

use prost::Message as _;

use crate::{
    cache::Step,
    proto::control::{Location, Range, Ref, SolveResult, SourceInfo},
};

/// Steps whose lines are kept: more than Dockerfiles have.
const MAX_STEPS: usize = 10_000;

/// Files that are kept; each platform of a build brings its own copy.
const MAX_FILES: usize = 64;

/// Bytes of them. A Dockerfile has some kilobytes.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Where the steps of a build stand.
#[derive(Default)]
pub(super) struct Sources {
    files: Vec<SourceInfo>,
    steps: HashMap<String, (usize, Vec<Range>)>,
}

/// Lines of one file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SourceLines {
    file: SourceInfo,
    ranges: Vec<Range>,
}

impl SourceLines {
    /// As a message has them.
    pub fn into_parts(self) -> (Option<SourceInfo>, Vec<Range>) {
        (Some(self.file), self.ranges)
    }
}

impl Sources {
    /// Remembers what the answer to an `LLBBridge.Solve` says. One that cannot be read says nothing.
    pub fn record(&mut self, answer: &[u8]) {
        let result = SolveResult::decode(answer)
            .ok()
            .and_then(|answer| answer.result);
        let Some(result) = result else { return };
        let refs = result
            .refs
            .into_iter()
            .flat_map(|refs| refs.refs.into_values());
        for reference in result.r#ref.into_iter().chain(refs) {
            self.record_ref(reference);
        }
    }

    fn record_ref(&mut self, reference: Ref) {
        let Some(source) = reference.def.and_then(|definition| definition.source) else {
            return;
        };
        let places: Vec<_> = source
            .infos
            .into_iter()
            .map(|file| self.keep(file))
            .collect();
        for (step, locations) in source.locations {
            if self.steps.len() >= MAX_STEPS {
                return;
            }
            let first = locations.locations.into_iter().next();
            let Some(Location {
                source_index,
                ranges,
            }) = first
            else {
                continue;
            };
            let file = usize::try_from(source_index)
                .ok()
                .and_then(|at| *places.get(at)?);
            if let Some(file) = file {
                self.steps.insert(step, (file, ranges));
            }
        }
    }

    /// The place of a file, unless there are too many or it is too large.
    fn keep(&mut self, file: SourceInfo) -> Option<usize> {
        let known = self.files.iter().position(|known| *known == file);
        if known.is_some() || self.files.len() >= MAX_FILES || file.data.len() > MAX_FILE_BYTES {
            return known;
        }
        self.files.push(file);
        Some(self.files.len() - 1)
    }

    /// The lines of these steps, as far as they stand in the file of the first of them.
    pub fn lines(&self, steps: &[Step]) -> Option<SourceLines> {
        let mut known = steps.iter().filter_map(|step| self.steps.get(&step.vertex));
        let (file, ranges) = known.next()?;
        let more = known.filter(|(other, _)| other == file);
        let more = more.flat_map(|(_, ranges)| ranges.iter().copied());
        Some(SourceLines {
            file: self.files[*file].clone(),
            ranges: ranges.iter().copied().chain(more).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::control::{Definition, Locations, Position, Refs, SolveRefs, Source};

    fn step(vertex: &str) -> Step {
        Step {
            name: String::new(),
            vertex: vertex.to_owned(),
        }
    }

    fn range(line: i32) -> Range {
        let position = Some(Position { line, character: 0 });
        Range {
            start: position,
            end: position,
        }
    }

    fn reference(steps: &[(&str, i32)]) -> Ref {
        let file = |name: &str| SourceInfo {
            filename: name.to_owned(),
            ..SourceInfo::default()
        };
        let location = |line| Location {
            source_index: 1,
            ranges: vec![range(line)],
        };
        let locations = steps.iter().map(|(step, line)| {
            let locations = vec![location(*line)];
            ((*step).to_owned(), Locations { locations })
        });
        let source = Source {
            locations: locations.collect(),
            infos: vec![file("other"), file("Dockerfile")],
        };
        Ref {
            def: Some(Definition {
                source: Some(source),
            }),
        }
    }

    #[test]
    fn the_lines_of_steps_are_found_in_all_results() {
        let mut sources = Sources::default();
        let refs = [("linux/amd64", "b", 4), ("linux/arm64", "c", 5)];
        let refs =
            refs.map(|(platform, step, line)| (platform.to_owned(), reference(&[(step, line)])));
        let result = SolveRefs {
            r#ref: Some(reference(&[("a", 3)])),
            refs: Some(Refs { refs: refs.into() }),
        };
        let answer = SolveResult {
            result: Some(result),
        };
        sources.record(&answer.encode_to_vec());
        let lines = sources.lines(&[step("x"), step("a"), step("c")]);
        let (file, ranges) = lines.unwrap().into_parts();
        assert_eq!(file.unwrap().filename, "Dockerfile");
        assert_eq!(ranges, [range(3), range(5)]);
        assert_eq!(sources.lines(&[step("x")]), None);
        sources.record(b"\xff");
        assert_eq!(sources.files.len(), 2);
    }
}
