//! Build contexts made of nothing but a static busybox: no registry is needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Lab;

/// Where Debian's busybox-static is.
const BUSYBOX: &str = "/bin/busybox";

/// Three stages, no-op steps, and content that differs in every run of a step: equal bytes can
/// only come from the cache.
const MULTI_STAGE: &str = r#"
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /out
RUN true

FROM base AS left
RUN head -c 3000000 /dev/urandom > /out/left
RUN true
COPY message /out/message

FROM base AS right
RUN head -c 50000 /dev/urandom > /out/right && cat /proc/sys/kernel/random/uuid > /out/uuid

FROM scratch
COPY --from=left /out /left
COPY --from=right /out /right
"#;

/// A directory to build from.
pub struct Context {
    dir: PathBuf,
}

impl Context {
    /// A context with this Dockerfile.
    pub fn new(lab: &Lab, name: &str, dockerfile: &str) -> Self {
        let dir = lab.path(name);
        fs::create_dir(&dir).expect("create a context");
        fs::copy(BUSYBOX, dir.join("busybox")).expect("busybox-static is installed");
        let context = Self { dir };
        context.write("Dockerfile", dockerfile);
        context
    }

    /// The multi-stage context that most tests build.
    pub fn multi_stage(lab: &Lab) -> Self {
        let context = Self::new(lab, "context", MULTI_STAGE);
        context.write("message", "hello\n");
        context
    }

    /// Writes a file of the context.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), content).expect("write a file of the context");
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
