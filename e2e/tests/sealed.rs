//! Signed caches that buildkitd accepts. Its own root of trust is out of a test's reach, so this
//! daemon has another: `e2e/signing`. All else is stock, side by side with and without the gateway.

use std::sync::Arc;

use super::signing::{Signing, says};
use crate::harness::{Api, Build, Lab, Site, version::SEALING_BUILDKITD};

/// A line of shell that prints what `e2e/signing` accepts as the signature of `given`.
const SEAL: &str = "printf 'sealed by the tests: sha256:%s' $(sha256sum < given | cut -c1-64)";

/// What the signer of a seal is.
const POLICY: &str = "SubjectAlternativeName = \"the tests\"\ntlogThreshold = 1\n";

fn sealing(lab: &Arc<Lab>, policy: &str) -> Signing {
    Signing::with(lab, SEAL, policy, |gateway| {
        gateway.env("BUILDKIT_GHA_BUILDKITD", SEALING_BUILDKITD);
    })
}

#[test]
fn each_reads_what_the_other_has_signed() {
    let lab = Lab::new();
    let signing = sealing(&lab, POLICY);
    let [stock, ours] = &signing.builders();
    for api in [Api::V1, Api::V2] {
        for (writer, reader) in [(stock, ours), (ours, stock), (ours, ours)] {
            let site = Site::new();
            let export = Build::new(&site.context).to(site.gha(api, ",mode=max"));
            let exported = writer.1.build(&export.tar(site.tar("exported")));
            exported.ok().no_warnings();
            let blobs = site.keys("buildkit-blob-");
            let signatures = blobs.iter().filter(|key| key.ends_with("-sig")).count();
            assert_eq!(signatures, 1, "{api:?}, {} has signed", writer.0);

            reader.1.prune();
            let import = Build::new(&site.context).from(site.gha(api, ""));
            let imported = reader.1.build(&import.tar(site.tar("imported")));
            imported.ok().no_warnings().all_cached();
            site.same("exported", "imported");
        }
    }
}

#[test]
fn what_nobody_trusted_has_signed_is_a_miss() {
    let site = Site::new();
    let signing = sealing(&site.lab, POLICY);
    let [stock, ours] = signing.builders();
    let cache = |more: &str| site.gha(Api::V2, more);
    ours.1
        .build(&Build::new(&site.context).to(cache(",mode=max")))
        .ok()
        .no_warnings();

    // Another job that may write the cache adds a newer index of its own: the signed one, emptied.
    let [index] = &site.keys("index-")[..] else {
        panic!("one index");
    };
    let newer = index.replace("#1", "#2");
    assert_ne!(&newer, index);
    site.service.save(&site.token, &newer, b"{}");
    for (_, builder) in [&stock, &ours] {
        builder.prune();
        let outcome = builder.build(&Build::new(&site.context).from(cache("")));
        let outcome = outcome.ok().none_cached();
        says(&outcome, "missing signature for github actions cache");
    }
}

#[test]
fn the_policy_of_buildkitd_is_kept() {
    let site = Site::new();
    let signing = sealing(&site.lab, "SubjectAlternativeName = \"somebody else\"\n");
    for (name, builder) in signing.builders() {
        let scope = format!(",scope={name},mode=max");
        let outcome = builder.build(&Build::new(&site.context).to(site.gha(Api::V2, &scope)));
        says(&outcome, "does not match policy");
        assert_eq!(outcome.success, name == "ours", "{name}");
    }
    assert!(
        !site
            .keys("buildkit-blob-")
            .iter()
            .any(|key| key.ends_with("-sig"))
    );
}
