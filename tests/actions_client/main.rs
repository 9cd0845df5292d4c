//! The client of the Actions cache against small services that record what they are sent and
//! misbehave as they are told.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod environment;
mod fake;
mod faults;
mod hostile;
mod lost;
mod outage;
mod rude;
mod secrets;
mod service;
mod v1;
mod v2;
