//! Who waits for whom.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use super::{Config, Service, config::MAX_READS, system_clock};

/// Tells a search that waits from one that has begun.
const A_MOMENT: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_of_one_repository_wait_for_one_another_only() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::open(Config::new(dir.path()), system_clock()).unwrap();
    let (began, begins) = tokio::sync::mpsc::channel(16);
    let mut begins = begins;
    let mut ends = Vec::new();
    let mut searches = tokio::task::JoinSet::new();
    for _ in 0..=MAX_READS {
        let (end, ended) = mpsc::channel::<()>();
        let (service, began) = (service.clone(), began.clone());
        ends.push(end);
        searches.spawn(async move {
            let search = move |_: &_| {
                began.blocking_send(()).unwrap();
                // Goes on until its end is dropped.
                let _ = ended.recv();
                Ok(())
            };
            service.search("o/greedy", search).await
        });
    }
    for _ in 0..MAX_READS {
        begins.recv().await.unwrap();
    }
    let more = tokio::time::timeout(A_MOMENT, begins.recv()).await;
    assert!(more.is_err(), "one more than it may");
    service.search("o/other", |_| Ok(())).await.unwrap();
    // A search that waits holds nothing but its turn.
    drop(ends);
    begins.recv().await.unwrap();
    while let Some(search) = searches.join_next().await {
        search.unwrap().unwrap();
    }
    let quota = Arc::clone(&service.quotas().repository("o/greedy"));
    assert_eq!(quota.reads.available_permits(), MAX_READS);
}
