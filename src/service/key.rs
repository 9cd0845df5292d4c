//! The service's one secret: a file in the data directory, created once, readable by its owner; or where the
//! entries are in a database that replicas share, a row there.

use std::io;

use aws_lc_rs::{hmac, rand};

use super::data_dir::DataDir;
use crate::secret::Secret;

/// The file's name in the data directory.
const FILE: &str = "secret";

/// As long as the output of the hash that uses it.
const BYTES: usize = 32;

/// The secret from which the keys of tokens and of signed URLs are derived.
pub(super) struct MasterKey(hmac::Key);

impl MasterKey {
    /// Reads the secret of `data_dir`, or makes one where the directory is this user's.
    pub(super) fn load_or_create(data_dir: &DataDir) -> io::Result<Self> {
        let secret = match existing_secret(data_dir)? {
            None if !data_dir.is_own() => {
                let path = data_dir.path().join(FILE);
                let path = path.display();
                return Err(io::Error::other(format!(
                    "{path} is not there yet: start the service first"
                )));
            }
            None => secret_or(data_dir, &new_secret()?)?,
            Some(secret) => secret,
        };
        Self::from_hex(&secret).ok_or_else(|| damaged(data_dir))
    }

    /// Reads a secret as [`new_secret`] writes it.
    pub(super) fn from_hex(text: &Secret) -> Option<Self> {
        let mut bytes = [0; BYTES];
        hex::decode_to_slice(text.expose().trim(), &mut bytes).ok()?;
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// A key for one purpose: knowing it tells nothing of the others.
    pub(super) fn derive(&self, purpose: &str) -> [u8; BYTES] {
        let tag = hmac::sign(&self.0, purpose.as_bytes());
        let mut key = [0; BYTES];
        key.copy_from_slice(tag.as_ref());
        key
    }
}

/// A new secret, in hex.
pub(super) fn new_secret() -> io::Result<Secret> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(Secret::new(hex::encode(bytes)))
}

/// The secret of a data directory, if it has one.
pub(super) fn existing_secret(data_dir: &DataDir) -> io::Result<Option<Secret>> {
    let Some(text) = data_dir.text(FILE)?.map(Secret::new) else {
        return Ok(None);
    };
    let secret = Secret::new(text.expose().trim());
    match MasterKey::from_hex(&secret) {
        Some(_) => Ok(Some(secret)),
        None => Err(damaged(data_dir)),
    }
}

/// The secret of a data directory, which is `proposed` if there was none.
pub(super) fn secret_or(data_dir: &DataDir, proposed: &Secret) -> io::Result<Secret> {
    if let Some(secret) = existing_secret(data_dir)? {
        return Ok(secret);
    }
    data_dir.create_text(FILE, proposed.expose())?;
    existing_secret(data_dir)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn damaged(data_dir: &DataDir) -> io::Error {
    let path = data_dir.path().join(FILE);
    let path = path.display();
    io::Error::other(format!("{path} does not hold {BYTES} bytes in hex"))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn the_secret_is_made_once_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = MasterKey::load_or_create(&DataDir::open(dir.path()).unwrap()).unwrap();
        let again = MasterKey::load_or_create(&DataDir::open(dir.path()).unwrap()).unwrap();
        assert_eq!(first.derive("a"), again.derive("a"));
        assert_ne!(first.derive("a"), first.derive("b"));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_secret_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(MasterKey::load_or_create(&DataDir::open(dir.path()).unwrap()).is_err());
    }
}
