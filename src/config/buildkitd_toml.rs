//! What the gateway reads of buildkitd.toml. buildkitd reads the same file for all the rest, and
//! for the mistakes in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// The tables that concern the gateway.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct BuildkitdToml {
    /// `root`: where buildkitd keeps its state.
    pub root: Option<PathBuf>,
    /// `[grpc]`.
    pub grpc: Grpc,
    /// `[cache]`.
    pub cache: Cache,
}

/// `[grpc]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Grpc {
    /// Where buildkitd would listen.
    pub address: Vec<String>,
    /// Who owns its unix sockets.
    pub uid: Option<u32>,
    /// And which group.
    pub gid: Option<u32>,
    /// `[grpc.tls]`.
    pub tls: Tls,
}

/// `[grpc.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tls {
    /// The certificate chain.
    pub cert: Option<PathBuf>,
    /// The private key.
    pub key: Option<PathBuf>,
    /// Whose clients are taken.
    pub ca: Option<PathBuf>,
}

/// `[cache]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// `[cache.gha]`, since BuildKit v0.27.
    pub gha: Gha,
}

/// `[cache.gha]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Gha {
    /// `[cache.gha.sign]`: there if buildkitd signs its indexes.
    pub sign: Option<toml::Table>,
    /// `[cache.gha.verify]`.
    pub verify: Verify,
}

/// `[cache.gha.verify]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Verify {
    /// Whether an index without a good signature is refused.
    pub required: bool,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TomlError {
    /// It is there and cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// It is not what buildkitd reads.
    #[error("{path}: {error}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        error: Box<toml::de::Error>,
    },
}

impl BuildkitdToml {
    /// Reads the file. As with buildkitd, one that is not there is an empty one.
    pub fn load(path: &Path) -> Result<Self, TomlError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                let path = path.to_owned();
                return Err(TomlError::Read { path, error });
            }
        };
        toml::from_str(&text).map_err(|error| TomlError::Parse {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }

    /// True if buildkitd's indexes have the names of signed ones.
    pub fn signed(&self) -> bool {
        self.cache.gha.sign.is_some() || self.cache.gha.verify.required
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<BuildkitdToml, TomlError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("buildkitd.toml");
        std::fs::write(&path, text).unwrap();
        BuildkitdToml::load(&path)
    }

    #[test]
    fn the_gateways_part_is_read_among_the_rest() {
        let file = load(
            r#"
            debug = true
            root = "/state"
            [worker.oci]
              gc = true
            [grpc]
              address = ["tcp://0.0.0.0:1234"]
              gid = 5
              [grpc.tls]
                cert = "/c"
            [cache.gha.sign]
              command = ["sign"]
            "#,
        )
        .unwrap();
        assert_eq!(file.grpc.address, ["tcp://0.0.0.0:1234"]);
        assert_eq!(file.grpc.gid, Some(5));
        assert_eq!(file.grpc.tls.cert, Some("/c".into()));
        assert_eq!(file.root, Some("/state".into()));
        assert!(file.signed());
    }

    #[test]
    fn verification_alone_names_indexes_as_signed() {
        assert!(
            load("[cache.gha.verify]\nrequired = true")
                .unwrap()
                .signed()
        );
        assert!(!load("").unwrap().signed());
    }

    #[test]
    fn no_file_is_an_empty_one_and_a_broken_one_is_an_error() {
        let none = BuildkitdToml::load(Path::new("/does/not/exist.toml")).unwrap();
        assert_eq!(none, BuildkitdToml::default());
        assert!(load("grpc = 1").is_err());
    }
}
