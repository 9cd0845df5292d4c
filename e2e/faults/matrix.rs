//! All cells, on several lanes at the same time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    thread,
};

use super::{
    cell::{Cell, Kind},
    lane::Lane,
    promise::Promise,
    seen::Seen,
};

/// Lanes beside one another. Most of a cell's time is spent waiting.
const LANES: usize = 8;

/// A lane makes room for a new one after so many cells: its directory goes, with all content.
const CELLS_PER_LANE: usize = 50;

/// A cell that took too long is run so often in all: other programs disturb it too, and what
/// is slow by itself is slow again.
const RUNS: usize = 3;

/// What noise may add to a build, in seconds, and as a share of what it takes undisturbed: the
/// machine may be busy with something else.
const NOISE: f64 = 2.0;
const NOISE_SHARE: f64 = 0.5;

/// How often a kind of build is measured without a fault.
const MEASUREMENTS: usize = 2;

/// A cell, what it came to, and how it broke its promise if it did.
pub struct Result {
    /// The cell.
    pub cell: Cell,
    /// What was seen of it.
    pub seen: Seen,
    /// Nothing, if all is as promised.
    pub broken: Vec<String>,
}

/// Runs all cells; the results are in the order of the cells, and each is shown as it comes.
pub fn run(cells: &[Cell], show: impl Fn(&Result) + Sync) -> Vec<Result> {
    let undisturbed = undisturbed(cells);
    on_lanes(cells, |lane, cell| {
        let (seen, broken) = judged(lane, cell, undisturbed[&cell.kind()]);
        let result = Result {
            cell: *cell,
            seen,
            broken,
        };
        show(&result);
        result
    })
}

/// As [`run`], for the cells that are not `known` by their names; what is known is as it was seen.
pub fn run_but(
    known: &HashMap<String, Seen>,
    cells: &[Cell],
    show: impl Fn(&Result) + Sync,
) -> Vec<Result> {
    let of = |cell: &Cell| known.get(&cell.to_string());
    let new: Vec<_> = cells
        .iter()
        .filter(|cell| of(cell).is_none())
        .copied()
        .collect();
    let mut run = run(&new, show).into_iter();
    let result = |cell: &Cell| match of(cell) {
        Some(seen) => Result {
            cell: *cell,
            seen: seen.clone(),
            broken: Vec::new(),
        },
        None => run.next().expect("the others have been run, in this order"),
    };
    cells.iter().map(result).collect()
}

/// How long each kind of build takes, in seconds, while others run beside it.
fn undisturbed(cells: &[Cell]) -> HashMap<Kind, f64> {
    let mut kinds: Vec<Kind> = Vec::new();
    for cell in cells {
        if !kinds.contains(&cell.kind()) {
            kinds.push(cell.kind());
        }
    }
    let kinds: Vec<_> = (kinds.into_iter())
        .flat_map(|kind| [kind; MEASUREMENTS])
        .collect();
    let measured = on_lanes(&kinds, |lane, kind| lane.undisturbed(*kind));
    let mut undisturbed: HashMap<Kind, f64> = HashMap::new();
    for (kind, seconds) in kinds.iter().zip(measured) {
        let longest = undisturbed.entry(*kind).or_default();
        *longest = longest.max(seconds);
    }
    undisturbed
}

fn judged(lane: &mut Lane, cell: &Cell, undisturbed: f64) -> (Seen, Vec<String>) {
    let promise = Promise::of(cell);
    let mut run = 1;
    loop {
        let seen = lane.run(cell);
        let mut broken = promise.broken(&seen);
        let overrun = overrun(&seen, promise.extra, undisturbed);
        if overrun.is_none() || run == RUNS || !broken.is_empty() {
            broken.extend(overrun);
            return (seen, broken);
        }
        run += 1;
    }
}

/// What to say if a build took longer than promised: longer than the one beside it, where there is
/// one, or than its kind takes without a fault.
fn overrun(seen: &Seen, extra: u64, undisturbed: f64) -> Option<String> {
    #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
    let extra = extra as f64;
    let late = match seen.cost {
        Some(cost) => cost > extra,
        None => seen.seconds > undisturbed * (1.0 + NOISE_SHARE) + extra + NOISE,
    };
    late.then(|| {
        let (seconds, beside) = (seen.seconds, seen.cost.map(|cost| seen.seconds - cost));
        let without = beside.unwrap_or(undisturbed);
        format!("{seconds:.1} s, where {without:.1} s and {extra} s more are allowed")
    })
}

/// Does work for each item, on lanes that take the next item when they have done one.
fn on_lanes<T: Sync, R: Send>(items: &[T], work: impl Fn(&mut Lane, &T) -> R + Sync) -> Vec<R> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..items.len()).collect());
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let lane = || {
        let mut lane: Option<Lane> = None;
        let mut done = Vec::new();
        while let Some(index) = next() {
            let lane = lane.get_or_insert_with(Lane::start);
            done.push((index, work(lane, &items[index])));
            if lane.cells() >= CELLS_PER_LANE {
                *lane = Lane::start();
            }
        }
        done
    };
    let mut done: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES.min(items.len()))
            .map(|_| scope.spawn(lane))
            .collect();
        let joined = lanes.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
