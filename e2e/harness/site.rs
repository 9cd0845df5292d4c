//! What nearly every test needs: a directory, an Actions cache with a token, something to build.

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use super::{
    Api, Build, Builder, Context, Lab, SOON, Service, command, lab::mount_tmpfs, run, service,
};

/// The scope that the token of a site may write.
const MAIN: &str = "refs/heads/main=rwd";

/// A directory, a service in it and a context.
pub struct Site {
    /// The Actions cache.
    pub service: Service,
    /// A token that may read and write one scope.
    pub token: String,
    /// Several stages with random content.
    pub context: Context,
    /// The directory of all this.
    pub lab: Arc<Lab>,
}

impl Site {
    /// Starts the service and makes the rest.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// As [`Site::new`], with more settings of the service.
    pub fn with(edit: impl FnOnce(&mut Command)) -> Self {
        Self::in_lab(Lab::new(), edit)
    }

    /// As [`Site::new`], with an Actions cache that has this much room.
    pub fn with_disk(size: &str) -> Self {
        let lab = Lab::new();
        let dir = service::data_dir(&lab);
        fs::create_dir(&dir).expect("create a directory");
        mount_tmpfs(&dir, size);
        Self::in_lab(lab, |_| ())
    }

    /// As [`Site::with`], in a directory that has something in it.
    pub fn in_lab(lab: Arc<Lab>, edit: impl FnOnce(&mut Command)) -> Self {
        let service = Service::start_with(&lab, edit);
        let token = service.token(&[MAIN]);
        let context = Context::multi_stage(&lab, "context");
        Self {
            service,
            token,
            context,
            lab,
        }
    }

    /// A cache entry as a user writes it; `more` are attributes with a leading comma, or nothing.
    pub fn gha(&self, api: Api, more: &str) -> String {
        let attributes = api.attributes(&self.service.url());
        let token = &self.token;
        format!("type=gha,{attributes},token={token}{more}")
    }

    /// Where a result goes.
    pub fn tar(&self, name: &str) -> PathBuf {
        self.lab.path(format!("{name}.tar"))
    }

    /// The main job: export, throw the cache away, import. Every step must be cached; the results
    /// are "exported" and "imported".
    pub fn main_job(&self, builder: &Builder, build: &Build) {
        let export = build.clone().to(self.gha(Api::V2, ",mode=max"));
        builder
            .build(&export.tar(self.tar("exported")))
            .ok()
            .no_warnings();
        builder.prune();
        let import = build.clone().from(self.gha(Api::V2, ""));
        builder
            .build(&import.tar(self.tar("imported")))
            .ok()
            .no_warnings()
            .all_cached();
    }

    /// Fails unless both files have the same bytes.
    pub fn same(&self, one: &str, other: &str) {
        let read = |name| fs::read(self.tar(name)).expect("read a result");
        let (one_bytes, other_bytes) = (read(one), read(other));
        assert!(!one_bytes.is_empty(), "{one} is empty");
        assert!(one_bytes == other_bytes, "{one} and {other} differ");
    }

    /// Fails unless both have the same files: a result of several platforms has a folder for each,
    /// which BuildKit makes anew every time.
    pub fn same_files(&self, one: &str, other: &str) {
        let mut diff = command(&self.lab, "diff");
        diff.args(["-r", "--no-dereference"]);
        for name in [one, other] {
            let folder = self.lab.path(format!("{name}.files"));
            fs::create_dir(&folder).expect("create a directory");
            let mut extract = command(&self.lab, "tar");
            extract
                .arg("-xf")
                .arg(self.tar(name))
                .arg("-C")
                .arg(&folder);
            run(&self.lab, "tar", extract, SOON).ok("tar");
            diff.arg(folder);
        }
        run(&self.lab, "diff", diff, SOON).ok("diff");
    }

    /// The keys of all entries that begin with this.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.service.keys(&self.token, prefix)
    }
}
