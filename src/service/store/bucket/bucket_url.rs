//! Where the bucket is, and how it is reached.

use std::{fmt, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, path::Path, signer::Signer,
};
use url::Url;

use super::{api::BucketApi, client::Client, signed_urls::SignedUrls};
use crate::service::store::{
    blob_store::DirectProtocol,
    error::{StoreError, StoreErrorKind, StoreKind},
    store_url_error::StoreUrlError,
};

/// The two faces of a provider.
type Provided = (Arc<dyn BucketApi>, Arc<dyn Signer>);

fn provided<P: BucketApi + Signer>(provider: P) -> Provided {
    let provider = Arc::new(provider);
    (provider.clone(), provider)
}

/// A host of the same network answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a provider may send nothing before the call is tried again.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call is tried again: BuildKit's own client waits a minute for an answer.
const RETRY_TIMEOUT: Duration = Duration::from_secs(45);

/// How often a call is tried again, at most: with the pauses below that fills the time.
const MAX_RETRIES: usize = 12;

/// Pauses between two tries: they grow from the first to the last of these.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// A builder of any provider: they have the same methods and no trait for them.
macro_rules! configured {
    ($builder:ty, $url:expr, $more:expr) => {
        $more
            .iter()
            .fold(<$builder>::from_env(), |builder, (name, value)| match name
                .to_ascii_lowercase()
                .parse()
            {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            })
            .with_url($url)
            .with_client_options(client_options())
            .with_retry(retries())
    };
}

/// A place in a bucket: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUrl {
    provider: Provider,
    /// With the bucket, without the prefix.
    bucket: Url,
    prefix: Path,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Provider {
    S3,
    Gcs,
    Azure,
}

impl BucketUrl {
    /// Reads what an operator has written.
    pub fn parse(text: &str) -> Result<Self, StoreUrlError> {
        let mut url = Url::parse(text).map_err(|_| StoreUrlError::Form)?;
        let provider = match url.scheme() {
            "s3" => Provider::S3,
            "gs" => Provider::Gcs,
            "az" => Provider::Azure,
            _ => return Err(StoreUrlError::Form),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(StoreUrlError::Form);
        }
        let named = !url.username().is_empty() || url.password().is_some();
        if named || url.port().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(StoreUrlError::Extra);
        }
        let prefix = url.path().trim_matches('/');
        let prefix = Path::from_url_path(prefix).map_err(|_| StoreUrlError::Prefix)?;
        url.set_path("");
        Ok(Self {
            provider,
            bucket: url,
            prefix,
        })
    }

    /// A client for it, whose keys are in the environment, where `more` variables are, too. Asks for nothing yet.
    pub(super) fn connect(&self, more: &[(&str, String)]) -> Result<Client, StoreError> {
        let (api, signer) = self.api(more).map_err(unusable)?;
        let protocol = match self.provider {
            Provider::S3 | Provider::Gcs => DirectProtocol::Http,
            Provider::Azure => DirectProtocol::Azure,
        };
        let client = Client::new(api, self.prefix.clone());
        Ok(client.with_signed_urls(SignedUrls::new(signer, protocol)))
    }

    fn api(&self, more: &[(&str, String)]) -> object_store::Result<Provided> {
        // Builders take the bucket out of a URL with a path.
        let url = format!("{}/", self.bucket.as_str().trim_end_matches('/'));
        Ok(match self.provider {
            Provider::S3 => provided(configured!(AmazonS3Builder, url, more).build()?),
            Provider::Gcs => provided(configured!(GoogleCloudStorageBuilder, url, more).build()?),
            Provider::Azure => provided(configured!(MicrosoftAzureBuilder, url, more).build()?),
        })
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bucket = self.bucket.as_str().trim_end_matches('/');
        match self.prefix.as_ref() {
            "" => f.write_str(bucket),
            prefix => write!(f, "{bucket}/{prefix}"),
        }
    }
}

/// A download takes as long as its client, so no whole call has a limit here; calls that move no body to a client
/// have one in [`Client`].
fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        // Only where the endpoint that the operator names begins with http://.
        .with_allow_http(true)
}

fn retries() -> RetryConfig {
    let [init_backoff, max_backoff] = PAUSES;
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff,
            max_backoff,
            base: 2.0,
        },
        max_retries: MAX_RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}

fn unusable(error: object_store::Error) -> StoreError {
    StoreError::with_source(StoreKind::Storage, StoreErrorKind::Unavailable, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_bucket_and_perhaps_a_prefix() {
        for text in ["s3://cache", "gs://cache/a/b", "az://cache/a"] {
            assert_eq!(BucketUrl::parse(text).unwrap().to_string(), text);
        }
        let url = BucketUrl::parse("s3://cache/a/").unwrap();
        assert_eq!(url.to_string(), "s3://cache/a");
    }

    #[test]
    fn what_is_no_place_says_why() {
        let why = |text: &str| BucketUrl::parse(text).unwrap_err();
        for text in [
            "cache",
            "/var/cache",
            "s3:///x",
            "http://host/bucket",
            "s3:",
        ] {
            assert_eq!(why(text), StoreUrlError::Form, "{text}");
        }
        for text in [
            "s3://key:secret@cache",
            "s3://cache:9000/x",
            "s3://cache?endpoint=x",
        ] {
            assert_eq!(why(text), StoreUrlError::Extra, "{text}");
        }
        assert_eq!(why("s3://cache/a//b"), StoreUrlError::Prefix);
    }
}
