//! The disk of the spools: full, removed, or without any budget. It costs layers of the cache.

use std::fs;

use super::{Fixture, spool};
use crate::{
    harness::{Api, BUILD, Build, Builder, Context, Daemon, Outcome, Site, mount_tmpfs},
    proxy::{Link, Proxy},
};

/// Less than one of the layers.
const DISK: &str = "1m";

#[test]
fn a_spool_on_a_disk_that_is_too_small() {
    let site = || {
        let site = Site::new();
        let dir = spool(&site.lab);
        fs::create_dir(&dir).expect("create the spool");
        mount_tmpfs(&dir, DISK);
        site
    };
    costs_layers(Fixture::with(&site, |_| ()), "on the disk of the spool");
}

#[test]
fn an_import_spool_of_nothing() {
    let fixture = Fixture::with(&Site::new, |gateway| {
        gateway.env("BUILDKIT_GHA_IMPORT_SPOOL", "0");
    });
    costs_layers(fixture, "do not fit in the spool of 0 bytes");
}

#[test]
fn an_export_spool_of_nothing() {
    let fixture = Fixture::with(&Site::new, |gateway| {
        gateway.env("BUILDKIT_GHA_EXPORT_SPOOL", "0");
    });
    let context = fixture.layers("nothing");
    let export = Build::new(&context).to(fixture.gha(",mode=max,scope=nothing"));
    let export = fixture.builder().build(&export).ok();
    let log = fixture.daemon.process.log();
    assert!(log.contains("do not fit in the spool of 0 bytes"), "{log}");
    assert_eq!(export.warnings.len(), 1, "{:?}", export.warnings);
    assert!(fixture.site.keys("index-nothing").is_empty());
}

/// The disk is everybody's: the build that has nothing to do with caches needs it, too.
#[test]
fn exports_leave_room_on_the_disk() {
    let room = "300m";
    let site = || {
        let site = Site::new();
        let dir = spool(&site.lab);
        fs::create_dir(&dir).expect("create the spool");
        mount_tmpfs(&dir, room);
        site
    };
    // What is left is less than a layer.
    let mut fixture = Fixture::with(&site, |gateway| {
        gateway.env("BUILDKIT_GHA_SPOOL_FREE", "298MB");
    });
    let context = fixture.layers("floor");
    let export = Build::new(&context).to(fixture.gha(",mode=max,scope=floor"));
    let export = fixture.builder().build(&export).ok();
    assert!(!export.warnings.is_empty());
    let log = fixture.daemon.process.log();
    assert!(log.contains("BUILDKIT_GHA_SPOOL_FREE"), "{log}");
    fixture.idle.come_back(&mut fixture.daemon.process);
    fixture.nothing_in_spool();
    // By default a disk of this size is left alone.
    let other = Daemon::gateway_with(&fixture.site.lab, "usual", |gateway| {
        gateway.env_remove("BUILDKIT_GHA_SPOOL_FREE");
        gateway.env("BUILDKIT_GHA_SPOOL_DIR", spool(&fixture.site.lab));
    });
    let usual = Build::new(&context).to(fixture.gha(",mode=max,scope=usual"));
    let usual = Builder::buildctl(&other).build(&usual).ok();
    assert!(!usual.warnings.is_empty());
    assert!(fixture.site.keys("index-usual").is_empty());
}

/// The spool's disk, and a layer that fits twice only where parts of the first have left.
const SMALL: &str = "200m";
const LAYER: u64 = 120_000_000;
const LARGE: &str = "
RUN echo NAME && head -c SIZE /dev/urandom > /large
";

/// Bytes per second: the first upload goes on for a while after the second one has begun.
const RATE: u32 = 20_000_000;

/// Parts of 4 MiB after which there is room for the second layer, and the first is not yet done.
const STORED: usize = 14;

#[test]
fn confirmed_parts_leave_the_disk_while_the_rest_is_on_its_way() {
    let site = || {
        let site = Site::new();
        let dir = spool(&site.lab);
        fs::create_dir(&dir).expect("create the spool");
        mount_tmpfs(&dir, SMALL);
        site
    };
    let mut fixture = Fixture::with(&site, |_| ());
    let link = Link {
        in_all: Some(RATE),
        ..Link::NONE
    };
    let slow = Proxy::with_link(&fixture.site.service, link);
    let (url, token) = (slow.url(), fixture.site.token.clone());
    let builder = fixture.builder();
    let export = |name: &str| {
        let context = Context::with_shell(
            &fixture.site.lab,
            name,
            &LARGE
                .replace("NAME", name)
                .replace("SIZE", &LAYER.to_string()),
        );
        // The layer is made before, so that the export begins at once.
        builder.build(&Build::new(&context)).ok();
        let cache = format!(
            "type=gha,url_v2={url},version=2,token={token},mode=max,scope={name},\
             compression=uncompressed"
        );
        Build::new(&context).to(cache)
    };
    let [first, second] = ["first", "second"].map(export);
    let mut under_way = builder.start(&first);
    under_way.until("parts are stored", BUILD, |_| {
        let log = fixture.site.service.process.log();
        let stored = |line: &&str| line.contains("\"upload_part\"") && line.contains("status=201");
        (log.lines().filter(stored).count() >= STORED).then_some(())
    });
    let disk = rustix::fs::statvfs(spool(&fixture.site.lab)).expect("the disk of the spool");
    assert!(
        disk.f_bavail * disk.f_frsize < LAYER,
        "there is room anyway"
    );
    builder.build(&second).ok().no_warnings();
    Outcome::from_client(under_way.finish(BUILD))
        .ok()
        .no_warnings();
    for name in ["first", "second"] {
        assert_eq!(
            fixture.site.keys(&format!("index-{name}-")).len(),
            1,
            "{name}"
        );
    }
    fixture.idle.come_back(&mut fixture.daemon.process);
    fixture.nothing_in_spool();
}

/// What does not fit is a warning, whichever way it goes, and never a build.
fn costs_layers(mut fixture: Fixture, why: &str) {
    let context = fixture.layers("large");
    let cache = fixture.site.gha(Api::V2, ",mode=max,scope=large");
    // Another gateway has the room for the export.
    let other = Daemon::gateway(&fixture.site.lab, "other");
    let export = Build::new(&context).to(&cache);
    Builder::buildctl(&other).build(&export).ok().no_warnings();

    let builder = fixture.builder();
    let import = Build::new(&context)
        .from(&cache)
        .tar(fixture.site.tar("result"));
    let import = builder.build(&import).ok();
    assert!(!import.warnings.is_empty());
    let log = fixture.daemon.process.log();
    assert!(log.contains(why), "{why}:\n{log}");

    let again = fixture.gha(",mode=max,scope=again");
    builder.build(&Build::new(&context).to(again)).ok();
    fixture.idle.come_back(&mut fixture.daemon.process);
    fixture.nothing_in_spool();
    fixture.no_panic();
}

#[test]
fn a_spool_directory_that_is_removed() {
    let mut fixture = Fixture::new();
    fs::remove_dir_all(spool(&fixture.site.lab)).expect("remove the spool");
    let context = fixture.layers("removed");
    let export = Build::new(&context).to(fixture.gha(",mode=max,scope=removed"));
    fixture.builder().build(&export).ok().no_warnings();
    fs::remove_dir_all(spool(&fixture.site.lab)).expect("it is there again");
    fixture.builder().prune();
    let import = Build::new(&context).from(fixture.gha(",scope=removed"));
    let import = import.tar(fixture.site.tar("removed"));
    fixture
        .builder()
        .build(&import)
        .ok()
        .no_warnings()
        .nothing_ran();
    fixture.works("after");
}
