//! The disk of the spools: full, removed, or without any budget. It costs layers of the cache.

use std::fs;

use super::{Bed, spool};
use crate::harness::{Api, Build, Builder, Daemon, Site, mount_tmpfs};

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
