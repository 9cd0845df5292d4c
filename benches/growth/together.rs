//! Many builds at once on one gateway.

use std::{thread, time::Instant};

use crate::{
    bed::Bed,
    harness::{Build, Builder},
    table::Row,
    vitals::Watch,
};

/// Layers of each build.
const LAYERS: usize = 10;

/// The exports of so many builds.
pub fn measure(bed: &Bed, count: usize) -> Row {
    let name = format!("together-{count}");
    let builds: Vec<Build> = (0..count)
        .map(|number| bed.layers(&format!("{name}-{number}"), LAYERS))
        .collect();
    // Compressed once, so that only the sending is measured.
    exports(
        bed,
        &Builder::buildctl(&bed.gateway()),
        &builds,
        &format!("{name}-first"),
    );

    let gateway = bed.gateway();
    let watch = Watch::begin(&gateway.process);
    let begun = Instant::now();
    exports(bed, &Builder::buildctl(&gateway), &builds, &name);
    let seconds = begun.elapsed().as_secs_f64();
    let what = format!("export of {count} × {LAYERS} layers at once");
    Row::new(what, count * LAYERS, seconds, watch.end())
}

fn exports(bed: &Bed, builder: &Builder, builds: &[Build], repository: &str) {
    let token = bed.token(repository);
    thread::scope(|scope| {
        for (number, build) in builds.iter().enumerate() {
            let cache = format!("{},scope={number}", bed.gha(&token));
            scope.spawn(move || builder.build(&build.clone().to(cache)).ok().no_warnings());
        }
    });
}
