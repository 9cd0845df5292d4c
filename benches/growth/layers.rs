//! One build of many layers, exported and imported.

use std::time::Instant;

use crate::{
    fixture::Fixture,
    harness::{Builder, Daemon},
    table::Row,
    vertex::Export,
    vitals::Watch,
};

/// The export and the import of so many layers.
pub fn measure(fixture: &Fixture, count: usize) -> [Row; 2] {
    let name = format!("layers-{count}");
    let build = fixture.layers(&name, count);
    let token = fixture.token(&name);

    // Compressed once, so that only the sending is measured.
    let compressed = fixture.token(&format!("{name}-first"));
    let first = build.clone().to(fixture.gha(&compressed));
    Builder::buildctl(&fixture.gateway())
        .build(&first)
        .ok()
        .no_warnings();

    let gateway = fixture.gateway();
    let watch = Watch::begin(&gateway.process);
    let outcome = Builder::buildctl(&gateway).build(&build.clone().to(fixture.gha(&token)));
    let outcome = outcome.ok().no_warnings();
    let export = Export::parse(&outcome.output).expect("an export");
    let exported = Row::new(
        format!("export of {count} layers"),
        count,
        export.send,
        watch.end(),
    );

    let fresh = Daemon::gateway(&fixture.lab, &format!("{name}-fresh"));
    let watch = Watch::begin(&fresh.process);
    let result = fixture.lab.path(format!("{name}.tar"));
    let import = build.from(fixture.gha(&token)).tar(result);
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
