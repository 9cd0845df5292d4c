//! The service's connections: their limits, and the garbage collection beside them.

use std::{io, time::Duration};

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::{Service, surface};
use crate::{
    http1::{self, Limits},
    lifecycle::Tasks,
};

const LIMITS: Limits = Limits {
    // A build uses a few dozen.
    connections: 1024,
    head_time: Duration::from_secs(90),
    // A token of GitHub has about 2 KiB.
    head_bytes: 64 << 10,
    // A reader whose own disk is full or busy may stand still for minutes.
    stall: Duration::from_mins(10),
};

/// Serves on `listener` until `tasks` are asked to end; then takes no more connections. The requests
/// that are in flight belong to `tasks` and finish while those drain.
pub async fn serve(listener: TcpListener, service: Service, tasks: &Tasks) -> io::Result<()> {
    let local = listener.local_addr()?;
    let router = surface::router(service.clone(), local);
    let shutdown = tasks.shutdown().clone();
    tasks.spawn("service gc", async move {
        service.collect_until(shutdown).await;
    });
    http1::serve(listener, None, router, LIMITS, tasks, &TaskTracker::new()).await;
    Ok(())
}
