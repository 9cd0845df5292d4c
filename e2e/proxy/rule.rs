//! Which requests get a fault.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::{Fault, Operation, Subject, fault::Stage, lock};

/// Which of the requests that a rule fits get its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The first so many.
    First(u64),
    /// All.
    Always,
    /// So many of a hundred, drawn from a seed.
    Percent(u64, u64),
}

impl When {
    /// Whether the request with this number, from 0, gets the fault.
    fn hits(self, number: u64) -> bool {
        match self {
            Self::First(count) => number < count,
            Self::Always => true,
            Self::Percent(percent, seed) => mix(seed ^ mix(number)) % 100 < percent,
        }
    }
}

/// A number that looks random: the finaliser of splitmix64.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A fault for some requests.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    fault: Fault,
    when: When,
    operation: Option<Operation>,
    subject: Option<Subject>,
}

impl Rule {
    /// A fault for requests of any operation.
    pub fn new(fault: Fault, when: When) -> Self {
        Self {
            fault,
            when,
            operation: None,
            subject: None,
        }
    }

    /// For this operation only.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// For this kind of entry only.
    pub fn about(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    fn fits(&self, operation: Operation, subject: Subject) -> bool {
        self.operation.is_none_or(|only| only == operation)
            && self.subject.is_none_or(|only| only == subject)
    }
}

struct Live {
    rule: Rule,
    fitting: AtomicU64,
    hits: AtomicU64,
}

/// What a rule has done so far.
pub struct RuleHandle(Arc<Live>);

impl RuleHandle {
    /// How many requests got the fault.
    pub fn hits(&self) -> u64 {
        self.0.hits.load(Ordering::Relaxed)
    }
}

/// A fault that a request gets.
#[derive(Clone, Copy)]
pub(super) struct Injected {
    pub fault: Fault,
    /// Which requests of the rule get it.
    pub when: When,
}

/// The rules of one proxy.
#[derive(Default)]
pub(super) struct Rules(Mutex<Vec<Arc<Live>>>);

impl Rules {
    pub fn add(&self, rule: Rule) -> RuleHandle {
        let live = Arc::new(Live {
            rule,
            fitting: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        });
        lock(&self.0).push(Arc::clone(&live));
        RuleHandle(live)
    }

    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// The fault that a request gets at this stage. `has_body` says whether there is an answer's
    /// body for it.
    pub fn claim(
        &self,
        stage: Stage,
        operation: Operation,
        subject: Subject,
        has_body: bool,
    ) -> Option<Injected> {
        let rules = lock(&self.0);
        let live = rules.iter().find(|live| {
            let fault = live.rule.fault;
            fault.stage() == stage
                && (has_body || !fault.needs_body())
                && live.rule.fits(operation, subject)
                && live
                    .rule
                    .when
                    .hits(live.fitting.fetch_add(1, Ordering::Relaxed))
        })?;
        live.hits.fetch_add(1, Ordering::Relaxed);
        Some(Injected {
            fault: live.rule.fault,
            when: live.rule.when,
        })
    }
}
