//! Content of the embedded service that somebody cut short: its entry is no entry any more.

use std::fs::{self, File};

use crate::harness::{Api, Build, Builder, Daemon, Site};

/// Cuts the largest content file in half.
fn cut_the_largest(site: &Site) {
    let files = fs::read_dir(site.lab.path("cache/blobs")).expect("a directory");
    let files = files.map(|file| file.expect("a file").path());
    let bytes = |file: &std::path::PathBuf| fs::metadata(file).expect("a file").len();
    let largest = files.max_by_key(bytes).expect("something is stored");
    let half = bytes(&largest) / 2;
    let file = File::options().write(true).open(largest);
    file.and_then(|file| file.set_len(half))
        .expect("root may write");
}

#[test]
fn a_build_makes_the_step_of_a_cut_layer_anew_and_writes_it_again() {
    let site = Site::new();
    for api in [Api::V1, Api::V2] {
        let cache = |more: &str| site.gha(api, &format!(",scope={api:?}{more}"));
        let both = || {
            let build = Build::new(&site.context).from(cache(""));
            build.to(cache(",mode=max"))
        };
        let result = |name: &str| site.tar(&format!("{name}-{api:?}"));
        let daemon = Daemon::gateway(&site.lab, &format!("first-{api:?}"));
        let builder = Builder::buildctl(&daemon);
        builder.build(&both()).ok();
        cut_the_largest(&site);
        for round in ["second", "third"] {
            let daemon = Daemon::gateway(&site.lab, &format!("{round}-{api:?}"));
            let built = Builder::buildctl(&daemon).build(&both().tar(result(round)));
            let built = built.ok();
            if round == "third" {
                built.no_warnings().all_cached();
            }
        }
    }
    let log = site.service.process.log();
    assert!(
        log.contains("its content is shorter than recorded"),
        "{log}"
    );
}
