//! The content stores of exports and imports, asked by containerd's own client (Go).

use std::{path::Path, process::Stdio, sync::Arc};

use buildkit_gha::{
    cache::ContentImport,
    content::{self, Host},
    lifecycle::TaskGuard,
};
use tokio::{net::UnixListener, process::Command};
use tokio_stream::wrappers::UnixListenerStream;

use crate::fixture::{ApiVersion, Build, Fixture, layer};

/// Serves a content store on a socket in `dir`, and tells its address.
fn serve<H: Host>(fixture: &Fixture, dir: &Path, host: Arc<H>) -> (String, TaskGuard) {
    let path = dir.join("content.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let router = tonic::transport::Server::builder().add_service(content::service(host));
    let serving = fixture.tasks.spawn_guarded("content", async move {
        let incoming = UnixListenerStream::new(listener);
        router.serve_with_incoming(incoming).await.unwrap();
    });
    (format!("unix://{}", path.display()), serving)
}

/// Runs the Go tests of this name.
async fn conform(name: &str, variables: &[(&str, &str)]) {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/conformance");
    let output = Command::new("go")
        .args([
            "test",
            "-count=1",
            "-v",
            "-run",
            &format!("^{name}$"),
            "./hosts",
        ])
        .current_dir(hosts)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("go is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains(&format!("--- PASS: {name} ")),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
async fn an_export_is_a_content_store_to_containerds_client() {
    for api in [ApiVersion::V1, ApiVersion::V2] {
        let fixture = Fixture::new(api).await;
        let dir = tempfile::tempdir().unwrap();
        let (address, _serving) = serve(&fixture, dir.path(), fixture.export("a"));
        conform("TestExport", &[("EXPORT_ADDRESS", &address)]).await;
        assert_eq!(fixture.messages.warnings(), [""; 0]);
    }
}

#[tokio::test]
async fn an_import_is_a_content_store_to_containerds_client() {
    let fixture = Fixture::new(ApiVersion::V2).await;
    let build = Build::chain([layer(1, 100_003), layer(2, 3 << 20)]);
    build.export(&fixture.export("a")).await;
    let import = fixture.import("a").await;
    let host = ContentImport::new(&import).await;
    let manifests = host.manifests().iter().map(ToString::to_string);
    let layers = build
        .index
        .layers
        .iter()
        .map(|layer| layer.blob.to_string());
    let digests: Vec<_> = manifests.chain(layers).collect();
    let dir = tempfile::tempdir().unwrap();
    let (address, _serving) = serve(&fixture, dir.path(), Arc::new(host));
    let variables = [
        ("IMPORT_ADDRESS", address.as_str()),
        ("IMPORT_DIGESTS", &digests.join("\n")),
    ];
    conform("TestImport", &variables).await;
}
