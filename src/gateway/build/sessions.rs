//! Which client sessions are up, so that an export is given to no session that is not there.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;

/// The sessions that are up and spliced, by id.
pub(super) struct Sessions(watch::Sender<HashMap<String, usize>>);

impl Default for Sessions {
    fn default() -> Self {
        Self(watch::Sender::new(HashMap::new()))
    }
}

impl Sessions {
    pub fn up(&self, id: &str) {
        self.0
            .send_modify(|up| *up.entry(id.to_owned()).or_default() += 1);
    }

    pub fn down(&self, id: &str) {
        self.0.send_modify(|up| {
            if let Some(count) = up.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    up.remove(id);
                }
            }
        });
    }

    pub fn count(&self) -> usize {
        self.0.borrow().values().sum()
    }

    /// Waits until the session is up; false if it is not after `limit`.
    pub async fn wait(&self, id: &str, limit: Duration) -> bool {
        let mut sessions = self.0.subscribe();
        let up = sessions.wait_for(|up| up.contains_key(id));
        matches!(tokio::time::timeout(limit, up).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    #[tokio::test(start_paused = true)]
    async fn a_session_is_waited_for_and_given_up() {
        let sessions = Sessions::default();
        assert!(!sessions.wait("a", LIMIT).await);
        let (came, ()) = tokio::join!(sessions.wait("a", LIMIT), async { sessions.up("a") });
        assert!(came);
        sessions.up("a");
        sessions.down("a");
        assert!(sessions.wait("a", LIMIT).await, "it was up twice");
        sessions.down("a");
        assert!(!sessions.wait("a", LIMIT).await);
    }
}
