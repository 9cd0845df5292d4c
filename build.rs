//! Compiles `proto/` with protox, so that nobody needs a protoc.

use std::error::Error;

const FILES: [&str; 3] = [
    "proto/content.proto",
    "proto/control.proto",
    "proto/actions_cache.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".containerd.services.content.v1.WriteContentRequest.data")
        .bytes(".containerd.services.content.v1.ReadContentResponse.data")
        .compile_fds(descriptors)?;
    Ok(())
}
