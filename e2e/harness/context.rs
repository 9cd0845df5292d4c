//! Build contexts made of nothing but a static busybox: no registry is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Lab, SOON, command, run};

/// Where Debian's busybox-static is.
const BUSYBOX: &str = "/bin/busybox";

/// The first stage of a Dockerfile whose steps need a shell.
const SHELL: &str = r#"
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"#;

/// Three stages, no-op steps, and content that differs in every run of a step: equal bytes can
/// only come from the cache. Times are whole seconds, since layers keep no more than that.
const MULTI_STAGE: &str = "
RUN mkdir -p /out && echo NAME > /out/name
RUN true

FROM base AS left
RUN head -c 3000000 /dev/urandom > /out/left
RUN true
COPY message /out/message
RUN touch -d @1000000000 /out/* /out

FROM base AS right
RUN head -c 50000 /dev/urandom > /out/right && cat /proc/sys/kernel/random/uuid > /out/uuid
RUN touch -d @1000000000 /out/* /out

FROM scratch
COPY --from=left /out /left
COPY --from=right /out /right
";

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

    /// A context whose Dockerfile begins with a stage `base` that has a shell, and goes on with
    /// `rest` in that stage.
    pub fn with_shell(lab: &Lab, name: &str, rest: &str) -> Self {
        Self::new(lab, name, &format!("{SHELL}{rest}"))
    }

    /// The multi-stage context that most tests build. The name makes its steps differ from those
    /// of another one.
    pub fn multi_stage(lab: &Lab, name: &str) -> Self {
        let context = Self::with_shell(lab, name, &MULTI_STAGE.replace("NAME", name));
        context.write("message", "hello\n");
        context
    }

    /// Writes a file of the context.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.dir.join(name), content).expect("write a file of the context");
    }

    /// Copies a program of this machine and the libraries that it is linked to.
    pub fn program(&self, lab: &Arc<Lab>, name: &str) {
        let mut which = command(lab, "sh");
        which.args([
            "-c",
            &format!("f=$(command -v {name}) && echo $f && ldd $f"),
        ]);
        let listed = run(lab, "ldd", which, SOON).ok(name);
        let words = listed.split_whitespace();
        for file in words.filter(|word| word.starts_with('/') && !word.ends_with(':')) {
            let copy = self.dir.join("root").join(file.trim_start_matches('/'));
            fs::create_dir_all(copy.parent().expect("a file")).expect("create a directory");
            fs::copy(file, copy).expect("copy a file");
        }
    }

    /// The name of the directory.
    pub fn name(&self) -> &str {
        let name = self.dir.file_name().and_then(|name| name.to_str());
        name.expect("contexts are named in UTF-8")
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
