//! Rows of the document: cells that came to the same, put together.

use std::collections::{HashMap, HashSet};

use super::{
    cell::{self, Cell},
    time::Time,
};
use crate::harness::Api;

/// How often a fault is made, in the order of the columns.
pub const COLUMNS: [&str; 4] = ["once", "3 times", "5 %", "always"];

/// What a cell came to: a word, and the line that the user read.
pub type Label = (&'static str, Option<usize>);

/// Cells that came to the same.
#[derive(Clone, Copy)]
pub struct Same {
    /// What they came to.
    pub label: Label,
    /// How many they are.
    pub count: usize,
    /// The time that is nearest to its bound.
    pub time: Time,
}

impl Same {
    fn with(self, other: Self) -> Option<Self> {
        (self.label == other.label).then(|| Self {
            label: self.label,
            count: self.count + other.count,
            time: std::cmp::max_by(self.time, other.time, Time::compare),
        })
    }
}

/// What was run of one fault on one operation, by column.
type Columns = [Option<Same>; COLUMNS.len()];

/// An operation of one protocol with one fault.
type Item = (Api, &'static str, String);

/// Some operations with some faults, all of which came to the same wherever they were run.
pub struct Row {
    apis: Vec<Api>,
    /// What the operations are for.
    pub steps: Vec<&'static str>,
    /// What they are about.
    pub about: String,
    /// The faults.
    pub faults: Vec<String>,
    /// What they came to.
    pub columns: Columns,
    items: HashSet<Item>,
}

impl Row {
    /// The protocol, where it is but one.
    pub fn api(&self) -> Option<Api> {
        match self.apis[..] {
            [api] => Some(api),
            _ => None,
        }
    }

    /// Both in one, if the row then says nothing that was not seen.
    fn with(&self, other: &Self, all: &HashSet<&Item>) -> Option<Self> {
        let mut columns = self.columns;
        for (ours, theirs) in columns.iter_mut().zip(other.columns) {
            *ours = match (*ours, theirs) {
                (Some(one), Some(another)) => Some(one.with(another)?),
                (one, another) => one.or(another),
            };
        }
        let both = Self {
            apis: union(&self.apis, &other.apis),
            steps: union(&self.steps, &other.steps),
            about: self.about.clone(),
            faults: union(&self.faults, &other.faults),
            columns,
            items: &self.items | &other.items,
        };
        both.is_true(all).then_some(both)
    }

    /// Whether whatever was run of its operations and faults is in it.
    fn is_true(&self, all: &HashSet<&Item>) -> bool {
        self.apis.iter().all(|api| {
            self.steps.iter().all(|step| {
                self.faults.iter().all(|fault| {
                    let item = (*api, *step, fault.clone());
                    self.items.contains(&item) || !all.contains(&item)
                })
            })
        })
    }
}

fn union<T: Clone + PartialEq>(one: &[T], other: &[T]) -> Vec<T> {
    let mut union = one.to_vec();
    union.extend(other.iter().filter(|item| !one.contains(item)).cloned());
    union
}

/// The rows for these cells, in their order.
pub fn rows<'a>(cells: impl Iterator<Item = (&'a Cell, Label, Time)>) -> Vec<Row> {
    let mut about: Vec<(String, Vec<Row>)> = Vec::new();
    for (cell, label, time) in cells {
        let (step, what) = cell.step();
        let known = about.iter().position(|(known, _)| *known == what);
        let group = known.unwrap_or_else(|| {
            about.push((what.clone(), Vec::new()));
            about.len() - 1
        });
        let same = Same {
            label,
            count: 1,
            time,
        };
        add(&mut about[group].1, cell, step, &what, same);
    }
    about
        .into_iter()
        .flat_map(|(_, rows)| put_together(rows))
        .collect()
}

fn add(rows: &mut Vec<Row>, cell: &Cell, step: &'static str, about: &str, same: Same) {
    let item = (cell.api, step, cell::fault(cell.fault));
    let column = COLUMNS
        .iter()
        .position(|name| *name == cell::when(cell.when));
    let column = column.expect("each has a column");
    let known = rows.iter().position(|row| row.items.contains(&item));
    let row = known.unwrap_or_else(|| {
        rows.push(Row {
            apis: vec![item.0],
            steps: vec![step],
            about: about.to_owned(),
            faults: vec![item.2.clone()],
            columns: [None; COLUMNS.len()],
            items: HashSet::from([item]),
        });
        rows.len() - 1
    });
    rows[row].columns[column] = Some(same);
}

/// Faults of one operation first, then the protocols, then the operations.
fn put_together(rows: Vec<Row>) -> Vec<Row> {
    let all: Vec<Item> = rows.iter().flat_map(|row| row.items.clone()).collect();
    let all = all.iter().collect();
    let alike: [fn(&Row, &Row) -> bool; 3] = [
        |one, other| one.apis == other.apis && one.steps == other.steps,
        |one, other| one.steps == other.steps,
        |_, _| true,
    ];
    alike.into_iter().fold(rows, |rows, alike| {
        let mut together: Vec<Row> = Vec::new();
        for row in rows {
            let joined = together.iter().enumerate().find_map(|(index, earlier)| {
                let both = alike(earlier, &row).then(|| earlier.with(&row, &all))??;
                Some((index, both))
            });
            match joined {
                Some((index, both)) => together[index] = both,
                None => together.push(row),
            }
        }
        together
    })
}

/// How many cells have each word.
pub fn counts(words: impl Iterator<Item = &'static str>) -> Vec<(&'static str, usize)> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    counts
}
