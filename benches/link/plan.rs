//! The rows of the table.

use std::fmt;

use crate::{
    content::Content,
    harness::Api,
    links::Wire,
    work::{Compression, Work},
};

/// Rounds of a row whose figures include `BuildKit`'s own work, which varies.
const IMPORT_ROUNDS: usize = 5;

/// Rounds of a row that is nearly all link.
const EXPORT_ROUNDS: usize = 3;

/// Rounds where the link takes minutes.
const SLOW_ROUNDS: usize = 1;

/// What one row (or two that are measured together) is to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub wire: Wire,
    pub api: Api,
    pub content: Content,
    pub work: Work,
    /// How often each side runs, in turns.
    pub rounds: usize,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wire, content, work) = (self.wire.name(), self.content.name(), self.work.name());
        let api = api_name(self.api);
        write!(f, "{wire} {api} {content}: {work}")
    }
}

/// What the table calls a protocol.
pub fn api_name(api: Api) -> &'static str {
    match api {
        Api::V1 => "v1",
        Api::V2 => "v2",
    }
}

fn row(wire: Wire, api: Api, content: Content, work: Work) -> Plan {
    let rounds = match (wire, work) {
        (Wire::Slow, _) => SLOW_ROUNDS,
        (_, Work::Import) => IMPORT_ROUNDS,
        _ => EXPORT_ROUNDS,
    };
    Plan {
        wire,
        api,
        content,
        work,
        rounds,
    }
}

impl Plan {
    /// True if both rows can stand on one fixture.
    pub fn shares_fixture(&self, other: &Self) -> bool {
        let key = |plan: &Self| (plan.wire, plan.api, plan.content);
        key(self) == key(other)
    }
}

/// All rows. Those without a link come first: others are judged by them.
pub fn full() -> Vec<Plan> {
    let mut plan = Vec::new();
    for api in [Api::V2, Api::V1] {
        for wire in [Wire::None, Wire::Gh] {
            plan.extend(on_a_link(wire, api));
        }
    }
    for (content, work) in [
        (Content::Sixty, Work::Export),
        (Content::Sixty, Work::Unchanged),
        (Content::Sixty, Work::Import),
        (Content::Project, Work::Export),
    ] {
        plan.push(row(Wire::Slow, Api::V2, content, work));
    }
    let programs = |compression| {
        let work = Work::First(compression);
        row(Wire::Gh, Api::V2, Content::Programs, work)
    };
    plan.extend(Compression::ALL.map(programs));
    let huge = row(Wire::None, Api::V2, Content::Huge, Work::Export);
    plan.push(Plan { rounds: 1, ..huge });
    plan
}

fn on_a_link(wire: Wire, api: Api) -> Vec<Plan> {
    let mut plan = [
        (Content::Sixty, Work::Export),
        (Content::Sixty, Work::Unchanged),
        (Content::Sixty, Work::NewBuilder),
        (Content::Sixty, Work::NewBuilderListing),
        (Content::Sixty, Work::Import),
        (Content::Mixed, Work::Export),
        (Content::Large, Work::Export),
        (Content::Large, Work::Import),
        (Content::Project, Work::Export),
        (Content::Project, Work::Change),
    ]
    .map(|(content, work)| row(wire, api, content, work))
    .to_vec();
    if wire == Wire::None {
        // What others are compared with.
        plan.retain(|row| row.content != Content::Project && row.work != Work::NewBuilderListing);
    }
    plan
}

/// Rows that take less than three minutes together.
pub fn quick() -> Vec<Plan> {
    let sixty = |wire, work| row(wire, Api::V2, Content::Sixty, work);
    let plan = [
        sixty(Wire::None, Work::Import),
        sixty(Wire::Gh, Work::Import),
        sixty(Wire::Gh, Work::Export),
        sixty(Wire::Gh, Work::Unchanged),
        sixty(Wire::Gh, Work::NewBuilderListing),
    ];
    plan.map(|row| Plan { rounds: 1, ..row }).to_vec()
}
