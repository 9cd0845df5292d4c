//! Faults of every kind that passes, about five in a hundred requests.

use crate::proxy::{Fault, Operation, Proxy, Rule, RuleHandle, When};

/// One in a hundred requests of any operation each.
const ANYWHERE: [Fault; 4] = [
    Fault::Status(503),
    Fault::Throttled(Some(1)),
    Fault::ResetAtOnce,
    Fault::LostAnswer,
];

/// One in a hundred downloads each.
const DOWNLOADS: [Fault; 3] = [Fault::Flip, Fault::Truncate, Fault::ResetAnswer];

/// The rules, which count what they do.
pub struct Faults(Vec<RuleHandle>);

impl Faults {
    /// Adds the rules to a proxy.
    pub fn make(proxy: &Proxy, seed: u64) -> Self {
        let downloads = DOWNLOADS.map(|fault| (fault, Some(Operation::Read)));
        let uploads = [Operation::PutBlob, Operation::Patch];
        let uploads = uploads.map(|operation| (Fault::ResetRequest, Some(operation)));
        let anywhere = ANYWHERE.map(|fault| (fault, None));
        let all = downloads.into_iter().chain(uploads).chain(anywhere);
        let rules = (1..).zip(all).map(|(n, (fault, operation))| {
            let rule = Rule::new(fault, When::Percent(1, seed.wrapping_mul(100) + n));
            proxy.rule(match operation {
                Some(operation) => rule.on(operation),
                None => rule,
            })
        });
        Self(rules.collect())
    }

    /// How many requests have gone wrong.
    pub fn hits(&self) -> u64 {
        self.0.iter().map(RuleHandle::hits).sum()
    }
}
