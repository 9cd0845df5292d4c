//! The embedded Actions cache service over real HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod access;
mod audit;
#[cfg(feature = "e2e")] // It runs a server.
mod balancer;
mod blobs;
#[cfg(feature = "e2e")] // It runs a browser.
mod browser;
mod budgets;
mod crash;
mod crowd;
mod damage;
#[cfg(feature = "e2e")] // It runs servers.
mod direct;
mod directory;
mod fair;
#[cfg(feature = "e2e")]
mod faulty_bucket;
mod files;
#[cfg(feature = "e2e")]
mod fire_clients;
#[cfg(feature = "e2e")] // It mounts file systems: root.
mod fire_disk;
mod fire_hostile;
mod fire_kill;
mod fire_race;
#[cfg(feature = "e2e")] // It runs servers.
mod fire_replicas;
#[cfg(feature = "e2e")] // It runs servers and programs of others.
mod foreign_clients;
mod forgejo;
mod gitea;
mod harness;
mod hostile;
mod issuers;
mod known_faults;
#[cfg(feature = "e2e")] // It runs a server.
mod lost_answer;
mod migrate;
#[cfg(feature = "e2e")] // It runs servers.
mod migrate_replicas;
mod older;
mod page;
#[cfg(feature = "e2e")] // It runs a server.
mod postgres;
mod program;
mod proxy_protocol;
mod rate_limits;
#[cfg(feature = "e2e")] // It runs servers.
mod replicas;
mod rest;
mod roles;
mod rules;
#[cfg(feature = "e2e")] // It runs servers.
mod rules_of_replicas;
mod runner;
mod shared;
#[cfg(feature = "e2e")] // It runs servers.
mod shared_replicas;
mod tls;
mod tokens;
mod traces;
mod upstream;
mod v1;
mod v2;
