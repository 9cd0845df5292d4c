//! All cells, on several workers at the same time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    thread,
};

use super::{
    cell::{Cell, Kind},
    expectation::Expectation,
    observation::Observation,
    time::Time,
    worker::Worker,
};

/// Workers beside one another. Most of a cell's time is spent waiting.
const WORKERS: usize = 8;

/// A worker ends after so many cells and another one begins: its directory goes, with all content.
const CELLS_PER_WORKER: usize = 50;

/// A cell that took too long is run so often in all: other programs disturb it too, and what
/// is slow by itself is slow again.
const RUNS: usize = 3;

/// How often a kind of build is measured without a fault.
const MEASUREMENTS: usize = 2;

/// A cell, what it came to, and how that differs from what is expected.
pub struct Result {
    /// The cell.
    pub cell: Cell,
    /// What was seen of it.
    pub seen: Observation,
    /// How long it took, and may take.
    pub time: Time,
    /// Nothing, if all is as expected.
    pub broken: Vec<String>,
}

/// Runs all cells; the results are in the order of the cells, and each is shown as it comes.
pub fn run(cells: &[Cell], show: impl Fn(&Result) + Sync) -> Vec<Result> {
    let undisturbed = undisturbed(cells);
    on_workers(cells, |worker, cell| {
        let result = judged(worker, cell, undisturbed[&cell.kind()]);
        show(&result);
        result
    })
}

/// As [`run`], for the cells that are not `known` by their names; what is known is as it was seen.
pub fn run_but(
    known: &HashMap<String, (Observation, Time)>,
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
        Some((seen, time)) => Result {
            cell: *cell,
            seen: seen.clone(),
            time: *time,
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
    let measured = on_workers(&kinds, |worker, kind| worker.undisturbed(*kind));
    let mut undisturbed: HashMap<Kind, f64> = HashMap::new();
    for (kind, seconds) in kinds.iter().zip(measured) {
        let longest = undisturbed.entry(*kind).or_default();
        *longest = longest.max(seconds);
    }
    undisturbed
}

fn judged(worker: &mut Worker, cell: &Cell, undisturbed: f64) -> Result {
    let expected = Expectation::new(cell);
    let mut run = 1;
    loop {
        let seen = worker.run(cell);
        let mut broken = expected.broken(&seen);
        let time = Time::new(&seen, expected.extra, undisturbed);
        if !time.is_over() || run == RUNS || !broken.is_empty() {
            broken.extend(time.is_over().then(|| format!("it took {time}")));
            return Result {
                cell: *cell,
                seen,
                time,
                broken,
            };
        }
        run += 1;
    }
}

/// Does work for each item, on workers that take the next item when they have done one.
fn on_workers<T: Sync, R: Send>(items: &[T], work: impl Fn(&mut Worker, &T) -> R + Sync) -> Vec<R> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..items.len()).collect());
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let worker = || {
        let mut worker: Option<Worker> = None;
        let mut done = Vec::new();
        while let Some(index) = next() {
            let worker = worker.get_or_insert_with(Worker::start);
            done.push((index, work(worker, &items[index])));
            if worker.cells() >= CELLS_PER_WORKER {
                *worker = Worker::start();
            }
        }
        done
    };
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
