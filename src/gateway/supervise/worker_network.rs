//! Which network build steps have: buildkitd's, where they can listen, or one of their own.

use super::probe;
use crate::{
    gateway::transport::unary::CallError,
    net::Address,
    wire::{Fields, WireError, map_get},
};

/// The call that lists the workers.
const LIST_WORKERS: &str = "/moby.buildkit.v1.Control/ListWorkers";

/// Field numbers of `ListWorkersResponse` and `WorkerRecord`.
const RECORD: u32 = 1;
const LABELS: u32 = 2;

/// The label in which a worker says what network its steps have.
const NETWORK: &str = "org.mobyproject.buildkit.worker.network";

/// The value of a worker whose steps have networks of their own.
const OWN: &str = "cni";

/// Why it is not known which network build steps have.
#[derive(Debug, thiserror::Error)]
enum WorkersError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Answer(#[from] WireError),
}

/// True unless the buildkitd at `address` says that its steps have networks of their own. A step that is
/// allowed to have buildkitd's, as `RUN --network=host` asks for, is let in by whoever runs its build.
pub(crate) async fn steps_share_network(address: &Address) -> bool {
    ask_workers(address).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "buildkitd does not list its workers");
        true
    })
}

async fn ask_workers(address: &Address) -> Result<bool, WorkersError> {
    let answer = probe::call_without_arguments(address, LIST_WORKERS);
    let answer = tokio::time::timeout(probe::ANSWER_TIMEOUT, answer).await??;
    Ok(any_shares(&answer)?)
}

/// True if any worker does not say that its steps have networks of their own.
fn any_shares(answer: &[u8]) -> Result<bool, WireError> {
    let mut workers = 0;
    for field in Fields::new(answer) {
        let field = field?;
        if field.number != RECORD {
            continue;
        }
        workers += 1;
        if map_get(field.payload()?, LABELS, NETWORK)? != Some(OWN) {
            return Ok(true);
        }
    }
    Ok(workers == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{append, map_entry};

    fn answer(networks: &[Option<&str>]) -> Vec<u8> {
        let mut answer = Vec::new();
        for network in networks {
            let mut record = Vec::new();
            append(&mut record, 1, b"the id of a worker");
            append(&mut record, LABELS, &map_entry("another", "cni"));
            if let Some(network) = network {
                append(&mut record, LABELS, &map_entry(NETWORK, network));
            }
            append(&mut answer, RECORD, &record);
        }
        answer
    }

    #[test]
    fn steps_are_apart_only_where_every_worker_says_so() {
        for (networks, shared) in [
            (&[Some("cni")][..], false),
            (&[Some("cni"), Some("cni")], false),
            (&[Some("host")], true),
            (&[Some("cni"), Some("host")], true),
            (&[None], true),
            (&[], true),
        ] {
            assert_eq!(any_shares(&answer(networks)), Ok(shared), "{networks:?}");
        }
    }
}
