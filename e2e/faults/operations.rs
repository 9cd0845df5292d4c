//! The operations of an export and an import, and what can go wrong with each.

use super::cell::Side;
use crate::{
    harness::Api,
    proxy::{
        Fault::{self, *},
        Operation::{self, *},
        Subject::{self, *},
    },
};

/// What may go wrong with any request.
pub const ANY: [Fault; 12] = [
    Status(500),
    Status(502),
    Status(503),
    Status(400),
    Status(401),
    Status(403),
    ResetAtOnce,
    Refuse,
    Hang,
    Throttled(Some(1)),
    Throttled(None),
    LostAnswer,
];

/// What may go wrong with a small text that is answered.
const TEXT: [Fault; 3] = [Truncate, Short, StallAnswer];

/// What may go wrong with bytes on their way up.
const UP: [Fault; 2] = [ResetRequest, StallRequest];

/// What may go wrong with bytes on their way down.
const DOWN: [Fault; 7] = [
    ResetAnswer,
    Truncate,
    Short,
    StallAnswer,
    WrongTotal,
    Flip,
    Expired,
];

/// What an index or a layer of 1 MiB needs, in the order of the calls.
pub fn operations(api: Api, side: Side) -> Vec<(Operation, Subject)> {
    let of_both = |operation| [(operation, Layer), (operation, Index)];
    let find = find(api);
    let mut operations = vec![(find, Index), (Read, Index)];
    match side {
        Side::Export => {
            let steps = match api {
                Api::V1 => [Reserve, Patch, Commit],
                Api::V2 => [Create, PutBlob, Finalize],
            };
            operations.extend(steps.into_iter().flat_map(of_both));
        }
        Side::Import => operations.extend([(find, Layer), (Probe, Layer), (Read, Layer)]),
    }
    operations
}

/// How an entry is found.
pub fn find(api: Api) -> Operation {
    match api {
        Api::V1 => Lookup,
        Api::V2 => DownloadUrl,
    }
}

fn happens_to(fault: Fault, operation: Operation) -> bool {
    let of = |faults: &[Fault]| faults.contains(&fault);
    match operation {
        // Their answers have no body.
        Commit | PutBlockList | Finalize => of(&ANY),
        Create if fault == WriteDenied => true,
        Lookup | Reserve | Create | DownloadUrl | List => {
            of(&TEXT) || of(&ANY) && reaches(fault, operation)
        }
        Patch => of(&ANY) || of(&UP),
        PutBlob | PutBlock => of(&ANY) || of(&UP) || fault == Expired,
        Probe => of(&ANY) && reaches(fault, operation) || of(&DOWN) && fault != StallAnswer,
        Read => of(&ANY) && reaches(fault, operation) || of(&DOWN),
        Other => false,
    }
}

/// A lost answer differs from a reset only where the request has changed something.
fn reaches(fault: Fault, operation: Operation) -> bool {
    fault != LostAnswer || matches!(operation, Reserve | Create)
}

/// All faults of an operation.
pub fn faults_of((operation, subject): (Operation, Subject)) -> impl Iterator<Item = Fault> {
    let mut faults: Vec<Fault> = Vec::new();
    let denied = [WriteDenied];
    let all = ANY.into_iter().chain(TEXT).chain(UP).chain(DOWN);
    for fault in all.chain(denied) {
        // An index is fetched whole, without a total.
        let whole = fault == WrongTotal && subject == Index;
        if happens_to(fault, operation) && !whole && !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults.into_iter()
}

/// What the client takes for the same as 503 or 403.
pub fn is_like_another(fault: Fault) -> bool {
    matches!(fault, Status(500 | 502 | 401 | 400))
}
