//! The embedded Actions cache service over real HTTP.

mod blobs;
mod crash;
mod harness;
mod rest;
mod rules;
mod v1;
mod v2;
