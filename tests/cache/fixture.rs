//! A service, a cache on top of it, and a build that writes and reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use buildkit_gha::{
    actions::{Api, Client, ClientConfig, Http, HttpConfig, Reserved, Target, Token},
    cache::{
        Cache, Config, Event, ExportJob, ImportJob, Outcome, Reporter,
        attributes::{Attributes, Mode, Verify},
        index_format::{self, CacheConfig},
        manifest::LocalCache,
    },
    content::{Commit, Error, Host, Ingest, IngestSpec, OpenedIngest},
    digest::Digest,
    lifecycle::Tasks,
    protocol::{
        key,
        scope::{Permission, Scope},
    },
    secret::Secret,
    service::{self, Service},
};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use url::Url;

use crate::lossy::Lossy;

/// No wait of a healthy test comes near it.
pub const SOON: Duration = Duration::from_secs(20);

pub const BRANCH: &str = "refs/heads/main";

const PULL_REQUEST: &str = "refs/pull/7/merge";

/// Which API the client speaks.
#[derive(Debug, Clone, Copy)]
pub enum ApiVersion {
    V1,
    V2,
}

pub struct Fixture {
    pub cache: Cache,
    pub tasks: Tasks,
    pub messages: Arc<Messages>,
    /// The way to the service: it can lose and hold up answers.
    pub proxy: Lossy,
    api_version: ApiVersion,
    settings: Config,
    token: Secret,
    /// A token for the same scope that may only read.
    pub reading: Secret,
    /// A token of a pull request, which reads that scope and writes its own.
    pub pull: Secret,
    /// A token for the first scope that may only write.
    pub writing: Secret,
    /// A token as the first one, which ends before an export has to.
    pub brief: Secret,
    http: Http,
    dir: TempDir,
    _serving: buildkit_gha::lifecycle::TaskGuard,
}

impl Fixture {
    pub async fn new(api_version: ApiVersion) -> Self {
        Self::with(api_version, |_| {}).await
    }

    pub async fn with(api_version: ApiVersion, adjust: impl FnOnce(&mut Config)) -> Self {
        Self::over(api_version, &HttpConfig::default(), adjust).await
    }

    pub async fn over(
        api_version: ApiVersion,
        http: &HttpConfig,
        adjust: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = TempDir::new().unwrap();
        let config = service::Config::new(dir.path().join("service"));
        let service = Service::open(config, service::system_clock())
            .await
            .unwrap();
        let mint = |scopes: &[Scope], time| {
            let token = service.mint_token(service::DEFAULT_REPOSITORY, scopes, time);
            token.unwrap()
        };
        let hour = Duration::from_hours(1);
        let write = Scope::new(BRANCH, Permission::READ_WRITE_DELETE);
        let read = Scope::new(BRANCH, Permission::READ);
        let pull = Scope::new(PULL_REQUEST, Permission::READ_WRITE);
        let token = mint(std::slice::from_ref(&write), hour);
        let reading = mint(std::slice::from_ref(&read), hour);
        let blind = Scope::new(BRANCH, Permission::WRITE);
        let writing = mint(&[blind], hour);
        let brief = mint(&[write], Duration::from_secs(10));
        let pull = mint(&[pull, read], hour);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let serving_tasks = Tasks::default();
        let serving = serving_tasks.clone().spawn_guarded("service", async move {
            service::serve(listener, service, &serving_tasks)
                .await
                .unwrap();
        });
        let http = Http::new(http).unwrap();
        let tasks = Tasks::default();
        let mut settings = Config {
            spool_wait: Duration::from_millis(1),
            // The tests do not depend on how full the disk of the machine is.
            spool_free: Some(0),
            ..Config::default()
        };
        adjust(&mut settings);
        Self {
            cache: Cache::new(
                dir.path().join("spool"),
                settings.clone(),
                http.clone(),
                tasks.clone(),
            )
            .unwrap(),
            tasks,
            messages: Arc::default(),
            proxy: Lossy::before(url).await,
            api_version,
            settings,
            token,
            reading,
            pull,
            writing,
            brief,
            http,
            dir,
            _serving: serving,
        }
    }

    /// Another process: it knows nothing of what this one has proven.
    pub fn restart(&mut self) {
        self.cache = Cache::new(
            self.dir.path().join("spool"),
            self.settings.clone(),
            self.http.clone(),
            self.tasks.clone(),
        )
        .unwrap();
    }

    fn api(&self) -> Api {
        match self.api_version {
            ApiVersion::V1 => Api::V1(self.proxy.url.clone()),
            ApiVersion::V2 => Api::V2(self.proxy.url.clone()),
        }
    }

    pub fn attributes(&self, scope: &str) -> Attributes {
        Attributes {
            scope: scope.into(),
            mode: Mode::Max,
            api: self.api(),
            token: self.token.clone(),
            repository: None,
            ghtoken: None,
            github_api_url: "http://127.0.0.1:9/".parse().unwrap(),
            timeout: SOON,
            import_verify: Verify::Probe,
            ignore_error: None,
            asynchronous: false,
            passthrough: BTreeMap::new(),
        }
    }

    /// As [`Fixture::spec`], with what the REST API needs.
    pub fn attributes_with_rest(&self, scope: &str) -> Attributes {
        Attributes {
            repository: Some(service::DEFAULT_REPOSITORY.into()),
            ghtoken: Some(self.token.clone()),
            github_api_url: self.proxy.url.clone(),
            ..self.attributes(scope)
        }
    }

    pub fn reporter(&self) -> Arc<dyn Reporter> {
        self.messages.clone()
    }

    pub fn export(&self, scope: &str) -> Arc<ExportJob> {
        self.cache
            .export(&self.attributes(scope), self.reporter())
            .unwrap()
    }

    pub fn export_as(&self, scope: &str, token: &Secret) -> Arc<ExportJob> {
        let spec = Attributes {
            token: token.clone(),
            ..self.attributes(scope)
        };
        self.cache.export(&spec, self.reporter()).unwrap()
    }

    pub async fn import(&self, scope: &str) -> Arc<ImportJob> {
        self.import_as(&self.attributes(scope)).await
    }

    pub async fn import_as(&self, spec: &Attributes) -> Arc<ImportJob> {
        let job = self.cache.import(spec, self.reporter()).unwrap();
        assert!(job.ready(Instant::now() + SOON).await);
        job
    }

    pub fn client(&self) -> Client {
        let target = Target {
            api: self.api(),
            token: Token::parse(self.token.clone()).unwrap(),
            rest: None,
        };
        Client::new(self.http.clone(), target, ClientConfig::default())
    }

    /// How many layers were left out of indexes by this cause.
    pub fn left_out(&self, cause: &str) -> usize {
        let metrics = self.settings.metrics.render();
        let name = format!("buildkit_gha_layers_left_out_total{{cause=\"{cause}\"}} ");
        let mut lines = metrics.lines();
        let count = lines.find_map(|line| line.strip_prefix(&name));
        count.expect("a sample").parse().expect("a number")
    }

    /// The newest index of a scope as it is stored, and its key.
    pub async fn index(&self, scope: &str) -> Option<(String, Bytes)> {
        let client = self.client();
        let key = index_key(scope);
        let entry = client
            .lookup(&key.prefix(), &key::version())
            .await
            .unwrap()?;
        let raw = client.read_all(&entry, 1 << 20).await.unwrap();
        Some((entry.key, raw))
    }

    /// Whether an entry with exactly this key can be found.
    pub async fn has(&self, key: &str) -> bool {
        let found = self.client().lookup(key, &key::version()).await.unwrap();
        found.is_some_and(|entry| entry.key == key)
    }

    /// Deletes the entry with this key.
    pub async fn delete(&self, key: &str) {
        let spec = self.attributes_with_rest("");
        let target = Target {
            api: self.api(),
            token: Token::parse(self.token.clone()).unwrap(),
            rest: spec.rest(),
        };
        let client = Client::new(self.http.clone(), target, ClientConfig::default());
        let rows = client.list(key).await.unwrap();
        let row = rows.iter().find(|row| row.key == key).unwrap();
        client.delete(row.id).await.unwrap();
    }

    /// Puts an entry there directly.
    pub async fn put(&self, key: &str, content: impl Into<Bytes>) {
        let client = self.client();
        let Reserved::Created(reservation) = client.reserve(key, &key::version()).await.unwrap()
        else {
            panic!("{key} exists")
        };
        client
            .upload_bytes(&reservation, content.into())
            .await
            .unwrap();
    }

    /// Changes one byte of this content as the service stores it: the file of the same size, in
    /// which parts may lie in another order.
    pub fn damage(&self, content: &[u8]) {
        let mut damaged = 0;
        visit(&self.dir.path().join("service"), &mut |path| {
            let mut wrong = std::fs::read(path).unwrap();
            if wrong.len() == content.len() {
                wrong[content.len() / 2] ^= 1;
                let mut permissions = std::fs::metadata(path).unwrap().permissions();
                #[allow(clippy::permissions_set_readonly_false, reason = "a test's own file")]
                permissions.set_readonly(false);
                std::fs::set_permissions(path, permissions).unwrap();
                std::fs::write(path, wrong).unwrap();
                damaged += 1;
            }
        });
        assert_eq!(damaged, 1, "the content is stored once");
    }

    /// Waits until the cache holds nothing and runs nothing.
    pub async fn is_at_rest(&self) {
        let rest = async {
            while self.tasks.count() > 0
                || self.cache.usage() != buildkit_gha::cache::Usage::default()
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, rest)
            .await
            .expect("all tasks and spool files end with the jobs");
    }
}

fn visit(dir: &Path, see: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, see);
        } else {
            see(&path);
        }
    }
}

pub fn index_key(scope: &str) -> key::IndexKey {
    key::IndexKey::new(scope, BRANCH, false)
}

/// Remembers all that jobs report.
#[derive(Default)]
pub struct Messages(Mutex<Vec<Event>>);

impl Reporter for Messages {
    fn report(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Messages {
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// The names of the rows that show a wait.
    pub fn waits(&self) -> BTreeSet<String> {
        let name = |event| match event {
            Event::Wait(wait) => Some(wait.text),
            _ => None,
        };
        self.events().into_iter().filter_map(name).collect()
    }

    /// All notes.
    pub fn notes(&self) -> Vec<String> {
        let text = |event| match event {
            Event::Note(text) => Some(text),
            _ => None,
        };
        self.events().into_iter().filter_map(text).collect()
    }

    /// All warnings, each as one text.
    pub fn warnings(&self) -> Vec<String> {
        let text = |event| match event {
            Event::Warning(w) => Some(format!("{}\n{}", w.short, w.detail.join("\n"))),
            _ => None,
        };
        self.events().into_iter().filter_map(text).collect()
    }
}

/// What a build exports: a chain of layers, and the two documents that describe it.
#[derive(Clone)]
pub struct Build {
    pub layers: Vec<Bytes>,
    pub index: CacheConfig,
    local: LocalCache,
}

/// Bytes that do not repeat and that `seed` decides.
pub fn layer(seed: u8, size: usize) -> Bytes {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

impl Build {
    /// Each layer stands upon the one before it, and each has a record.
    pub fn chain(layers: impl IntoIterator<Item = Bytes>) -> Self {
        Self::new(layers, |at| i64::try_from(at).unwrap() - 1)
    }

    /// Each layer stands alone, and each has a record.
    pub fn apart(layers: impl IntoIterator<Item = Bytes>) -> Self {
        Self::new(layers, |_| -1)
    }

    fn new(layers: impl IntoIterator<Item = Bytes>, parent: impl Fn(usize) -> i64) -> Self {
        let layers: Vec<Bytes> = layers.into_iter().collect();
        let described = layers.iter().enumerate().map(|(at, layer)| {
            serde_json::json!({
                "blob": Digest::sha256(layer),
                "parent": parent(at),
                "annotations": {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "diffID": Digest::sha256(layer),
                    "size": layer.len(),
                    "createdAt": "2026-01-02T03:04:05Z",
                },
            })
        });
        let described: Vec<_> = described.collect();
        let records: Vec<_> = (0..layers.len())
            .map(|at| {
                serde_json::json!({
                    "digest": Digest::sha256(format!("record {at}")),
                    "layers": [{"layer": at, "createdAt": "2026-01-02T03:04:05Z"}],
                })
            })
            .collect();
        let json = serde_json::json!({"layers": described, "records": records}).to_string();
        let index = index_format::parse(json.as_bytes()).unwrap();
        let local = LocalCache::from_index(&index).unwrap();
        Self {
            layers,
            index,
            local,
        }
    }

    pub fn digest(&self, at: usize) -> Digest {
        Digest::sha256(&self.layers[at])
    }

    pub async fn write_layers(&self, job: &ExportJob) {
        for layer in &self.layers {
            write(job, &layer_ref(layer), layer).await.unwrap();
        }
    }

    /// Config, then manifest, whose answer is that of the whole export.
    pub async fn write_documents(&self, job: &ExportJob) -> Result<(), Error> {
        for document in [&self.local.config, &self.local.manifest] {
            let reference = Digest::sha256(document).to_string();
            let written = timeout(SOON, write(job, &reference, document))
                .await
                .unwrap()?;
            assert!(written, "documents are always taken");
        }
        Ok(())
    }

    pub async fn export(&self, job: &ExportJob) -> Outcome {
        self.write_layers(job).await;
        self.write_documents(job).await.unwrap();
        job.outcome()
    }
}

pub fn layer_ref(layer: &[u8]) -> String {
    format!("layer-{}", Digest::sha256(layer))
}

/// A writer as BuildKit has it; `None` if the content is there already.
pub async fn open(
    job: &ExportJob,
    reference: &str,
    size: usize,
) -> Result<Option<Box<dyn Ingest>>, Error> {
    let digest = &reference[reference.find("sha256:").unwrap()..];
    let spec = IngestSpec {
        reference: reference.to_owned(),
        total: Some(size as u64),
        expected: Some(digest.parse().unwrap()),
    };
    Ok(match job.open(spec).await? {
        OpenedIngest::Writer(ingest) => Some(ingest),
        OpenedIngest::Exists(_) => None,
    })
}

/// Writes content as BuildKit does; false if it was there already.
pub async fn write(job: &ExportJob, reference: &str, content: &[u8]) -> Result<bool, Error> {
    let Some(mut ingest) = open(job, reference, content.len()).await? else {
        return Ok(false);
    };
    for piece in content.chunks(1 << 20) {
        ingest.write(Bytes::copy_from_slice(piece)).await?;
    }
    let commit = Commit {
        total: Some(content.len() as u64),
        ..Commit::default()
    };
    let digest = ingest.commit(commit).await?;
    assert_eq!(digest, Digest::sha256(content));
    Ok(true)
}
