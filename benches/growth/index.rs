//! An import and an export beside an index of 10,000 layers and 10,000 records.

use std::time::Instant;

use buildkit_gha::protocol::key::IndexKey;

use crate::{
    fixture::Fixture,
    harness::{Build, Builder, Context},
    large,
    table::Row,
    vitals::Watch,
};

/// Both begin with the index: it is read for the import, and compared with what is exported.
pub fn measure(fixture: &Fixture) -> Row {
    let token = fixture.token("index");
    let key = IndexKey::new("buildkit", "refs/heads/main", false).entry(1);
    fixture
        .service
        .save(&token, &key, &large::config().to_json());

    let context = Context::with_shell(&fixture.lab, "index", "RUN true\n");
    let build = Build::new(&context)
        .from(fixture.gha(&token))
        .to(fixture.gha(&token));
    let gateway = fixture.gateway();
    let watch = Watch::begin(&gateway.process);
    let begun = Instant::now();
    Builder::buildctl(&gateway).build(&build).ok().no_warnings();
    let seconds = begun.elapsed().as_secs_f64();
    Row::new(
        "a build beside an index of 10,000 layers and 10,000 records".to_owned(),
        1,
        seconds,
        watch.end(),
    )
}
