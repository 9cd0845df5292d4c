//! What changes from second to second: the end of a vertex's name.
//!
//! A client knows a row by its text, so that no row can count. The name of a vertex may change: in a
//! terminal it is drawn anew, in plain progress it is printed where the vertex begins or goes on.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::texts;
use crate::cache::{Wait, WaitCause};

/// A name changes so often at most: it counts seconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// The waits of one vertex.
#[derive(Default)]
pub(super) struct Waits(BTreeMap<String, (WaitCause, Option<Instant>)>);

impl Waits {
    pub fn update(&mut self, wait: &Wait) {
        if wait.over {
            self.0.remove(&wait.text);
        } else {
            self.0.insert(wait.text.clone(), (wait.cause, wait.ends));
        }
    }

    /// The texts of those that go on.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// How long it is to the end of the longest wait, and what is waited for.
    pub fn live_text(&self, now: Instant) -> Option<String> {
        let (cause, ends) = self.0.values().max_by_key(|(_, ends)| *ends)?;
        let left = ends.map(|ends| ends.saturating_duration_since(now));
        let left = left.filter(|left| !left.is_zero());
        let left = left.map_or_else(String::new, |left| format!("{} ", texts::seconds(left)));
        Some(format!("waiting {left}for {}", cause.as_str()))
    }
}

/// The ends of names that are shown, each with the revision of its last change.
#[derive(Default)]
pub(super) struct LiveNames {
    names: HashMap<String, (u64, Option<String>)>,
    next: Option<Instant>,
}

impl LiveNames {
    /// When names are to be looked at again.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Looks at the names now, unless it has just been done. True if one has changed.
    pub fn refresh(
        &mut self,
        revision: u64,
        now: Instant,
        ends: impl Iterator<Item = (String, Option<String>)>,
    ) -> bool {
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        let (mut changed, mut moving) = (false, false);
        for (vertex, end) in ends {
            moving |= end.is_some();
            let known = self.names.get(&vertex).and_then(|(_, end)| end.as_ref());
            if known != end.as_ref() {
                self.names.insert(vertex, (revision, end));
                changed = true;
            }
        }
        self.next = moving.then(|| now + INTERVAL);
        changed
    }

    /// What stands behind the name of a vertex.
    pub fn end_of(&self, vertex: &str) -> Option<&str> {
        self.names.get(vertex)?.1.as_deref()
    }

    /// The vertices whose names changed after the revision `seen`.
    pub fn changed_since(&self, seen: u64) -> impl Iterator<Item = &String> {
        let newer = self.names.iter().filter(move |(_, (at, _))| *at > seen);
        newer.map(|(vertex, _)| vertex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_counts_down_to_its_end() {
        let mut waits = Waits::default();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut wait = Wait {
            text: "waiting to reserve: too many".to_owned(),
            cause: WaitCause::RateLimit { github: true },
            ends: Some(now + 12 * second),
            over: false,
        };
        waits.update(&wait);
        let mut names = LiveNames::default();
        let mut shown = Vec::new();
        for half in 0..4 {
            let at = now + half * second / 2;
            let end = ("vertex".to_owned(), waits.live_text(at));
            if names.refresh(1, at, [end].into_iter()) {
                shown.push(names.end_of("vertex").unwrap().to_owned());
            }
        }
        let expected = [12, 11].map(|left| format!("waiting {left} s for GitHub's rate limit"));
        assert_eq!(shown, expected);
        let late = waits.live_text(now + 13 * second).unwrap();
        assert_eq!(late, "waiting for GitHub's rate limit");
        wait.over = true;
        waits.update(&wait);
        assert!(waits.texts().next().is_none() && waits.live_text(now).is_none());
    }
}
