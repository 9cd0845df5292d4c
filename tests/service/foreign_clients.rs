//! Clients that others have written, on replicas behind a load balancer: `@actions/cache`, Azure's SDK and `OpenDAL`.
//!
//! All of them have what is made for them by `tools/setup.sh`.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{process::Command, time::timeout};

use crate::{
    balancer::Balancer,
    program::{Program, Remote, seed},
    replicas::{Deployment, MIB, buckets::Buckets},
};

/// Some megabytes, and not a multiple of anything.
const SIZE: usize = 12 * MIB + 11;

/// Distinguishes a client that is slow from one that never ends.
const HANG: Duration = Duration::from_mins(1);

/// The variables of GitHub's runner that say which protocol is spoken.
const API: [&str; 3] = [
    "ACTIONS_CACHE_URL",
    "ACTIONS_RESULTS_URL",
    "ACTIONS_CACHE_SERVICE_V2",
];

#[derive(Debug, Clone, Copy)]
enum Api {
    V1,
    V2,
}

/// Two replicas behind a load balancer, which gives each call to the other one.
struct Pair {
    team: Deployment,
    programs: [Program; 2],
    balancer: Balancer,
    remote: Remote,
    content: Vec<u8>,
}

impl Pair {
    fn start(buckets: &'static Buckets, flags: &[&str]) -> Self {
        let team = Deployment::new(buckets);
        let programs = ["one", "other"].map(|name| team.start_with(name, flags));
        let address = |program: &Program| -> SocketAddr {
            let address = program.url.strip_prefix("http://").unwrap();
            address.parse().unwrap()
        };
        let addresses: Vec<_> = programs.iter().map(address).collect();
        let dir = team.data_dir("clients");
        fs::create_dir_all(dir.join("content")).unwrap();
        let balancer = Balancer::start(&dir, &addresses);
        let mut content = vec![0; SIZE];
        StdRng::seed_from_u64(seed()).fill_bytes(&mut content);
        Self {
            remote: team.client(&programs[0]).to(&balancer.url),
            team,
            programs,
            balancer,
            content,
        }
    }

    /// A file that clients save, and into which they restore.
    fn file(&self) -> PathBuf {
        self.team.data_dir("clients/content/file")
    }

    fn write(&self) {
        fs::write(self.file(), &self.content).unwrap();
    }

    /// Fails unless a client has restored the file.
    fn assert_restored(&self, client: &str) {
        let restored = fs::read(self.file()).unwrap();
        assert!(restored == self.content, "{client}: other bytes");
        fs::remove_file(self.file()).unwrap();
    }

    /// A program as a step of a job runs it.
    fn step(&self, program: &str, api: Api) -> Command {
        let mut step = Command::new(program);
        let url = format!("{}/", self.balancer.url);
        let dir = self.team.data_dir("clients");
        for name in API {
            step.env_remove(name);
        }
        match api {
            Api::V1 => step.env("ACTIONS_CACHE_URL", url),
            Api::V2 => step
                .env("ACTIONS_RESULTS_URL", url)
                .env("ACTIONS_CACHE_SERVICE_V2", "true"),
        };
        step.env("ACTIONS_RUNTIME_TOKEN", &self.remote.token)
            // In MB: so that there are several parts.
            .env("CACHE_UPLOAD_CHUNK_SIZE", "4")
            .env("GITHUB_WORKSPACE", &dir)
            .env("RUNNER_TEMP", &dir)
            .env("NO_PROXY", "*")
            .current_dir(dir)
            .kill_on_drop(true);
        step
    }

    fn node(&self, script: &str, api: Api) -> Command {
        let mut node = self.step("node", api);
        node.arg(format!("{}/e2e/npm/{script}", env!("CARGO_MANIFEST_DIR")));
        node
    }

    async fn actions_cache(&self, api: Api) {
        let call = async |command: &str, key: &str| {
            let mut node = self.node("cache.mjs", api);
            run(node.args([command, key, "content", "npm-"])).await
        };
        let key = format!("npm-{api:?}");
        self.write();
        call("save", &key).await;
        fs::remove_file(self.file()).unwrap();
        for wanted in [&*key, "npm-unknown"] {
            let said = call("restore", wanted).await;
            assert!(said.contains(&format!("restored: {key}")), "{said}");
            self.assert_restored("@actions/cache");
        }
    }

    async fn azure_sdk(&self) {
        let call = async |command: &str, url: &str| {
            let mut node = self.node("blob.mjs", Api::V2);
            run(node.arg(command).arg(self.file()).env("BLOB_URL", url)).await;
        };
        self.write();
        call("upload", &self.remote.upload_url("azure").await).await;
        let finalized = self.remote.finalize("azure", SIZE).await.unwrap();
        assert_eq!(finalized.json()["ok"], true, "{}", finalized.text());
        fs::remove_file(self.file()).unwrap();
        let url = self.remote.find("azure").await.unwrap().unwrap();
        call("download", &url).await;
        self.assert_restored("Azure's SDK");
    }

    async fn opendal(&self, api: Api) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/opendal-client");
        let call = async |command: &str| {
            let mut step = self.step(program, api);
            let key = format!("opendal-{api:?}");
            run(step.arg(command).arg(key).arg(self.file())).await;
        };
        self.write();
        call("save").await;
        fs::remove_file(self.file()).unwrap();
        call("read").await;
        self.assert_restored("OpenDAL");
    }

    /// Fails unless both replicas were asked, and had no trouble.
    fn end(mut self) {
        for (program, name) in self.programs.iter_mut().zip(["one", "other"]) {
            program.is_sound();
            let log = fs::read_to_string(self.team.data_dir(&format!("{name}.log"))).unwrap();
            assert!(log.contains("operation=\"lookup\""), "{name}: {log}");
        }
        self.programs.into_iter().for_each(Program::end);
    }
}

async fn run(command: &mut Command) -> String {
    let output = timeout(HANG, command.output()).await;
    let output = output.expect("the client ends").unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

async fn all_clients(buckets: &'static Buckets, flags: &[&str]) {
    let pair = Pair::start(buckets, flags);
    for api in [Api::V1, Api::V2] {
        pair.actions_cache(api).await;
        pair.opendal(api).await;
    }
    pair.azure_sdk().await;
    pair.end();
}

#[tokio::test]
async fn foreign_clients_on_s3() {
    all_clients(Buckets::s3(), &[]).await;
}

#[tokio::test]
async fn foreign_clients_at_s3() {
    all_clients(Buckets::s3(), &["--direct"]).await;
}

#[tokio::test]
async fn foreign_clients_on_azure() {
    all_clients(Buckets::azure(), &[]).await;
}

#[tokio::test]
async fn foreign_clients_at_azure() {
    all_clients(Buckets::azure(), &["--direct"]).await;
}
