//! One layer on its way out: reserved, uploaded while it arrives, confirmed.
//!
//! An [`Upload`] belongs to everybody who waits for it and ends with the last of them. All
//! exports that write the same layer at the same time share it and feed it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use super::{
    context::ExportContext, layer_error::LayerError, owner_wait::OwnerLimit,
    upload_task::UploadTask,
};
use crate::{
    actions::{Deadline, Kind, Priority, TimeoutReason},
    cache::{
        spool::SpoolFile,
        tail::{JoinHandle, TailReader, TailWriter, tail, tail_of_whole},
    },
    digest::Digest,
    lifecycle::TaskGuard,
};

/// How long the error of the call that the deadline has cut off is waited for: both end by the same clock.
const CUT_OFF_WAIT: Duration = Duration::from_millis(100);

type UploadResult = Result<(), LayerError>;

/// An upload under way, or what it came to.
pub(in crate::cache) struct Upload {
    result: watch::Receiver<Option<UploadResult>>,
    owners: OwnerLimit,
    join_handle: JoinHandle,
    priority: Priority,
    deadline: Deadline,
    _task: TaskGuard,
}

/// A share in an upload.
pub(in crate::cache) struct Share {
    pub upload: Arc<Upload>,
    /// Where to bring the bytes; `None` if they are there already.
    pub writer: Option<TailWriter>,
}

impl Upload {
    /// Begins to upload what will be written to `file` as the blob `digest`, until `deadline`.
    /// `size` is its size, if known.
    pub(super) fn begin(
        context: ExportContext,
        deadline: Deadline,
        digest: Digest,
        size: Option<u64>,
        file: SpoolFile,
    ) -> Share {
        let (writer, join_handle, source) = tail(file);
        let size = size.filter(|size| *size > 0);
        Share {
            upload: Self::spawn(context, deadline, digest, size, join_handle, source),
            writer: Some(writer),
        }
    }

    /// Begins to upload the blob `digest`, which `file` has in its first `size` bytes.
    pub fn begin_whole(
        context: ExportContext,
        deadline: Deadline,
        digest: Digest,
        size: u64,
        file: Arc<SpoolFile>,
    ) -> Arc<Self> {
        let (join_handle, source) = tail_of_whole(file, size);
        let size = Some(size).filter(|size| *size > 0);
        Self::spawn(context, deadline, digest, size, join_handle, source)
    }

    fn spawn(
        context: ExportContext,
        deadline: Deadline,
        digest: Digest,
        size: Option<u64>,
        join_handle: JoinHandle,
        source: TailReader,
    ) -> Arc<Self> {
        let (sender, result) = watch::channel(None);
        let owners = OwnerLimit::default();
        let priority = Priority::new(size.unwrap_or(0));
        let client = context.client.with_deadline(deadline.clone());
        let tasks = context.tasks.clone();
        let task = UploadTask {
            client: client.with_priority(&priority),
            context,
            digest,
            size,
            source: Arc::new(source),
            owners: owners.clone(),
        };
        let until = deadline.clone();
        let task = tasks.spawn_guarded("upload", async move {
            let result = until.bound(task.run()).await;
            let result = result.unwrap_or_else(|| Err(LayerError::Late(until.reason(), None)));
            // Whoever brings bytes sees by that that nobody reads them any more.
            drop(task);
            sender.send_replace(Some(result));
        });
        Arc::new(Self {
            result,
            owners,
            join_handle,
            priority,
            deadline,
            _task: task,
        })
    }

    /// True until it has come to something.
    pub fn is_under_way(&self) -> bool {
        self.result.borrow().is_none()
    }

    /// What it came to, once that is known; at `deadline` and [`CUT_OFF_WAIT`] at the latest. Whoever asks has nothing
    /// else left to do, so that owners of the layer's keys have only their grace from now on.
    pub async fn settled(&self, deadline: &Deadline) -> Result<(), LayerError> {
        self.owners.set();
        let mut result = self.result.clone();
        let ended = deadline.bound(result.wait_for(Option::is_some)).await;
        // Without a result the task was ended: the process is shutting down.
        let ended = ended.map(|result| result.ok().and_then(|result| result.clone()));
        match ended {
            Some(result) => result.unwrap_or(Err(LayerError::Interrupted)),
            None => self.late_result(deadline.reason()).await,
        }
    }

    /// What it came to in the moment in which its time was over, with the call that was cut off.
    async fn late_result(&self, reason: TimeoutReason) -> UploadResult {
        let mut result = self.result.clone();
        let ended = timeout(CUT_OFF_WAIT, result.wait_for(Option::is_some)).await;
        let ended = ended.ok().and_then(|result| result.ok()?.clone());
        match ended {
            Some(Err(LayerError::Remote(call))) if call.kind == Kind::Timeout => {
                Err(LayerError::Late(reason, Some(Box::new(call))))
            }
            Some(result) => result,
            None => Err(LayerError::Late(reason, None)),
        }
    }

    /// Says how much it is worth: until the whole build is known, that is its size.
    pub fn raise_priority(&self, priority: u64) {
        // Another export may have more use for it.
        self.priority.raise(priority);
    }

    /// A share in it, unless it came to nothing or is about to, so that another must begin. It goes on
    /// for as long as the one who joins can wait.
    pub(super) fn join(self: Arc<Self>, deadline: &Deadline) -> Option<Share> {
        self.deadline.extend(deadline);
        let confirmed = match &*self.result.borrow() {
            Some(Err(_)) => return None,
            Some(Ok(())) => true,
            None => false,
        };
        let writer = self.join_handle.join();
        let goes_on = writer.is_some() || confirmed || self.join_handle.is_verified();
        goes_on.then_some(Share {
            upload: self,
            writer,
        })
    }
}
