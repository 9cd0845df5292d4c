//! The cells of builds with options besides a cache, and of many layers at once.

use super::{
    cell::{Cell, Options, Shape, Side},
    operations::{faults_of, find, is_like_another, operations},
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

const ONCE: When = When::First(1);

/// What goes wrong with an import on a gateway that has just been started.
const FRESH: [(Operation, Subject, Fault, When); 21] = [
    (Read, Index, Status(503), ONCE),
    (Probe, Layer, Status(503), ONCE),
    (Probe, Layer, Flip, When::Always),
    (Read, Layer, Status(503), ONCE),
    (Read, Layer, Status(503), When::Always),
    (Read, Layer, ResetAnswer, ONCE),
    (Read, Layer, Expired, ONCE),
    (Read, Layer, Flip, ONCE),
    (Read, Layer, Flip, When::Always),
    (Read, Layer, Truncate, When::Always),
    (Read, Layer, Short, When::Always),
    (Read, Layer, Empty, When::Always),
    (Read, Layer, Long, When::Always),
    (Read, Layer, Another, When::Always),
    (Read, Layer, Status(404), When::Always),
    (Probe, Layer, Truncate, When::Always),
    (Probe, Layer, Short, When::Always),
    (Probe, Layer, Empty, When::Always),
    (Probe, Layer, Long, When::Always),
    (Probe, Layer, Another, When::Always),
    (Probe, Layer, Status(404), When::Always),
];

/// What goes wrong with the listing that finds the entry to be deleted.
const LISTING: [(Fault, When); 8] = [
    (Status(503), ONCE),
    (ResetAtOnce, ONCE),
    (Throttled(Some(1)), ONCE),
    (Status(503), When::Always),
    (Status(401), When::Always),
    (Status(403), When::Always),
    (Hang, When::Always),
    (Truncate, When::Always),
];

/// All of them.
pub fn cells() -> Vec<Cell> {
    let both = [Api::V1, Api::V2].into_iter();
    both.flat_map(|api| {
        let cells = strict(api).chain(verified(api)).chain(fresh(api));
        cells.chain(deleting(api)).chain(many(api))
    })
    .collect()
}

fn small(api: Api, side: Side, options: Options) -> Cell {
    Cell {
        options,
        api,
        side,
        on: None,
        shape: Shape::Small,
        fault: Status(503),
        when: When::Always,
    }
}

/// Each operation of an export fails the build if it fails for good, and only then.
fn strict(api: Api) -> impl Iterator<Item = Cell> {
    let plain = small(api, Side::Export, Options::Strict);
    let reserve = match api {
        Api::V1 => Reserve,
        Api::V2 => Create,
    };
    let on = operations(api, Side::Export).into_iter();
    let broken = on.map(move |on| Cell {
        on: Some(on),
        ..plain
    });
    let of_layer = [(Status(503), ONCE), (Hang, When::Always)];
    let more = of_layer.map(|(fault, when)| Cell {
        on: Some((reserve, Layer)),
        fault,
        when,
        ..plain
    });
    broken.chain(more)
}

/// Each fault behind the probe, where nothing is promised before it has been fetched.
fn verified(api: Api) -> impl Iterator<Item = Cell> {
    let plain = small(api, Side::Import, Options::Verified);
    let on = (Read, Layer);
    let faults = faults_of(on).filter(|fault| !is_like_another(*fault));
    let stay = faults.map(|fault| (fault, Shape::Small, When::Always));
    let more = [
        (Status(503), Shape::Small, ONCE),
        (Flip, Shape::Small, ONCE),
        (Flip, Shape::Large, When::Always),
    ];
    stay.chain(more).map(move |(fault, shape, when)| Cell {
        on: Some(on),
        shape,
        fault,
        when,
        ..plain
    })
}

fn fresh(api: Api) -> impl Iterator<Item = Cell> {
    let plain = small(api, Side::Import, Options::Fresh);
    let lookups = [(find(api), Index), (find(api), Layer)];
    let lookups = lookups.map(|(on, subject)| (on, subject, Status(503), ONCE));
    let all = lookups.into_iter().chain(FRESH);
    all.map(move |(on, subject, fault, when)| Cell {
        on: Some((on, subject)),
        fault,
        when,
        ..plain
    })
}

fn deleting(api: Api) -> impl Iterator<Item = Cell> {
    let plain = small(api, Side::Import, Options::Deleting);
    LISTING.into_iter().map(move |(fault, when)| Cell {
        on: Some((List, Unknown)),
        fault,
        when,
        ..plain
    })
}

/// All layers of a build meet the same trouble: what is waited for is bounded in all.
fn many(api: Api) -> impl Iterator<Item = Cell> {
    let plain = Cell {
        shape: Shape::Many,
        ..small(api, Side::Import, Options::Plain)
    };
    let faults = [Hang, Throttled(None), Throttled(Some(1)), Refuse];
    faults.into_iter().flat_map(move |fault| {
        [find(api), Probe].map(|on| Cell {
            on: Some((on, Layer)),
            fault,
            ..plain
        })
    })
}
