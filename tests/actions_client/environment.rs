//! Proxies come from the environment, which a test cannot change for itself: each of these tests
//! runs one of the ignored ones in a process of its own.

use std::process::Stdio;

use buildkit_gha::actions::Api;
use tokio::process::Command;

use crate::fake::{Fake, client, quick, say};

const TARGET: &str = "TEST_TARGET";

/// Runs an ignored test of this file with an environment.
async fn run(name: &str, environment: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            &format!("environment::{name}"),
        ])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn lookup_at_the_target() {
    #[allow(
        clippy::disallowed_methods,
        reason = "how the parent tells this test its target"
    )]
    let target = std::env::var(TARGET).unwrap();
    let client = client(Api::V1(target.parse().unwrap()), quick());
    assert!(client.lookup("k", "v").await.unwrap().is_none());
}

#[tokio::test]
async fn a_proxy_is_used_for_all_but_loopback() {
    let proxy = Fake::start(|_, _| say(204, "")).await;
    let service = Fake::start(|_, _| say(204, "")).await;
    let through = |target| {
        let variables = [
            ("HTTP_PROXY", proxy.base.as_str().to_owned()),
            (TARGET, target),
        ];
        async move {
            let variables = variables
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            run("lookup_at_the_target", &variables).await;
        }
    };
    through("http://cache.invalid/".to_owned()).await;
    let [seen] = &proxy.seen()[..] else {
        panic!("the proxy is asked once")
    };
    assert_eq!(seen.header("host"), "cache.invalid");
    through(service.base.to_string()).await;
    assert_eq!((proxy.seen().len(), service.seen().len()), (1, 1));
}
