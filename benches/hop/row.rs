//! What is measured.

use std::{fs, time::Instant};

use serde::Serialize;

use crate::{
    fixture::Fixture,
    harness::{Build, Builder},
    sink::REFUSING,
    vertex::Export,
    vitals::{Cost, Watch},
};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Row {
    /// A context of 512 MiB is sent to the daemon.
    Upload,
    /// A result of 512 MiB comes back.
    Tar,
    /// A context of 50,000 files is sent to the daemon.
    Files,
    /// A build without a cache of which every step is done.
    Nothing,
    /// A layer of 512 MiB is exported: by stock to a directory, through the gateway to a cache that
    /// takes no entry, so that it is hashed and goes no further.
    Hash,
    /// The same, with a cache that takes all and keeps nothing.
    Export,
}

/// A row and its figures.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub row: Row,
    pub direct: Vec<f64>,
    pub gateway: Vec<f64>,
    /// What all rounds together cost the gateway.
    pub cost: Cost,
}

/// What is asked of a row.
pub enum Target {
    /// The ratio of the medians.
    Ratio(f64),
    /// The difference of the medians, in seconds.
    More(f64),
}

impl Row {
    pub const ALL: [Self; 6] = [
        Self::Upload,
        Self::Tar,
        Self::Files,
        Self::Nothing,
        Self::Hash,
        Self::Export,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "context of 512 MiB",
            Self::Tar => "tar of 512 MiB",
            Self::Files => "context of 50,000 files",
            Self::Nothing => "no cache, all steps done",
            Self::Hash => "cache export of 512 MiB, hashed only",
            Self::Export => "cache export of 512 MiB, uploaded",
        }
    }

    pub fn target(self) -> Target {
        match self {
            Self::Upload => Target::Ratio(1.1),
            Self::Tar | Self::Files => Target::Ratio(1.2),
            Self::Nothing => Target::More(0.010),
            Self::Hash | Self::Export => Target::Ratio(0.5),
        }
    }

    /// A build that does nothing takes as long as its client needs to start, give or take.
    fn rounds(self) -> usize {
        match self {
            Self::Nothing => 41,
            _ => 7,
        }
    }

    /// Where the caches of its rounds are.
    fn cache(self) -> &'static str {
        match self {
            Self::Hash => REFUSING,
            _ => "",
        }
    }

    pub fn measure(self, fixture: &Fixture) -> Measured {
        let [direct, gateway] = &fixture.builders();
        // Once to make the daemon ready: layers are compressed only once.
        self.once(fixture, direct, "");
        let watch = Watch::begin(&fixture.gateway.process);
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..self.rounds() {
            let cache = format!("{}round{round}/", self.cache());
            times[0].push(self.once(fixture, direct, ""));
            times[1].push(self.once(fixture, gateway, &cache));
        }
        let [direct, gateway] = times;
        Measured {
            row: self,
            direct,
            gateway,
            cost: watch.end(),
        }
    }

    /// The seconds of one build. Each `cache` is one of which the gateway knows nothing.
    fn once(self, fixture: &Fixture, builder: &Builder, cache: &str) -> f64 {
        let build = match self {
            Self::Upload => {
                fixture.touch_large();
                Build::new(&fixture.large)
            }
            Self::Tar => Build::new(&fixture.large).tar(fixture.lab.path("result.tar")),
            Self::Files => {
                fixture.touch_many();
                Build::new(&fixture.many)
            }
            // Its one file is as the daemon has it.
            Self::Nothing => Build::new(&fixture.large),
            Self::Hash | Self::Export => return export(fixture, builder, cache),
        };
        let begun = Instant::now();
        builder.build(&build).ok();
        begun.elapsed().as_secs_f64()
    }
}

/// The seconds from when all is compressed to the end of the export.
fn export(fixture: &Fixture, builder: &Builder, cache: &str) -> f64 {
    let folder = fixture.lab.path("exported");
    let to = if cache.is_empty() {
        format!("type=local,mode=max,dest={}", folder.display())
    } else {
        let (url, token) = (fixture.sink.url(), &fixture.token);
        format!("type=gha,mode=max,version=2,url_v2={url}{cache},token={token}")
    };
    let outcome = builder.build(&Build::new(&fixture.large).to(to)).ok();
    let outcome = if cache.starts_with(REFUSING) {
        outcome
    } else {
        outcome.no_warnings()
    };
    if cache.is_empty() {
        fs::remove_dir_all(folder).expect("it was exported to");
    }
    let export = Export::parse(&outcome.output).expect("an export");
    export.send
}
