//! Stock BuildKit on two replicas of the service behind a load balancer, with their entries in PostgreSQL and their content
//! in a bucket.

#[allow(
    clippy::unwrap_used,
    dead_code,
    reason = "it is shared with the tests of the service"
)]
#[path = "../../tests/service/balancer.rs"]
mod balancer;
#[allow(
    clippy::unwrap_used,
    reason = "it is shared with the tests of the service"
)]
#[path = "../../tests/buckets/mod.rs"]
mod buckets;
#[allow(
    clippy::unwrap_used,
    reason = "it is shared with the tests of the service"
)]
#[path = "../../tests/postgres/mod.rs"]
mod postgres;

use std::{net::SocketAddr, sync::Arc};

use self::{
    balancer::Balancer,
    buckets::Buckets,
    postgres::{Database, Postgres},
};
use crate::harness::{
    Api, Build, Builder, Context, Daemon, Lab, PROGRAM, Process, SOON, command, listening, run,
};

/// Two replicas and what they share.
struct Replicas {
    programs: [Process; 2],
    balancer: Balancer,
    token: String,
}

impl Replicas {
    fn start(lab: &Arc<Lab>, buckets: &Buckets, flags: &[&str]) -> Self {
        let database = Postgres::shared().database();
        let store = buckets.new_place();
        let start = |name: &str| {
            let mut serve = command(lab, PROGRAM);
            serve
                .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
                .arg(lab.path(name))
                .args(["--database", &database.url(), "--store", &store])
                .args(flags)
                .envs(buckets.variables());
            let mut process = Process::start(lab, name, serve);
            let (_, address) = listening(&mut process);
            (process, address)
        };
        let [(one, first), (other, second)] = ["one", "other"].map(start);
        let addresses: [SocketAddr; 2] = [first, second];
        Self {
            programs: [one, other],
            balancer: Balancer::start(&lab.path(""), &addresses),
            token: token(lab, &database),
        }
    }

    fn gha(&self, api: Api, more: &str) -> String {
        let attributes = api.attributes(&format!("{}/", self.balancer.url));
        let token = &self.token;
        format!("type=gha,{attributes},token={token}{more}")
    }
}

fn token(lab: &Arc<Lab>, database: &Database<'_>) -> String {
    let mut mint = command(lab, PROGRAM);
    mint.args(["token", "--scope", "refs/heads/main=rw", "--database"]);
    mint.arg(database.url());
    run(lab, "token", mint, SOON).ok("token").trim().to_owned()
}

fn stock_writes_and_reads(buckets: &Buckets, flags: &[&str]) {
    let lab = Lab::new();
    let replicas = Replicas::start(&lab, buckets, flags);
    let daemon = Daemon::stock(&lab, "buildkitd");
    let builder = Builder::buildctl(&daemon);
    for (name, api) in [("v1", Api::V1), ("v2", Api::V2)] {
        let context = Context::multi_stage(&lab, name);
        let tar = |way: &str| lab.path(format!("{name}-{way}.tar"));
        let build = Build::new(&context);
        let export = build.clone().to(replicas.gha(api, ",mode=max"));
        let exported = builder.build(&export.tar(tar("exported")));
        exported.ok().none_cached();
        builder.prune();
        let import = build.from(replicas.gha(api, ""));
        let imported = builder.build(&import.tar(tar("imported")));
        imported.ok().all_cached();
        let read = |way| std::fs::read(tar(way)).expect("read a result");
        assert!(read("exported") == read("imported"), "{name}: other bytes");
    }
    for program in &replicas.programs {
        assert!(program.log().contains("operation=\"lookup\""));
    }
}

#[test]
fn stock_writes_and_reads_on_s3() {
    stock_writes_and_reads(Buckets::s3(), &[]);
}

/// What stock reads in ranges as Azure knows them comes from the service, all else from the bucket.
#[test]
fn stock_writes_and_reads_at_s3() {
    stock_writes_and_reads(Buckets::s3(), &["--direct"]);
}

#[test]
fn stock_writes_and_reads_at_azure() {
    stock_writes_and_reads(Buckets::azure(), &["--direct"]);
}
