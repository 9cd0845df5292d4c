//! Closes the handles of ended builds on a daemon that is idle.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::handle::{Handles, RETIRE_GRACE};

/// Closes retired handles when no build has been in flight for [`RETIRE_GRACE`]; `idle` says since when
/// there is none. On a busy daemon the end of any build does that, see [`Handles::sweep`].
pub(super) async fn close_after_grace(
    handles: Arc<Handles>,
    mut idle: watch::Receiver<Option<Instant>>,
) {
    loop {
        let since = *idle.borrow_and_update();
        let grace_over = async {
            match since {
                Some(since) => sleep_until(since + RETIRE_GRACE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = grace_over => {
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
    use std::time::Duration;

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

    fn retired(handles: &Handles) {
        let token = Secret::new("token");
        let name = handles.open(Arc::new(Fixed), &token, Timestamp::MAX);
        handles.retire(&name);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handle_stays_a_while_after_the_last_build() {
        let handles = Arc::new(Handles::default());
        retired(&handles);
        let (idle, since) = watch::channel(None);
        let tasks = Tasks::default();
        let _task = tasks.spawn_guarded("test", close_after_grace(Arc::clone(&handles), since));

        pass(RETIRE_GRACE * 2).await;
        assert_eq!(handles.count(), 1, "a build is in flight");
        retired(&handles);
        idle.send_replace(Some(Instant::now()));
        handles.sweep(true, Timestamp::now());
        assert_eq!(handles.count(), 1, "its build ended just now");
        pass(RETIRE_GRACE / 2).await;
        assert_eq!(handles.count(), 1);
        pass(RETIRE_GRACE / 2).await;
        assert_eq!(handles.count(), 0);
    }

    /// A step that listens or reads the history of builds keeps the daemon busy with its own build.
    #[tokio::test(start_paused = true)]
    async fn what_was_served_is_over_with_its_build_however_busy_the_daemon_is() {
        let handles = Handles::default();
        let token = Secret::new("token");
        let name = handles.open(Arc::new(Fixed), &token, Timestamp::MAX);
        let handle = handles.get(&name).unwrap();
        let object = || Arc::new(bytes::Bytes::from_static(b"content"));
        let [pulled, promised] = ["pulled", "promised"].map(|key| handle.publish(key, object()));
        handle.served(&pulled);
        advance(RETIRE_GRACE * 2).await;
        assert!(handle.object(&pulled).is_some(), "its build is in flight");

        handles.retire(&name);
        advance(RETIRE_GRACE / 2).await;
        assert!(!handle.is_past_grace(), "a build may join its steps");
        advance(RETIRE_GRACE / 2).await;
        assert!(handle.is_past_grace());
        assert!(handle.object(&pulled).is_none());
        assert!(
            handle.object(&promised).is_some(),
            "a shared step may pull it"
        );
        handle.served(&promised);
        assert!(
            handle.object(&promised).is_some(),
            "its last byte may be lost"
        );
        advance(RETIRE_GRACE).await;
        assert!(handle.object(&promised).is_none());
        handles.sweep(false, Timestamp::now());
        assert_eq!(
            handles.count(),
            1,
            "it answers shared steps that there is nothing"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn builds_that_follow_one_another_do_not_keep_it() {
        let handles = Handles::default();
        retired(&handles);
        advance(RETIRE_GRACE / 2).await;
        handles.sweep(true, Timestamp::now());
        assert_eq!(
            handles.count(),
            1,
            "the next build may have joined its steps"
        );
        advance(RETIRE_GRACE / 2).await;
        handles.sweep(false, Timestamp::now());
        assert_eq!(handles.count(), 1, "that is in flight");
        handles.sweep(true, Timestamp::now());
        assert_eq!(handles.count(), 0);
    }
}
