//! Handles outlive the last build a little.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::handle::Handles;

/// How long. buildkitd takes a while to unwind a build whose client is gone, a second or more on a
/// busy machine; a build that begins meanwhile may join its steps, which read through its handle.
pub(super) const LINGER: Duration = Duration::from_secs(3);

/// Closes retired handles whenever no build has been in flight for [`LINGER`]. `idle` says since
/// when there is none.
pub(super) async fn close_when_idle(
    handles: Arc<Handles>,
    mut idle: watch::Receiver<Option<Instant>>,
) {
    loop {
        let since = *idle.borrow_and_update();
        let lingered = async {
            match since {
                Some(since) => sleep_until(since + LINGER).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = lingered => {
                handles.sweep(true, Timestamp::now());
                if idle.changed().await.is_err() {
                    return;
                }
            }
            changed = idle.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::{gateway::endpoint::tests::Fixed, lifecycle::Tasks, secret::Secret};

    const MOMENT: Duration = Duration::from_millis(1);

    /// Lets the task see what has changed.
    async fn pass(time: Duration) {
        sleep(MOMENT).await;
        advance(time).await;
        sleep(MOMENT).await;
    }

    #[tokio::test(start_paused = true)]
    async fn handles_stay_until_no_build_has_been_in_flight_for_a_while() {
        let handles = Arc::new(Handles::default());
        let name = handles.open(Arc::new(Fixed), &Secret::new("token"), Timestamp::MAX);
        handles.retire(&name);
        let (idle, since) = watch::channel(None);
        let tasks = Tasks::default();
        let _task = tasks.spawn_guarded("test", close_when_idle(Arc::clone(&handles), since));

        pass(LINGER * 2).await;
        assert_eq!(handles.count(), 1, "a build is in flight");
        idle.send_replace(Some(Instant::now()));
        pass(LINGER / 2).await;
        // A build begins and ends between two looks of the task.
        idle.send_replace(None);
        idle.send_replace(Some(Instant::now()));
        pass(LINGER * 3 / 4).await;
        assert_eq!(handles.count(), 1, "the last build ended not long ago");
        pass(LINGER / 2).await;
        assert_eq!(handles.count(), 0);
    }
}
