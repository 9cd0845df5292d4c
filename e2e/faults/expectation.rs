//! What a cell may come to, and how long it may take.

use super::{
    cell::{Cell, Options, Shape, Side},
    limits::{SILENCE, TIMEOUT},
    observation::{Observation, Verdict},
};
use crate::proxy::{Fault, Operation, Subject, When};

/// One passing fault may cost so many seconds.
const ONE_FAULT: u64 = 2;

/// Three in a row cost the waits between four attempts: half a second, one and two.
const THREE_FAULTS: u64 = 5;

/// A service that refuses three times and names no time is left alone for 1, 2 and 4 seconds, and a
/// tenth of that.
const THREE_PAUSES: u64 = 8;

/// Of a share of all requests a few are refused for now: a few waits of 1 to 4 seconds each, which
/// hold all calls of that kind.
const THROTTLED_SHARE: u64 = 20;

/// A build waits so many seconds for its indexes.
const INDEX_WAIT: u64 = 5;

/// What stays broken ends the import of a layer after so many seconds at the latest.
const ONE_LAYER: u64 = 60;

/// What is expected of one cell.
pub struct Expectation {
    /// What it may come to.
    pub allowed: Vec<Verdict>,
    /// How much longer than an undisturbed build it may take, in seconds.
    pub extra: u64,
}

impl Expectation {
    /// What is expected of this cell.
    pub fn new(cell: &Cell) -> Self {
        Self {
            allowed: allowed(cell),
            extra: extra(cell),
        }
    }

    /// How an observation differs from it, time apart.
    pub fn broken(&self, seen: &Observation) -> Vec<String> {
        let mut broken = seen.wrong.clone();
        if seen.hits == 0 {
            broken.push("the fault was never made: the matrix is wrong".to_owned());
        }
        if !self.allowed.contains(&seen.verdict) {
            broken.push(format!("{:?}, allowed: {:?}", seen.verdict, self.allowed));
        }
        broken
    }
}

/// Whether it is the one fault that may lose nothing and cost next to nothing.
pub fn is_one_passing_fault(cell: &Cell) -> bool {
    passes(cell) && cell.when == When::First(1)
}

/// Whether the service has refused reads of the index for so long that the gateway makes none for longer than
/// the next build waits for its indexes.
pub fn holds_index_reads_back(cell: &Cell) -> bool {
    let reads = cell.on == Some((Operation::Read, Subject::Index));
    reads && cell.fault == Fault::Throttled(None) && cell.when == When::Always
}

fn allowed(cell: &Cell) -> Vec<Verdict> {
    match cell.options {
        // Damaged layers fail the build whatever becomes of their deletion.
        Options::Deleting => return vec![Verdict::Failed],
        _ if passes(cell) => return vec![Verdict::Whole],
        // An index that cannot be read is written without knowing what the older one says.
        Options::Strict if cell.on == Some((Operation::Read, Subject::Index)) => {
            return vec![Verdict::Whole];
        }
        Options::Strict => return vec![Verdict::Failed],
        Options::Verified => return vec![Verdict::Whole, Verdict::Miss],
        Options::Plain | Options::Fresh => {}
    }
    let mut allowed = vec![Verdict::Whole];
    allowed.extend(match cell.side {
        Side::Export => [Verdict::LeftOut, Verdict::OlderKept].as_slice(),
        Side::Import => &[Verdict::Miss],
    });
    if is_behind_probe(cell) {
        allowed.push(Verdict::Failed);
    }
    allowed
}

/// Whether the fault is over before anybody gives up, so that nothing may be lost.
pub fn passes(cell: &Cell) -> bool {
    if cell.options == Options::Deleting {
        return false;
    }
    match cell.fault {
        // Refused for good: the same request gets the same answer.
        Fault::Status(400..=499) | Fault::WriteDenied => false,
        // An upload's URL is renewed only with a new reservation.
        Fault::Expired => cell.side == Side::Import && cell.when == When::First(1),
        // Wrong three times is damage, wherever it came from; so is what a probe or an index has
        // wrong: a miss costs less than to ask again.
        Fault::Flip | Fault::WrongTotal | Fault::Short => {
            cell.when == When::First(1) && !is_judged_at_once(cell)
        }
        _ => cell.when != When::Always,
    }
}

/// Bytes were promised to BuildKit and cannot be had: it leaves no way but to fail.
pub fn is_behind_probe(cell: &Cell) -> bool {
    let behind = match cell.on {
        Some(on) => on == (Operation::Read, Subject::Layer),
        None => true,
    };
    cell.side == Side::Import && behind
}

fn is_judged_at_once(cell: &Cell) -> bool {
    use Operation::{Probe, Read};
    matches!(cell.on, Some((Probe, _) | (Read, Subject::Index)))
}

fn is_of_index(cell: &Cell) -> bool {
    matches!(cell.on, Some((_, Subject::Index)))
}

/// Whether nothing but waiting tells that something is wrong.
pub fn is_silent(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Hang | Fault::StallAnswer | Fault::StallRequest
    )
}

fn extra(cell: &Cell) -> u64 {
    let silent = is_silent(cell.fault);
    let bound = match (cell.side, cell.when) {
        (Side::Export, When::Always) => TIMEOUT,
        (Side::Import, When::Always) if is_of_index(cell) => INDEX_WAIT,
        // All lookups and probes of a build share one wait, which ends with the import's `timeout`.
        (Side::Import, When::Always) if cell.shape == Shape::Many => TIMEOUT,
        (Side::Import, When::Always) => ONE_LAYER,
        _ if cell.options == Options::Deleting => ONE_LAYER,
        (_, When::First(1)) if silent => SILENCE + ONE_FAULT,
        // Several requests of a build fall silent at once or one after another.
        _ if silent => TIMEOUT,
        (_, When::First(1)) => ONE_FAULT,
        (_, When::Percent(..)) if matches!(cell.fault, Fault::Throttled(_)) => THROTTLED_SHARE,
        _ if cell.fault == Fault::Throttled(None) => THREE_PAUSES,
        _ => THREE_FAULTS,
    };
    // More bytes may have to be sent again.
    if cell.shape == Shape::Large {
        bound + 1
    } else {
        bound
    }
}
