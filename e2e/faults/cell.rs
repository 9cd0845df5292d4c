//! One cell of the matrix.

use std::fmt;

use crate::{
    harness::Api,
    proxy::{Fault, Operation, Rule, Subject, When},
};

/// Which way the cache goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// `--export-cache`.
    Export,
    /// `--import-cache`.
    Import,
}

/// What is built: its layers, from the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// 4 KiB and 1 MiB.
    Small,
    /// 4 KiB and 70 MiB: more than one part or range.
    Large,
    /// 30 of 300 KiB: each more than a probe fetches whole.
    Many,
}

impl Shape {
    /// The sizes of its layers in bytes.
    pub fn layers(self) -> Vec<usize> {
        match self {
            Self::Small => vec![4 << 10, 1 << 20],
            Self::Large => vec![4 << 10, 70 << 20],
            Self::Many => vec![300 << 10; 30],
        }
    }
}

/// One fault on one operation.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Which protocol is spoken.
    pub api: Api,
    /// Which way the cache goes.
    pub side: Side,
    /// The operation; `None` is any of them.
    pub on: Option<(Operation, Subject)>,
    /// What is built.
    pub shape: Shape,
    /// What goes wrong.
    pub fault: Fault,
    /// How often.
    pub when: When,
}

impl Cell {
    /// The rule that makes the fault.
    pub fn rule(&self) -> Rule {
        let rule = Rule::new(self.fault, self.when);
        match self.on {
            Some((operation, subject)) => rule.on(operation).of(subject),
            None => rule,
        }
    }

    /// What an undisturbed build must share with this one to be comparable.
    pub fn kind(&self) -> (Api, Side, Shape) {
        (self.api, self.side, self.shape)
    }

    /// Where the cell belongs in the document.
    pub fn place(&self) -> String {
        let operation = match self.on {
            Some((operation, subject)) => format!("{} {}", words(operation), of(subject)),
            None => "any operation".to_owned(),
        };
        let layers = match self.shape {
            Shape::Small => "",
            Shape::Large => ", 70 MiB",
            Shape::Many => ", 30 layers",
        };
        format!("{operation}{layers}")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?}, {}: {}, {}",
            self.side,
            self.api,
            self.place(),
            fault(self.fault),
            when(self.when),
        )
    }
}

/// What the service's documentation calls an operation.
fn words(operation: Operation) -> &'static str {
    match operation {
        Operation::Lookup => "lookup",
        Operation::Reserve => "reserve",
        Operation::Patch => "upload (PATCH)",
        Operation::Commit => "commit",
        Operation::Create => "CreateCacheEntry",
        Operation::PutBlob => "Put Blob",
        Operation::PutBlock => "Put Block",
        Operation::PutBlockList => "Put Block List",
        Operation::Finalize => "FinalizeCacheEntryUpload",
        Operation::DownloadUrl => "GetCacheEntryDownloadURL",
        Operation::Probe => "probe (first bytes)",
        Operation::Read => "download",
        Operation::List => "list",
        Operation::Other => "other",
    }
}

fn of(subject: Subject) -> &'static str {
    match subject {
        Subject::Index => "of the index",
        Subject::Layer => "of a layer",
        Subject::Unknown => "of another entry",
    }
}

/// A fault in few words.
pub fn fault(fault: Fault) -> String {
    let words = match fault {
        Fault::Status(status) => return status.to_string(),
        Fault::Throttled(Some(_)) => "429, Retry-After: 1",
        Fault::Throttled(None) => "429",
        Fault::Expired => "403 expired",
        Fault::ResetAtOnce => "reset at once",
        Fault::ResetRequest => "reset in the request",
        Fault::ResetAnswer => "reset in the answer",
        Fault::LostAnswer => "answer lost",
        Fault::Hang => "hang",
        Fault::StallRequest => "stall in the request",
        Fault::StallAnswer => "stall in the answer",
        Fault::Truncate => "truncated",
        Fault::Short => "short body",
        Fault::WrongTotal => "wrong total",
        Fault::Flip => "flipped bit",
        Fault::Refuse => "connection refused",
        Fault::WriteDenied => "write denied",
    };
    words.to_owned()
}

/// How often, in few words.
pub fn when(when: When) -> &'static str {
    match when {
        When::First(1) => "once",
        When::First(_) => "3 times",
        When::Always => "always",
        When::Percent(..) => "5 %",
    }
}
