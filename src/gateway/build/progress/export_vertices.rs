//! BuildKit's vertices for exports of ours, of all builds of this process.

use std::collections::{HashSet, VecDeque};

use parking_lot::{Mutex, MutexGuard};

/// The newest so many are known: more than anybody looks back, and 100 KB.
const MAX_VERTICES: usize = 1000;

/// The digests of these vertices. BuildKit keeps what a build's log said and shows it in its history,
/// with the name of the exporter that stood in for `gha`.
#[derive(Default)]
pub(crate) struct ExportVertices(Mutex<KnownVertices>);

#[derive(Default)]
struct KnownVertices {
    known: HashSet<String>,
    by_age: VecDeque<String>,
}

impl ExportVertices {
    pub fn add(&self, vertex: &str) {
        let mut vertices = self.lock();
        if !vertices.known.insert(vertex.to_owned()) {
            return;
        }
        vertices.by_age.push_back(vertex.to_owned());
        if vertices.by_age.len() > MAX_VERTICES
            && let Some(oldest) = vertices.by_age.pop_front()
        {
            vertices.known.remove(&oldest);
        }
    }

    pub fn contains(&self, vertex: &str) -> bool {
        self.lock().known.contains(vertex)
    }

    fn lock(&self) -> MutexGuard<'_, KnownVertices> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known() {
        let vertices = ExportVertices::default();
        for row in 0..=MAX_VERTICES {
            vertices.add(&row.to_string());
            vertices.add(&row.to_string());
        }
        assert!(!vertices.contains("0") && vertices.contains("1"));
        assert!(vertices.contains(&MAX_VERTICES.to_string()));
    }
}
