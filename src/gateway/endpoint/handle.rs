//! Handles: how buildkitd reaches one import or one relayed export.
//!
//! A handle is a path that cannot be guessed, with a token that cannot be guessed either. Stock
//! sends no `Authorization` when it downloads, so every object behind a handle has an unguessable
//! URL of its own. What is looked up is a hash of the secret, never the secret: the time that a
//! look-up takes tells nothing about it. Tokens are compared as hashes, in constant time, also
//! where there is no handle to compare with.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use rand::Rng as _;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Object};
use crate::{digest::Digest, secret::Secret};

/// How long a handle serves on when its build has ended. buildkitd takes a while to unwind a build whose client is gone, a second or more on a
/// busy machine; a build that begins meanwhile may join its steps, which read through its handle.
pub(super) const RETIRE_GRACE: Duration = Duration::from_secs(3);

/// Random bytes in a handle and in an object's name: 128 bits cannot be guessed.
const SECRET_BYTES: usize = 16;

/// As long as the output of the hash that uses it.
const NAME_KEY_BYTES: usize = 32;

/// What a caller's token is compared with where the handle does not exist: no text has this hash.
const NO_TOKEN: [u8; 32] = [0; 32];

/// One backend, as buildkitd may call it.
pub(super) struct Handle {
    pub backend: Arc<dyn Backend>,
    /// Cancelled when the handle is closed: every download through it ends then.
    pub closed: CancellationToken,
    token: Digest,
    expires: Timestamp,
    name_key: hmac::Key,
    objects: Mutex<HashMap<Digest, PublishedObject>>,
    /// When its build ended.
    retired: OnceLock<Instant>,
}

/// An object that a lookup has answered.
struct PublishedObject {
    object: Arc<dyn Object>,
    /// When its last byte was sent. buildkitd has the content then and does not ask again.
    served: Option<Instant>,
}

impl Handle {
    /// True if its build has ended so long ago that lookups find nothing any more: what is left to do
    /// is to serve what earlier lookups have found.
    pub fn is_past_grace(&self) -> bool {
        let retired = self.retired.get();
        retired.is_some_and(|retired| retired.elapsed() >= RETIRE_GRACE)
    }

    /// Gives the object of `key` a name that cannot be guessed. One key has one name, however
    /// often it is looked up: a handle holds no more objects than its cache has entries.
    pub fn publish(&self, key: &str, object: Arc<dyn Object>) -> String {
        let tag = hmac::sign(&self.name_key, key.as_bytes());
        let name = hex::encode(&tag.as_ref()[..SECRET_BYTES]);
        let served = None;
        let published = PublishedObject { object, served };
        self.objects().insert(Digest::sha256(&name), published);
        name
    }

    /// The object of that name. When the build is over, what was served is not served again.
    pub fn object(&self, name: &str) -> Option<Arc<dyn Object>> {
        let over = self.is_past_grace();
        let objects = self.objects();
        let published = objects.get(&Digest::sha256(name))?;
        (!over || published.is_wanted()).then(|| Arc::clone(&published.object))
    }

    /// Says that the last byte of an object was sent.
    pub fn served(&self, name: &str) {
        if let Some(published) = self.objects().get_mut(&Digest::sha256(name)) {
            published.served = Some(Instant::now());
        }
    }

    fn drop_served(&self) {
        self.objects().retain(|_, published| published.is_wanted());
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Digest, PublishedObject>> {
        self.objects.lock()
    }
}

impl PublishedObject {
    /// A connection that broke at the last byte is made again at once.
    fn is_wanted(&self) -> bool {
        self.served
            .is_none_or(|served| served.elapsed() < RETIRE_GRACE)
    }
}

/// All handles of this gateway.
///
/// A step that two builds share keeps the first build's provider, so the handle of an import outlives
/// its build (ADR 42): it is retired when the build ends and closed a little after the last build, or
/// when its real token has expired and nothing behind it could be reached any more (seen on BuildKit
/// v0.32.2). Meanwhile it serves what lookups have found and builds have not pulled yet. Nobody shares an export: its
/// handle closes with its build.
#[derive(Default)]
pub(crate) struct Handles {
    by_name: Mutex<HashMap<Digest, Arc<Handle>>>,
    used: AtomicBool,
}

impl Handles {
    /// Opens a handle; the answer is its name in the URL.
    pub fn open(&self, backend: Arc<dyn Backend>, token: &Secret, expires: Timestamp) -> String {
        let name = random_name();
        let handle = Arc::new(Handle {
            backend,
            closed: CancellationToken::new(),
            token: Digest::sha256(token.expose()),
            expires,
            name_key: hmac::Key::new(hmac::HMAC_SHA256, &random::<NAME_KEY_BYTES>()),
            objects: Mutex::default(),
            retired: OnceLock::new(),
        });
        self.lock().insert(Digest::sha256(&name), handle);
        name
    }

    /// The handle of that name, if `bearer` is its token. A handle that does not exist takes the
    /// same comparison as one that does.
    pub fn authenticate(&self, name: &str, bearer: &str) -> Option<Arc<Handle>> {
        let handle = self.get(name);
        let token = handle
            .as_ref()
            .map_or(&NO_TOKEN, |handle| handle.token.as_bytes());
        let admitted: bool = Digest::sha256(bearer).as_bytes().ct_eq(token).into();
        handle.filter(|_| admitted)
    }

    /// The handle of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Handle>> {
        let handle = self.lock().get(&Digest::sha256(name)).map(Arc::clone)?;
        self.used.store(true, Ordering::Relaxed);
        Some(handle)
    }

    /// True once a handle has been used.
    pub fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Says that the build behind the handle has ended.
    pub fn retire(&self, name: &str) {
        let mut slots = self.lock();
        let name = Digest::sha256(name);
        let Some(handle) = slots.get(&name).map(Arc::clone) else {
            return;
        };
        if !handle.backend.is_shared() {
            slots.remove(&name);
            handle.closed.cancel();
        }
        // Outside of the lock: memory and files go here.
        drop(slots);
        handle.retired.get_or_init(Instant::now);
        handle.backend.retire();
    }

    /// Closes retired handles: if the daemon is `idle`, those whose build ended a while ago, see
    /// [`RETIRE_GRACE`]; else those that have expired. The others let go of what is not asked for again.
    pub fn sweep(&self, idle: bool, now: Timestamp) {
        self.lock().retain(|_, handle| {
            if handle.retired.get().is_none() {
                return true;
            }
            let over = handle.is_past_grace();
            let close = (idle && over) || handle.expires <= now;
            if close {
                handle.closed.cancel();
            } else if over {
                handle.drop_served();
            }
            !close
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Handle>>> {
        self.by_name.lock()
    }
}

/// A name of 32 hex digits.
fn random_name() -> String {
    hex::encode(random::<SECRET_BYTES>())
}

/// Bytes from the thread's cryptographic generator.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
