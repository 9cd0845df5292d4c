//! The disk of the spools: full, removed, or without any budget. It costs layers of the cache.

use std::fs;

use super::{Bed, spool};
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
    costs_layers(Bed::with(&site, |_| ()), "on the disk of the spool");
}

#[test]
fn an_import_spool_of_nothing() {
    let bed = Bed::with(&Site::new, |gateway| {
        gateway.env("BUILDKIT_GHA_IMPORT_SPOOL", "0");
    });
    costs_layers(bed, "do not fit in the spool of 0 bytes");
}

#[test]
fn an_export_spool_of_nothing() {
    let bed = Bed::with(&Site::new, |gateway| {
        gateway.env("BUILDKIT_GHA_EXPORT_SPOOL", "0");
    });
    let context = bed.layers("nothing");
    let export = Build::of(&context).to(bed.gha(",mode=max,scope=nothing"));
    let export = bed.builder().build(&export).ok();
    let log = bed.daemon.process.log();
    assert!(log.contains("do not fit in the spool of 0 bytes"), "{log}");
    assert_eq!(export.warnings.len(), 1, "{:?}", export.warnings);
    assert!(bed.site.keys("index-nothing").is_empty());
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
    let mut bed = Bed::with(&site, |gateway| {
        gateway.env("BUILDKIT_GHA_SPOOL_FREE", "298MB");
    });
    let context = bed.layers("floor");
    let export = Build::of(&context).to(bed.gha(",mode=max,scope=floor"));
    let export = bed.builder().build(&export).ok();
    assert!(!export.warnings.is_empty());
    let log = bed.daemon.process.log();
    assert!(log.contains("BUILDKIT_GHA_SPOOL_FREE"), "{log}");
    bed.idle.come_back(&mut bed.daemon.process);
    bed.nothing_in_spool();
    // By default a disk of this size is left alone.
    let other = Daemon::gateway_with(&bed.site.lab, "usual", |gateway| {
        gateway.env_remove("BUILDKIT_GHA_SPOOL_FREE");
        gateway.env("BUILDKIT_GHA_SPOOL_DIR", spool(&bed.site.lab));
    });
    let usual = Build::of(&context).to(bed.gha(",mode=max,scope=usual"));
    let usual = Builder::buildctl(&other).build(&usual).ok();
    assert!(!usual.warnings.is_empty());
    assert!(bed.site.keys("index-usual").is_empty());
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
    let mut bed = Bed::with(&site, |_| ());
    let link = Link {
        in_all: Some(RATE),
        ..Link::NONE
    };
    let slow = Proxy::on(&bed.site.service, link);
    let (url, token) = (slow.url(), bed.site.token.clone());
    let builder = bed.builder();
    let export = |name: &str| {
        let context = Context::with_shell(
            &bed.site.lab,
            name,
            &LARGE
                .replace("NAME", name)
                .replace("SIZE", &LAYER.to_string()),
        );
        // The layer is made before, so that the export begins at once.
        builder.build(&Build::of(&context)).ok();
        let cache = format!(
            "type=gha,url_v2={url},version=2,token={token},mode=max,scope={name},\
             compression=uncompressed"
        );
        Build::of(&context).to(cache)
    };
    let [first, second] = ["first", "second"].map(export);
    let mut under_way = builder.start(&first);
    under_way.until("parts are stored", BUILD, |_| {
        let log = bed.site.service.process.log();
        let stored = |line: &&str| line.contains("\"upload_part\"") && line.contains("status=201");
        (log.lines().filter(stored).count() >= STORED).then_some(())
    });
    let disk = rustix::fs::statvfs(spool(&bed.site.lab)).expect("the disk of the spool");
    assert!(
        disk.f_bavail * disk.f_frsize < LAYER,
        "there is room anyway"
    );
    builder.build(&second).ok().no_warnings();
    Outcome::of(under_way.finish(BUILD)).ok().no_warnings();
    for name in ["first", "second"] {
        assert_eq!(bed.site.keys(&format!("index-{name}-")).len(), 1, "{name}");
    }
    bed.idle.come_back(&mut bed.daemon.process);
    bed.nothing_in_spool();
}

/// What does not fit is a warning, whichever way it goes, and never a build.
fn costs_layers(mut bed: Bed, why: &str) {
    let context = bed.layers("large");
    let cache = bed.site.gha(Api::V2, ",mode=max,scope=large");
    // Another gateway has the room for the export.
    let other = Daemon::gateway(&bed.site.lab, "other");
    let export = Build::of(&context).to(&cache);
    Builder::buildctl(&other).build(&export).ok().no_warnings();

    let builder = bed.builder();
    let import = Build::of(&context).from(&cache).tar(bed.site.tar("result"));
    let import = builder.build(&import).ok();
    assert!(!import.warnings.is_empty());
    let log = bed.daemon.process.log();
    assert!(log.contains(why), "{why}:\n{log}");

    let again = bed.gha(",mode=max,scope=again");
    builder.build(&Build::of(&context).to(again)).ok();
    bed.idle.come_back(&mut bed.daemon.process);
    bed.nothing_in_spool();
    bed.no_panic();
}

#[test]
fn a_spool_directory_that_is_removed() {
    let mut bed = Bed::new();
    fs::remove_dir_all(spool(&bed.site.lab)).expect("remove the spool");
    let context = bed.layers("removed");
    let export = Build::of(&context).to(bed.gha(",mode=max,scope=removed"));
    bed.builder().build(&export).ok().no_warnings();
    fs::remove_dir_all(spool(&bed.site.lab)).expect("it is there again");
    bed.builder().prune();
    let import = Build::of(&context).from(bed.gha(",scope=removed"));
    let import = import.tar(bed.site.tar("removed"));
    bed.builder()
        .build(&import)
        .ok()
        .no_warnings()
        .nothing_ran();
    bed.works("after");
}
