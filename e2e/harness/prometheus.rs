//! Prometheus, and `promtool`, which asks it and checks what it is to read.

use std::{fs, net::SocketAddr, process::Stdio, sync::Arc};

use super::{
    Lab, SOON,
    process::{Process, command, run},
};

/// A running Prometheus that scrapes its targets every second.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it with jobs by name, each with one target.
    pub fn start(lab: &Arc<Lab>, jobs: &[(&str, SocketAddr)]) -> Self {
        let mut config = "global: { scrape_interval: 1s }\nscrape_configs:\n".to_owned();
        for (job, target) in jobs {
            config.extend([
                format!("  - job_name: {job}\n"),
                format!("    static_configs: [{{ targets: ['{target}'] }}]\n"),
            ]);
        }
        let file = lab.path("prometheus.yaml");
        fs::write(&file, config).expect("write a configuration");
        let mut prometheus = command(lab, "prometheus");
        prometheus.arg(format!("--config.file={}", file.display()));
        let data = lab.path("prometheus");
        prometheus.arg(format!("--storage.tsdb.path={}", data.display()));
        prometheus.arg("--web.listen-address=127.0.0.1:0");
        let mut process = Process::start(lab, "prometheus", prometheus);
        let address = process.until("it says where it listens", SOON, |log| {
            let mut lines = log.lines();
            let line = lines.find(|line| line.contains("msg=\"Listening on\""))?;
            let (_, address) = line.split_once("address=")?;
            address.split_whitespace().next()?.parse().ok()
        });
        Self { process, address }
    }

    /// What an expression comes to now; an error in Prometheus' words where it cannot be evaluated.
    pub fn query(&self, expression: &str) -> Result<Vec<serde_json::Value>, String> {
        query(self.process.lab(), self.address, expression)
    }

    /// The names of all metrics that were scraped.
    pub fn names(&self) -> Vec<String> {
        let all = self.query(r#"group by (__name__) ({__name__=~".+"})"#);
        let all = all.expect("Prometheus answers");
        let name =
            |series: serde_json::Value| series["metric"]["__name__"].as_str().map(str::to_owned);
        all.into_iter().filter_map(name).collect()
    }

    /// Waits until an expression has a value.
    pub fn until_any(&mut self, expression: &str) {
        let (lab, address) = (Arc::clone(self.process.lab()), self.address);
        let what = format!("{expression} has a value");
        self.process.until(&what, SOON, |_| {
            let values = query(&lab, address, expression).ok()?;
            (!values.is_empty()).then_some(())
        });
    }
}

fn query(
    lab: &Arc<Lab>,
    address: SocketAddr,
    expression: &str,
) -> Result<Vec<serde_json::Value>, String> {
    let mut promtool = command(lab, "promtool");
    promtool.args(["query", "--format=json", "instant"]);
    promtool.arg(format!("http://{address}")).arg(expression);
    let said = run(lab, "promtool", promtool, SOON);
    if !said.status.success() {
        return Err(said.stderr.trim().to_owned());
    }
    serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {}", said.stdout))
}

/// What `promtool check metrics` says of a text of metrics; empty where all is well.
pub fn check_metrics(lab: &Lab, text: &str) -> String {
    let file = lab.path("metrics.txt");
    fs::write(&file, text).expect("write metrics");
    let mut promtool = command(lab, "promtool");
    promtool.args(["check", "metrics"]);
    promtool.stdin(Stdio::from(fs::File::open(file).expect("open metrics")));
    let output = promtool.output().expect("promtool is installed");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    match (output.status.success(), said.is_empty()) {
        (true, _) | (_, false) => said,
        (false, true) => format!("promtool: {}", output.status),
    }
}
