//! One build of many layers, exported and imported.

use std::time::Instant;

use crate::{
    bed::Bed,
    harness::{Builder, Daemon},
    table::Row,
    vertex::Export,
    vitals::Watch,
};

/// The export and the import of so many layers.
pub fn measure(bed: &Bed, count: usize) -> [Row; 2] {
    let name = format!("layers-{count}");
    let build = bed.layers(&name, count);
    let token = bed.token(&name);

    // Compressed once, so that only the sending is measured.
    let compressed = bed.token(&format!("{name}-first"));
    let first = build.clone().to(bed.gha(&compressed));
    Builder::buildctl(&bed.gateway())
        .build(&first)
        .ok()
        .no_warnings();

    let gateway = bed.gateway();
    let watch = Watch::begin(&gateway.process);
    let outcome = Builder::buildctl(&gateway).build(&build.clone().to(bed.gha(&token)));
    let outcome = outcome.ok().no_warnings();
    let export = Export::of(&outcome.output).expect("an export");
    let exported = Row::new(
        format!("export of {count} layers"),
        count,
        export.send,
        watch.end(),
    );

    let fresh = Daemon::gateway(&bed.lab, &format!("{name}-fresh"));
    let watch = Watch::begin(&fresh.process);
    let result = bed.lab.path(format!("{name}.tar"));
    let import = build.from(bed.gha(&token)).tar(result);
    let begun = Instant::now();
    Builder::buildctl(&fresh)
        .build(&import)
        .ok()
        .no_warnings()
        .nothing_ran();
    let seconds = begun.elapsed().as_secs_f64();
    let imported = Row::new(
        format!("import beside {count} layers"),
        count,
        seconds,
        watch.end(),
    );
    [exported, imported]
}
