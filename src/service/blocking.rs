//! Work that may block: the one place that leaves the async threads.
//!
//! A rule asks its stores several times, and for SQLite and files each question may block. A thread for each
//! of them would cost more than most answers do. So a whole rule runs on one thread on which it may block
//! ([`run_rule`]), and what blocks inside it runs right there ([`run_blocking`]).

use std::{cell::Cell, future::Future, io};

use tokio::runtime::Handle;

use crate::lifecycle;

thread_local! {
    /// Whether this thread may block now.
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread may block, until it is dropped.
struct MayBlock;

impl MayBlock {
    fn begin() -> Self {
        MAY_BLOCK.set(true);
        Self
    }
}

impl Drop for MayBlock {
    fn drop(&mut self) {
        MAY_BLOCK.set(false);
    }
}

/// Runs `work` where it may block: here if this is such a thread, else on one. It runs to its end even if
/// nobody waits for it any more.
pub(super) async fn run_blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    if MAY_BLOCK.get() {
        return work();
    }
    lifecycle::run_blocking(work).await
}

/// Runs what `rule` gives on a thread on which it may block, to its end even if nobody waits for it any
/// more: a client that leaves cannot interrupt a commit. Must be called inside of a runtime.
pub(super) async fn run_rule<T, E, F>(rule: impl FnOnce() -> F + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
    F: Future<Output = Result<T, E>>,
{
    let runtime = Handle::current();
    run_blocking(move || {
        let _here = MayBlock::begin();
        runtime.block_on(rule())
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    async fn thread_of_work() -> thread::ThreadId {
        let id = || Ok::<_, io::Error>(thread::current().id());
        run_blocking(id).await.unwrap()
    }

    #[tokio::test]
    async fn a_rule_stays_on_its_thread() {
        let own = thread::current().id();
        assert_ne!(thread_of_work().await, own);
        let rule = || async {
            let here = thread::current().id();
            let work = [thread_of_work().await, thread_of_work().await];
            Ok::<_, io::Error>((here, work))
        };
        let (here, work) = run_rule(rule).await.unwrap();
        assert_ne!(here, own);
        assert_eq!(work, [here; 2]);
        assert_ne!(
            thread_of_work().await,
            own,
            "only for as long as the rule runs"
        );
    }
}
