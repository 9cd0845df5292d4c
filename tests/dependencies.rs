//! Holds the rules of `deny.toml` that need no network: licences, sources, bans.
//!
//! `make deny` runs cargo-deny itself, which also asks for advisories; building it takes minutes,
//! so CI runs this.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

use std::{path::Path, process::Command};

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

/// The only registry that `deny.toml` knows: the one that needs no naming.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
}

#[test]
fn every_dependency_is_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = std::fs::read_to_string(root.join("deny.toml")).unwrap();
    let rules: Rules = toml::from_str(&rules).unwrap();
    let packages = packages(root);
    assert!(packages.len() > 100, "{} packages", packages.len());
    let broken: Vec<_> = packages
        .iter()
        .flat_map(|package| mistakes(package, &rules))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// cargo-about writes the notices of the images by a list of its own.
#[test]
fn notices_know_the_licences_that_are_allowed() {
    #[derive(Deserialize)]
    struct About {
        accepted: Vec<String>,
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name| std::fs::read_to_string(root.join(name)).unwrap();
    let rules: Rules = toml::from_str(&read("deny.toml")).unwrap();
    let about: About = toml::from_str(&read("image/about.toml")).unwrap();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(about.accepted), sorted(rules.licenses.allow));
}

#[test]
fn what_is_not_allowed_is_found() {
    let rules = Rules {
        licenses: Licenses {
            allow: vec!["MIT".into()],
        },
        bans: Bans {
            deny: vec![Banned {
                name: "openssl".into(),
            }],
        },
    };
    let mut package = Package {
        name: "good".into(),
        license: Some("MIT OR GPL-3.0-only".into()),
        source: Some(REGISTRY.into()),
        dependencies: Vec::new(),
    };
    assert!(mistakes(&package, &rules).is_empty());
    package.license = Some("MIT AND GPL-3.0-only".into());
    package.source = Some("git+https://example.com/x".into());
    assert_eq!(mistakes(&package, &rules).len(), 2);
    package.name = "openssl".into();
    package.license = None;
    assert_eq!(mistakes(&package, &rules).len(), 3);
}

/// What is built on this platform, tests included: no other sources need be on the machine.
fn packages(root: &Path) -> Vec<Package> {
    let version = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let platform = version.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--all-features", "--filter-platform", platform.unwrap()])
        .current_dir(root)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    metadata.packages
}

fn mistakes(package: &Package, rules: &Rules) -> Vec<String> {
    let mut mistakes = Vec::new();
    let name = &package.name;
    if rules.bans.deny.iter().any(|banned| banned.name == *name) {
        mistakes.push(format!("{name} is banned"));
    }
    match package.source.as_deref() {
        Some(REGISTRY) => {}
        Some(other) => mistakes.push(format!("{name} comes from {other}")),
        None => {
            let wild = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.req == "*");
            mistakes.extend(wild.map(|dependency| format!("any {} would do", dependency.name)));
        }
    }
    let license = package.license.as_deref().unwrap_or_default();
    if !is_allowed(license, &rules.licenses.allow) {
        mistakes.push(format!("{name} has the licence {license:?}"));
    }
    mistakes
}

fn is_allowed(license: &str, allowed: &[String]) -> bool {
    let allowed: Vec<_> = allowed
        .iter()
        .map(|text| Licensee::parse(text).unwrap())
        .collect();
    Expression::parse_mode(license, ParseMode::LAX).is_ok_and(|license| {
        license.evaluate(|wanted| allowed.iter().any(|allowed| allowed.satisfies(wanted)))
    })
}
