//! A daemon, the gateway before it, and what is built on them.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use crate::{
    harness::{Builder, Context, Daemon, Lab, Service},
    sink::Sink,
};

/// The large file, in MiB.
const LARGE: usize = 512;

/// How many small files there are.
const FILES: usize = 50_000;

/// Files in one folder.
const FOLDER: usize = 1_000;

/// The size of a small file.
const SMALL: usize = 1_000;

const MANY: &str = "RUN --mount=type=bind,source=many,target=/many true\n";

/// Everything that outlives a row.
pub struct Fixture {
    pub lab: Arc<Lab>,
    /// The daemon without the gateway.
    pub direct: Daemon,
    /// The same daemon through it.
    pub gateway: Daemon,
    /// One file of 512 MiB.
    pub large: Context,
    /// 50,000 files, which a step sees and does not copy.
    pub many: Context,
    /// An Actions cache behind which there is nothing.
    pub sink: Sink,
    /// A token for it.
    pub token: String,
}

impl Fixture {
    pub fn new() -> Self {
        let lab = Lab::new();
        let direct = Daemon::stock(&lab, "direct");
        let gateway = Daemon::in_front_of(&direct, "gateway", |_| ());
        let large = Context::new(&lab, "large", "FROM scratch\nCOPY large /large\n");
        fill(&large.dir().join("large"));
        let many = Context::with_shell(&lab, "many", MANY);
        for file in files(&many) {
            fs::create_dir_all(file.parent().expect("a folder")).expect("create a folder");
            fs::write(file, [b'.'; SMALL]).expect("write a file");
        }
        Self {
            direct,
            gateway,
            large,
            many,
            sink: Sink::start(),
            token: Service::start(&lab).token(&["refs/heads/main=rw"]),
            lab,
        }
    }

    /// Directly and through the gateway.
    pub fn builders(&self) -> [Builder; 2] {
        [&self.direct, &self.gateway].map(Builder::buildctl)
    }

    /// Makes the large file one that is sent anew.
    pub fn touch_large(&self) {
        touch(&self.large.dir().join("large"));
    }

    /// Makes all small files such that are sent anew.
    pub fn touch_many(&self) {
        files(&self.many).for_each(|file| touch(&file));
    }
}

/// Content that nothing makes smaller.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("create a file");
    let mut mib = vec![0; 1 << 20];
    for _ in 0..LARGE {
        rand::fill(&mut mib[..]);
        file.write_all(&mib).expect("write a file");
    }
}

fn files(context: &Context) -> impl Iterator<Item = std::path::PathBuf> {
    let many = context.dir().join("many");
    (0..FILES).map(move |number| many.join(format!("{}/{number}", number / FOLDER)))
}

fn touch(path: &Path) {
    let file = File::options().append(true).open(path);
    let touched = file.and_then(|file| file.set_modified(SystemTime::now()));
    touched.expect("set a time");
}
