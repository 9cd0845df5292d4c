//! Many builds at once on one gateway.

use std::{thread, time::Instant};

use crate::{
    fixture::Fixture,
    harness::{Build, Builder},
    table::Row,
    vitals::Watch,
};

/// Layers of each build.
const LAYERS: usize = 10;

/// The exports of so many builds.
pub fn measure(fixture: &Fixture, count: usize) -> Row {
    let name = format!("together-{count}");
    let builds: Vec<Build> = (0..count)
        .map(|number| fixture.layers(&format!("{name}-{number}"), LAYERS))
        .collect();
    // Compressed once, so that only the sending is measured.
    exports(
        fixture,
        &Builder::buildctl(&fixture.gateway()),
        &builds,
        &format!("{name}-first"),
    );

    let gateway = fixture.gateway();
    let watch = Watch::begin(&gateway.process);
    let begun = Instant::now();
    exports(fixture, &Builder::buildctl(&gateway), &builds, &name);
    let seconds = begun.elapsed().as_secs_f64();
    let what = format!("export of {count} × {LAYERS} layers at once");
    Row::new(what, count * LAYERS, seconds, watch.end())
}

fn exports(fixture: &Fixture, builder: &Builder, builds: &[Build], repository: &str) {
    let token = fixture.token(repository);
    thread::scope(|scope| {
        for (number, build) in builds.iter().enumerate() {
            let cache = format!("{},scope={number}", fixture.gha(&token));
            scope.spawn(move || builder.build(&build.clone().to(cache)).ok().no_warnings());
        }
    });
}
