//! Object storage for tests: `MinIO`, Azurite, and `MinIO` as a stand-in for Google's, servers of their own that end with
//! the process that has started them.

#![allow(dead_code, reason = "not all who share this use all of it")]

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use futures_util::TryStreamExt as _;
use object_store::{
    ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path,
};

/// The account and key that everybody's Azurite has.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The user and password of the `MinIO` of the tests.
const S3_USER: &str = "tests";
const S3_PASSWORD: &str = "of-buildkit-gha";

/// A server with one bucket, `tests`.
pub struct Buckets {
    scheme: &'static str,
    url: String,
    places: AtomicU32,
    _child: Child,
    /// The server ends with it.
    _life: Option<ChildStdin>,
}

impl Buckets {
    /// S3, of all tests of this process.
    pub fn s3() -> &'static Self {
        static SHARED: OnceLock<Buckets> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("s3"))
    }

    /// Azure, of all tests of this process.
    pub fn azure() -> &'static Self {
        static SHARED: OnceLock<Buckets> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("az"))
    }

    /// A stand-in for Google's, of all tests of this process. It lets everybody in.
    pub fn gcs() -> &'static Self {
        static SHARED: OnceLock<Buckets> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("gs"))
    }

    fn start(scheme: &'static str) -> Self {
        // The script removes it: no drop runs for what is shared.
        let dir = tempfile::tempdir().unwrap().keep();
        let mut child = Command::new("bash")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/buckets/server.sh"
            ))
            .arg(scheme)
            .arg(&dir)
            .env("MINIO_ROOT_USER", S3_USER)
            .env("MINIO_ROOT_PASSWORD", S3_PASSWORD)
            .env("AZURE_ACCOUNT", AZURE_ACCOUNT)
            .env("AZURE_KEY", AZURE_KEY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let life = child.stdin.take();
        let mut url = String::new();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        answers.read_line(&mut url).unwrap();
        assert!(
            url.starts_with("http://"),
            "the {scheme} server did not start"
        );
        Self {
            scheme,
            url: url.trim().to_owned(),
            places: AtomicU32::new(0),
            _child: child,
            _life: life,
        }
    }

    /// A `--store` that nobody else has.
    pub fn new_place(&self) -> String {
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        format!("{}://tests/place/{place}", self.scheme)
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The names of the objects in a folder of a place.
    pub async fn names(&self, place: &str, folder: &str) -> BTreeSet<String> {
        let listed = self.objects(place, folder).await;
        let name = |object: ObjectMeta| object.location.filename().unwrap().to_owned();
        listed.into_iter().map(name).collect()
    }

    /// Removes the objects in a folder of a place.
    pub async fn remove(&self, place: &str, folder: &str) {
        let client = self.client(place);
        for object in self.objects(place, folder).await {
            client.delete(&object.location).await.unwrap();
        }
    }

    async fn objects(&self, place: &str, folder: &str) -> Vec<ObjectMeta> {
        let (_, path) = place.split_once("tests/").unwrap();
        let path = Path::from(format!("{path}/{folder}"));
        let listed = self.client(place).list(Some(&path));
        listed.try_collect().await.unwrap()
    }

    fn client(&self, place: &str) -> Arc<dyn ObjectStore> {
        macro_rules! client {
            ($builder:ty) => {{
                let builder = <$builder>::new().with_url(place).with_allow_http(true);
                let variables = self.variables().into_iter();
                let configured = variables.fold(builder, |builder, (name, value)| {
                    builder.with_config(name.to_ascii_lowercase().parse().unwrap(), value)
                });
                Arc::new(configured.build().unwrap())
            }};
        }
        match self.scheme {
            "s3" => client!(AmazonS3Builder),
            "gs" => Arc::new(
                GoogleCloudStorageBuilder::new()
                    .with_url(place)
                    .with_service_account_key(self.google_key())
                    .with_client_options(ClientOptions::new().with_allow_http(true))
                    .build()
                    .unwrap(),
            ),
            _ => client!(MicrosoftAzureBuilder),
        }
    }

    /// A key of Google's that opens nothing and says where the stand-in is.
    fn google_key(&self) -> String {
        format!(
            r#"{{"gcs_base_url":"{}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#,
            self.url
        )
    }

    /// The variables by which clients reach it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let variables: &[(&str, &str)] = match self.scheme {
            "gs" => return vec![("GOOGLE_SERVICE_ACCOUNT_KEY", self.google_key())],
            "s3" => &[
                ("AWS_ENDPOINT_URL", ""),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", S3_USER),
                ("AWS_SECRET_ACCESS_KEY", S3_PASSWORD),
            ],
            _ => &[
                ("AZURE_STORAGE_ENDPOINT", "/devstoreaccount1"),
                ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT),
                ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY),
            ],
        };
        let value = |name: &str, value: &str| {
            let base = if name.contains("ENDPOINT") {
                &*self.url
            } else {
                ""
            };
            format!("{base}{value}")
        };
        let pair = |(name, text): &(&'static str, &str)| (*name, value(name, text));
        variables.iter().map(pair).collect()
    }
}
