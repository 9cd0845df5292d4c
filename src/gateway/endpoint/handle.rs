//! Handles: the doors through which buildkitd reaches one import or one relayed export.
//!
//! A handle is a path that cannot be guessed, with a token that cannot be guessed either. Stock
//! sends no `Authorization` when it downloads, so every object behind a handle has an unguessable
//! URL of its own. What is looked up is a hash of the secret, never the secret: the time that a
//! look-up takes tells nothing about it. Tokens are compared as hashes, in constant time, also
//! where there is no handle to compare with.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_lc_rs::hmac;
use jiff::Timestamp;
use rand::Rng as _;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    backend::{Backend, Object},
    linger::LINGER,
};
use crate::{digest::Digest, secret::Secret};

/// Random bytes in a handle and in an object's name: 128 bits cannot be guessed.
const SECRET_BYTES: usize = 16;

/// As long as the output of the hash that uses it.
const NAME_KEY_BYTES: usize = 32;

/// What a caller's token is compared with where the handle does not exist: no text has this hash.
const NO_TOKEN: [u8; 32] = [0; 32];

/// A door for buildkitd to one backend.
pub struct Handle {
    /// What answers behind it.
    pub backend: Arc<dyn Backend>,
    /// Cancelled when the handle is closed: every download through it ends then.
    pub closed: CancellationToken,
    token: Digest,
    expires: Timestamp,
    names: hmac::Key,
    objects: Mutex<HashMap<Digest, Arc<dyn Object>>>,
}

impl Handle {
    /// Gives the object of `key` a name that cannot be guessed. One key has one name, however
    /// often it is looked up: a handle holds no more objects than its cache has entries.
    pub fn publish(&self, key: &str, object: Arc<dyn Object>) -> String {
        let tag = hmac::sign(&self.names, key.as_bytes());
        let name = hex::encode(&tag.as_ref()[..SECRET_BYTES]);
        self.objects().insert(Digest::of(&name), object);
        name
    }

    /// The object of that name.
    pub fn object(&self, name: &str) -> Option<Arc<dyn Object>> {
        self.objects().get(&Digest::of(name)).cloned()
    }

    fn objects(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<dyn Object>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All handles of this gateway.
///
/// A step that two builds share keeps the first build's provider, so a handle outlives its build:
/// it is retired when the build ends and closed a little after the last build, or when its real
/// token has expired and nothing behind it could be reached any more (seen on BuildKit v0.32.2).
#[derive(Default)]
pub struct Handles {
    slots: Mutex<HashMap<Digest, Slot>>,
    used: AtomicBool,
}

struct Slot {
    handle: Arc<Handle>,
    /// When its build ended.
    retired: Option<Instant>,
}

impl Handles {
    /// Opens a handle; the answer is its name in the URL.
    pub fn open(&self, backend: Arc<dyn Backend>, token: &Secret, expires: Timestamp) -> String {
        let name = random_name();
        let handle = Arc::new(Handle {
            backend,
            closed: CancellationToken::new(),
            token: Digest::of(token.expose()),
            expires,
            names: hmac::Key::new(hmac::HMAC_SHA256, &random::<NAME_KEY_BYTES>()),
            objects: Mutex::default(),
        });
        let slot = Slot {
            handle,
            retired: None,
        };
        self.slots().insert(Digest::of(&name), slot);
        name
    }

    /// The handle of that name, if `bearer` is its token. A handle that does not exist takes the
    /// same comparison as one that does.
    pub fn admit(&self, name: &str, bearer: &str) -> Option<Arc<Handle>> {
        let handle = self.get(name);
        let token = handle
            .as_ref()
            .map_or(&NO_TOKEN, |handle| handle.token.as_bytes());
        let admitted: bool = Digest::of(bearer).as_bytes().ct_eq(token).into();
        handle.filter(|_| admitted)
    }

    /// The handle of that name.
    pub fn get(&self, name: &str) -> Option<Arc<Handle>> {
        let handle = self
            .slots()
            .get(&Digest::of(name))
            .map(|slot| Arc::clone(&slot.handle))?;
        self.used.store(true, Ordering::Relaxed);
        Some(handle)
    }

    /// True once a handle has been used.
    pub fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots().len()
    }

    /// Says that the build behind the handle has ended.
    pub fn retire(&self, name: &str) {
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&Digest::of(name)) else {
            return;
        };
        slot.retired = Some(Instant::now());
        let handle = Arc::clone(&slot.handle);
        // Outside of the lock: memory and files go here.
        drop(slots);
        handle.backend.retire();
    }

    /// Closes retired handles: if the daemon is `idle`, those whose build ended a while ago, see
    /// [`LINGER`]; else those that have expired.
    pub fn sweep(&self, idle: bool, now: Timestamp) {
        self.slots().retain(|_, slot| {
            let Some(retired) = slot.retired else {
                return true;
            };
            let unwound = retired.elapsed() >= LINGER;
            let close = (idle && unwound) || slot.handle.expires <= now;
            if close {
                slot.handle.closed.cancel();
            }
            !close
        });
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
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
