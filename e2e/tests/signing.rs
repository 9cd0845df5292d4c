//! `[cache.gha.sign]` and `[cache.gha.verify]` of buildkitd.toml: behind the gateway buildkitd signs
//! and checks as it does without it, shown side by side on one daemon.
//!
//! What buildkitd takes for a signature is a bundle that the public sigstore instance has witnessed,
//! and the root of that trust is built in. So nothing that a test can make is valid. What is shown is
//! everything up to there: the command runs on the bytes that are stored, what it writes is judged by
//! buildkitd, and a signature that is stored comes back as it is, to be judged there, too. What
//! follows after a genuine signature is in `sealed`.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command, sync::Arc};

use buildkit_gha::digest::Digest;

use crate::harness::{Api, Build, Builder, Daemon, Lab, Outcome, SOON, Site, version};

/// As many characters as buildkitd repeats of what it cannot read.
const JUNK: &str = "12345678-this-is-no-bundle-12345";

/// A bundle, but an empty one.
const EMPTY: &str = r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}"#;

/// One daemon that signs, reached directly and through the gateway.
pub(super) struct Signing {
    gateway: Daemon,
    /// Where the gateway's own buildkitd listens.
    inner: String,
    /// What the signing command was given last.
    given: PathBuf,
}

impl Signing {
    /// The command answers with `signature`.
    fn start(lab: &Arc<Lab>, signature: &str) -> Self {
        Self::with(lab, &format!("printf %s '{signature}'"), "", |_| ())
    }

    /// The command keeps what it is given in the file `given` and answers with what `answer`
    /// prints, a line of shell; `policy` is what the signer must be, as buildkitd.toml says it.
    pub(super) fn with(
        lab: &Arc<Lab>,
        answer: &str,
        policy: &str,
        edit: impl FnOnce(&mut Command),
    ) -> Self {
        let given = lab.path("given");
        let script = format!("cd {} && cat > given && {answer}", lab.path("").display());
        let text = format!(
            "[cache.gha.sign]\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\n\
             [cache.gha.verify]\nrequired = true\n[cache.gha.verify.policy]\n{policy}"
        );
        let config = lab.path("buildkitd.toml");
        fs::write(&config, text).expect("write the configuration");
        let mut gateway = Daemon::gateway_with(lab, "gateway", |gateway| {
            gateway.arg("--config").arg(&config);
            edit(gateway);
        });
        let inner = gateway.process.until("buildkitd listens", SOON, |log| {
            let (_, after) = log.split_once("running server on ")?;
            let (socket, _) = after.split_once('"')?;
            Some(format!("unix://{socket}"))
        });
        Self {
            gateway,
            inner,
            given,
        }
    }

    /// The same daemon, without the gateway and through it.
    pub(super) fn builders(&self) -> [(&str, Builder); 2] {
        let stock = Builder::Buildctl {
            lab: Arc::clone(self.gateway.lab()),
            address: self.inner.clone(),
        };
        [("stock", stock), ("ours", Builder::buildctl(&self.gateway))]
    }
}

/// Fails unless the build's log has these words.
pub(super) fn says(outcome: &Outcome, words: &str) {
    // BuildKit's protobuf library puts one of two kinds of space into its messages, at random.
    let output = outcome.output.replace('\u{a0}', " ");
    assert!(output.contains(words), "{words:?} is not in:\n{output}");
}

#[test]
fn the_command_signs_what_is_stored() {
    version::must_sign();
    let site = Site::new();
    let signing = Signing::start(&site.lab, JUNK);
    for api in [Api::V1, Api::V2] {
        let stored = signing.builders().map(|(name, builder)| {
            // A service each: what either stores is compared.
            let own = Site::new();
            let export = Build::new(&site.context).to(own.gha(api, ",mode=max"));
            let outcome = builder.build(&export);
            says(&outcome, &format!("invalid value {JUNK}"));
            // Only without the gateway is a build lost to its cache.
            assert_eq!(outcome.success, name == "ours", "{name}");

            let indexes = own.keys("index-");
            let [index] = &indexes[..] else {
                panic!("{name}: {indexes:?}");
            };
            assert!(index.ends_with("-sig#1"), "{name}: {index}");
            let given = fs::read(&signing.given).expect("the command has run");
            assert!(given == own.service.read(&own.token, index), "{name}");
            fs::remove_file(&signing.given).expect("each export signs anew");
            let read = |key: &String| (key.clone(), own.service.read(&own.token, key));
            let blobs: BTreeSet<_> = own.keys("buildkit-blob-").iter().map(read).collect();
            assert!(!blobs.is_empty());
            // BuildKit stores no signature that it would not accept.
            assert!(!blobs.iter().any(|(key, _)| key.ends_with("-sig")));
            (index.clone(), blobs)
        });
        let [stock, ours] = stored;
        assert!(
            stock == ours,
            "{api:?}: the same keys with the same bytes under them"
        );
    }
}

#[test]
fn an_index_without_a_valid_signature_is_a_miss() {
    version::must_sign();
    let site = Site::new();
    let signing = Signing::start(&site.lab, JUNK);
    for (scope, signature, words) in [
        ("none", None, "missing signature for github actions cache"),
        ("junk", Some(JUNK), &*format!("invalid value {JUNK}")),
        ("empty", Some(EMPTY), "invalid bundle: validation error"),
    ] {
        let attribute = format!(",scope={scope}");
        let export = site.gha(Api::V2, &format!("{attribute},mode=max"));
        let [_, (_, ours)] = signing.builders();
        ours.build(&Build::new(&site.context).to(export)).ok();
        if let Some(signature) = signature {
            let given = fs::read(&signing.given).expect("the command has run");
            let key = format!("buildkit-blob-1-{}-sig", Digest::sha256(&given));
            site.service.save(&site.token, &key, signature.as_bytes());
        }
        for (_, builder) in signing.builders() {
            builder.prune();
            let import = Build::new(&site.context).from(site.gha(Api::V2, &attribute));
            let outcome = builder.build(&import).ok().none_cached();
            says(&outcome, words);
        }
    }
}
