//! Which cells there are.
//!
//! Every fault that can happen to an operation, on every operation. What is left out, and why, is
//! said in [`LEFT_OUT`], which the document shows.

use super::{
    cell::{Cell, Options, Shape, Side},
    operations::{ANY, faults_of, is_like_another, operations},
    option_cells,
};
use crate::{
    harness::Api,
    proxy::{
        Fault::{self, *},
        Operation::{self, *},
        Subject::{self, *},
        When,
    },
};

/// What is not run, in the document's words.
pub const LEFT_OUT: &[&str] = &[
    "faults in the middle of a body, where the body is a few bytes long; of an answer's few bytes, \
     only truncation, a short body and a stall",
    "a lost answer to a download or a lookup: nothing was changed, so it is a reset",
    "a wrong total, a flipped bit and an expired URL, where there is no blob",
    "three times, but for 503, a reset, a lost answer and 429, and for all faults that can be of the \
     upload and the download of a layer: the others are tried again by the same code",
    "an empty or over-long body, a 200 of another size and a 404, but for what a fresh gateway meets behind a \
     hit, where they stay",
    "500, 502, 400 and 401 but once: the client takes them for 503 and 403",
    "70 MiB, but for the operations that move parts of a layer, and there for faults that depend on \
     the bytes",
    "5 % is drawn from all requests of a build with 30 layers, whatever their operation; a refused \
     connection is then one that comes anew within 300 ms of a reset",
    "`ignore-error=false`, `import-verify=full`, a fresh gateway and 30 layers at once, but for what \
     they change: one fault that stays on each operation, or each fault on the operation that matters",
    "a service that answers probes and no downloads to a fresh gateway in its next run, too: nothing \
     in the cache could tell it; `import-verify=full` is for that",
    "the listing of the REST API as a proof: where it fails, layers are looked up (`tests/cache/calls.rs`)",
];

/// The faults that depend on how many bytes there are.
const BYTES: [Fault; 12] = [
    Status(503),
    ResetAtOnce,
    ResetRequest,
    ResetAnswer,
    LostAnswer,
    StallRequest,
    StallAnswer,
    Truncate,
    Short,
    Flip,
    Expired,
    Throttled(Some(1)),
];

/// What a layer of 70 MiB needs besides.
fn large_operations(api: Api, side: Side) -> Vec<(Operation, Subject)> {
    match (api, side) {
        (Api::V1, Side::Export) => vec![(Patch, Layer)],
        (Api::V2, Side::Export) => vec![(PutBlock, Layer), (PutBlockList, Layer)],
        (_, Side::Import) => vec![(Read, Layer)],
    }
}

/// 5 %: a seed that hits early and not too often.
const SHARE: When = When::Percent(5, 4);

/// All cells.
pub fn all() -> Vec<Cell> {
    let mut cells = Vec::new();
    for side in [Side::Export, Side::Import] {
        for api in [Api::V1, Api::V2] {
            let at = |on, shape, fault, when| Cell {
                options: Options::Plain,
                api,
                side,
                on,
                shape,
                fault,
                when,
            };
            for on in operations(api, side) {
                for fault in faults_of(on) {
                    let whens = whens(fault, on).into_iter();
                    cells.extend(whens.map(|when| at(Some(on), Shape::Small, fault, when)));
                }
            }
            for on in large_operations(api, side) {
                for fault in faults_of(on).filter(|fault| BYTES.contains(fault)) {
                    let whens = [When::First(1), When::Always].into_iter();
                    cells.extend(whens.map(|when| at(Some(on), Shape::Large, fault, when)));
                }
            }
            for fault in shared() {
                cells.push(at(None, Shape::Many, fault, SHARE));
            }
        }
    }
    cells.extend(option_cells::cells());
    cells
}

/// What is made three times in a row: each way in which a call can fail and be made again.
const REPEATED: [Fault; 4] = [Status(503), ResetAtOnce, LostAnswer, Throttled(Some(1))];

/// Where every fault is made three times in a row.
const REPEATED_ON: [(Operation, Subject); 3] = [(Patch, Layer), (PutBlob, Layer), (Read, Layer)];

fn whens(fault: Fault, on: (Operation, Subject)) -> Vec<When> {
    let mut whens = vec![When::First(1)];
    let everywhere = REPEATED.contains(&fault);
    if everywhere || REPEATED_ON.contains(&on) && !is_like_another(fault) {
        whens.push(When::First(3));
    }
    if !is_like_another(fault) {
        whens.push(When::Always);
    }
    whens
}

/// The faults that 5 % of all requests get: each that can happen to enough of them.
fn shared() -> Vec<Fault> {
    let mut faults = ANY.to_vec();
    faults.extend([ResetAnswer, Truncate, Short]);
    faults
}

/// A few cells that stand for the others: each kind of fault, each kind of operation.
const SUBSET: &[&str] = &[
    "Export V1, upload (PATCH) of a layer: reset in the request, once",
    "Export V1, commit of a layer: answer lost, once",
    "Export V1, reserve of the index: 503, always",
    "Export V2, CreateCacheEntry of a layer: 503, 3 times",
    "Export V2, CreateCacheEntry of a layer: answer lost, once",
    "Export V2, Put Blob of a layer: 403 expired, always",
    "Export V2, Put Blob of a layer: stall in the request, once",
    "Export V2, FinalizeCacheEntryUpload of the index: answer lost, once",
    "Export V2, FinalizeCacheEntryUpload of a layer: hang, always",
    "Export V2, Put Block of a layer, 70 MiB: 503, once",
    "Export V2, any operation, 30 layers: 500, 5 %",
    "Export V2, FinalizeCacheEntryUpload of a layer, ignore-error=false: 503, always",
    "Import V1, lookup of a layer: 429, Retry-After: 1, once",
    "Import V1, download of a layer: 403 expired, once",
    "Import V1, download of the index: hang, always",
    "Import V2, GetCacheEntryDownloadURL of the index: connection refused, always",
    "Import V2, probe of a layer: wrong total, always",
    "Import V2, download of a layer: flipped bit, once",
    "Import V2, download of a layer: flipped bit, always",
    "Import V2, download of a layer: stall in the answer, once",
    "Import V2, any operation, 30 layers: 500, 5 %",
    "Import V2, download of a layer, import-verify=full: flipped bit, always",
    "Import V2, download of a layer, fresh gateway: flipped bit, always",
    "Import V2, download of a layer, fresh gateway: truncated, always",
    "Import V1, download of a layer, fresh gateway: 404, always",
    "Import V2, REST listing of entries, layers damaged, ghtoken: 403, always",
];

/// The cells that `make test` runs.
pub fn subset() -> Vec<Cell> {
    let named = |name: &&str| {
        let mut all = all().into_iter();
        let found = all.find(|cell| cell.to_string() == **name);
        found.unwrap_or_else(|| panic!("no such cell: {name}"))
    };
    SUBSET.iter().map(named).collect()
}
