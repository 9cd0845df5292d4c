//! The service's one secret: a file in the data directory, created once, readable by its owner; or where the
//! entries are in a database that replicas share, a row there.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::Path,
};

use aws_lc_rs::{hmac, rand};

use super::data_dir::DataDir;
use crate::secret::Secret;

/// The file's name in the data directory.
const FILE: &str = "secret";

/// As long as the output of the hash that uses it.
const BYTES: usize = 32;

/// More than the file has.
const MAX_FILE_BYTES: u64 = 1 << 10;

/// The secret from which the keys of tokens and of signed URLs are derived.
pub(super) struct MasterKey(hmac::Key);

impl MasterKey {
    /// Reads the secret of `data_dir`, which must be there, or makes one.
    pub(super) fn load_or_create(data_dir: &DataDir) -> io::Result<Self> {
        let path = data_dir.path().join(FILE);
        let secret = match data_dir.secret(FILE)? {
            Some(secret) => secret,
            None if data_dir.is_own() => {
                create(data_dir.path(), &path)?;
                let secret = data_dir.secret(FILE)?;
                secret.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
            }
            None => {
                let path = path.display();
                return Err(io::Error::other(format!(
                    "{path} is not there yet: start the service first"
                )));
            }
        };
        let mut text = String::new();
        secret.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Self::from_hex(&Secret::new(text)).ok_or_else(|| {
            let path = path.display();
            io::Error::other(format!("{path} does not hold {BYTES} bytes in hex"))
        })
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

/// The file appears whole or not at all; of two processes that create it at once one wins and both
/// read the winner's.
fn create(data_dir: &Path, path: &Path) -> io::Result<()> {
    let secret = new_secret()?;
    // Made with mode 0600, which linking it under its final name keeps.
    let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
    writeln!(file, "{}", secret.expose())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(lost) if lost.error.kind() != io::ErrorKind::AlreadyExists => Err(lost.error),
        _ => File::open(data_dir)?.sync_all(),
    }
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
