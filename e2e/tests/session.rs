//! What travels through a client's session: contexts of every shape, secrets, an ssh agent.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::harness::{Build, Builder, Context, Daemon, Lab, Process, SOON, command, run};

/// Larger than every window and buffer on the way.
const LARGE: u64 = 512 << 20;

/// More small frames than h2 tolerates unless it is told to.
const FILES: usize = 100_000;

/// Exclude patterns travel as metadata; these make more of it than most servers accept.
const PATTERNS: usize = 3_000;

const LARGE_FILE: &str = "
COPY large /copied
RUN wc -c < /copied > /size
FROM scratch
COPY --from=base /copied /size /
";

const MANY_FILES: &str = "
RUN --mount=type=bind,source=many,target=/many \\
    find /many -type f | wc -l > /count && find /many -type f -exec cat {} + | wc -c >> /count
FROM scratch
COPY --from=base /count /
";

const IGNORED: &str = "
COPY . /all
RUN ls /all/files > /kept
FROM scratch
COPY --from=base /kept /
";

const PRIVATE: &str = "
COPY root /
RUN --mount=type=secret,id=word cp /run/secrets/word /word
RUN --mount=type=ssh ssh-add -l > /keys
FROM scratch
COPY --from=base /word /keys /
";

#[test]
fn a_large_file_goes_in_and_out() {
    let lab = Lab::new();
    let tar = build(&lab, "large", LARGE_FILE, |context| {
        let file = fs::File::create(context.dir().join("large")).expect("create a file");
        file.set_len(LARGE).expect("a sparse file");
    });
    let out = fs::metadata(&tar).expect("the result").len();
    assert!(out > LARGE, "the file came back whole: {out}");
    assert_eq!(extract(&lab, &tar, "size").trim(), LARGE.to_string());
}

#[test]
fn many_small_files() {
    let lab = Lab::in_memory("4g");
    let tar = build(&lab, "many", MANY_FILES, |context| {
        for n in 0..FILES {
            let dir = context.dir().join(format!("many/{}", n / 1000));
            if n % 1000 == 0 {
                fs::create_dir_all(&dir).expect("create a directory");
            }
            fs::write(dir.join(format!("{n}")), "x").expect("write a file");
        }
    });
    assert_eq!(extract(&lab, &tar, "count"), format!("{FILES}\n{FILES}\n"));
}

#[test]
fn a_dockerignore_of_many_lines() {
    let lab = Lab::new();
    let tar = build(&lab, "ignore", IGNORED, |context| {
        let lines = (0..PATTERNS).map(|n| format!("files/ignored-{n:04}-{}\n", "x".repeat(40)));
        context.write(".dockerignore", lines.collect::<String>());
        fs::create_dir(context.dir().join("files")).expect("create a directory");
        for name in ["ignored-0000-", "ignored-2999-"] {
            context.write(&format!("files/{name}{}", "x".repeat(40)), "ignored");
        }
        context.write("files/kept", "kept");
    });
    assert_eq!(extract(&lab, &tar, "kept"), "kept\n");
}

#[test]
fn secrets_and_ssh() {
    let lab = Lab::new();
    let socket = lab.path("agent.sock");
    let mut agent = command(&lab, "ssh-agent");
    agent.arg("-D").arg("-a").arg(&socket);
    let mut agent = Process::start(&lab, "ssh-agent", agent);
    agent.until("the agent listens", SOON, |_| socket.exists().then_some(()));
    let key = lab.path("key");
    let mut keygen = command(&lab, "ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "a test key", "-f"])
        .arg(&key);
    run(&lab, "ssh-keygen", keygen, SOON).ok("ssh-keygen");
    let mut add = command(&lab, "ssh-add");
    add.env("SSH_AUTH_SOCK", &socket).arg("-q").arg(&key);
    run(&lab, "ssh-add", add, SOON).ok("ssh-add");

    let context = context(&lab, "private", PRIVATE);
    context.program(&lab, "ssh-add");
    fs::write(lab.path("word"), "swordfish").expect("write the secret");
    let secret = format!("--secret=id=word,src={}", lab.path("word").display());
    let ssh = format!("--ssh=default={}", socket.display());
    let tar = lab.path("private.tar");
    let build = Build::new(&context).arg(secret).arg(ssh).tar(tar.clone());
    let daemon = Daemon::gateway(&lab, "gateway");
    Builder::remote(&daemon, "private").build(&build).ok();
    assert_eq!(extract(&lab, &tar, "word"), "swordfish");
    assert!(extract(&lab, &tar, "keys").contains("a test key"));
}

/// Builds a context through the gateway; the result is a tar file.
fn build(lab: &Arc<Lab>, name: &str, last: &str, fill: impl FnOnce(&Context)) -> PathBuf {
    let context = context(lab, name, last);
    fill(&context);
    let tar = lab.path("result.tar");
    let daemon = Daemon::gateway(lab, "gateway");
    let builder = Builder::remote(&daemon, name);
    builder.build(&Build::new(&context).tar(tar.clone())).ok();
    tar
}

fn context(lab: &Lab, name: &str, last: &str) -> Context {
    Context::with_shell(lab, name, last)
}

fn extract(lab: &Arc<Lab>, tar: &Path, name: &str) -> String {
    let mut extract = command(lab, "tar");
    extract.arg("-xOf").arg(tar).arg(name);
    run(lab, "tar", extract, SOON).ok("tar")
}
