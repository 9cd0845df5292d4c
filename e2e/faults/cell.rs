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

    /// How it stands in the document.
    pub fn words(self) -> &'static str {
        match self {
            Self::Small => "",
            Self::Large => ", 70 MiB",
            Self::Many => ", 30 layers",
        }
    }
}

/// What a build asks for, beside a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Options {
    /// Nothing.
    Plain,
    /// Export: `ignore-error=false`.
    Strict,
    /// Import: `import-verify=full`.
    Verified,
    /// Import: a gateway that has just been started, and another one for the next run, as in CI.
    Fresh,
    /// The same with `repository` and `ghtoken`, and all layers that are downloaded are damaged:
    /// it is the deletion of the damaged entries that the fault is about.
    Deleting,
}

impl Options {
    /// How they stand in the document.
    pub fn words(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strict => ", ignore-error=false",
            Self::Verified => ", import-verify=full",
            Self::Fresh => ", fresh gateway",
            Self::Deleting => ", layers damaged, ghtoken",
        }
    }

    /// Whether a gateway of its own runs the import, and another one the next run.
    pub fn are_fresh(self) -> bool {
        matches!(self, Self::Fresh | Self::Deleting)
    }
}

/// One fault on one operation.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What is asked for.
    pub options: Options,
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
            Some((operation, subject)) => rule.on(operation).about(subject),
            None => rule,
        }
    }

    /// What else goes wrong, so that the operation is needed at all.
    pub fn rule_beside(&self) -> Option<Rule> {
        let damage = Rule::new(Fault::Flip, When::Always);
        let damage = damage.on(Operation::Read).about(Subject::Layer);
        (self.options == Options::Deleting).then_some(damage)
    }

    /// What an undisturbed build must share with this one to be comparable.
    pub fn kind(&self) -> Kind {
        (self.api, self.side, self.shape)
    }

    /// Where the cell belongs in the document.
    pub fn place(&self) -> String {
        let operation = match self.on {
            Some((operation, subject)) => format!("{} {}", words(operation), of(subject)),
            None => "any operation".to_owned(),
        };
        format!("{operation}{}{}", self.shape.words(), self.options.words())
    }
}

impl Cell {
    /// The same for both protocols: the step, and what it is about.
    pub fn step(&self) -> (&'static str, String) {
        let (step, subject) = match self.on {
            Some((operation, subject)) => (step(operation), format!(" {}", of(subject))),
            None => ("any operation", String::new()),
        };
        let about = format!("{subject}{}{}", self.shape.words(), self.options.words());
        (step, about)
    }
}

/// What an operation is for, in the words that both protocols share.
fn step(operation: Operation) -> &'static str {
    match operation {
        Operation::Lookup | Operation::DownloadUrl => "lookup",
        Operation::Reserve | Operation::Create => "reserve",
        Operation::Patch | Operation::PutBlob | Operation::PutBlock => "upload",
        Operation::PutBlockList => "join",
        Operation::Commit | Operation::Finalize => "commit",
        Operation::Probe | Operation::Read | Operation::List | Operation::Other => words(operation),
    }
}

/// What builds must have in common for their times to be comparable.
pub type Kind = (Api, Side, Shape);

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
        Operation::Probe => "probe",
        Operation::Read => "download",
        Operation::List => "REST listing",
        Operation::Other => "other",
    }
}

/// What an operation is about.
pub fn of(subject: Subject) -> &'static str {
    match subject {
        Subject::Index => "of the index",
        Subject::Layer => "of a layer",
        Subject::Unknown => "of entries",
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
        Fault::Empty => "empty body",
        Fault::Long => "over-long body",
        Fault::Another => "200 with another size",
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
