//! buildkitd's own command line: what the gateway must understand is taken out or looked at, and
//! everything else reaches buildkitd untouched and in order.

use std::{ffi::OsString, path::PathBuf};

/// Flags of the gateway. buildkitd never sees them.
const OURS: [&str; 3] = ["upstream", "import-listen", "import-url"];

/// A flag of buildkitd's that is answered by the gateway: buildkitd gets an inner address instead.
const ADDR: &str = "addr";

/// Flags of buildkitd's that both sides read.
const SHARED: [&str; 6] = ["config", "group", "root", "tlscert", "tlskey", "tlscacert"];

/// The command line after `gateway`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--addr`, repeatable.
    pub addr: Vec<String>,
    /// `--upstream`.
    pub upstream: Option<String>,
    /// `--import-listen`.
    pub import_listen: Option<String>,
    /// `--import-url`.
    pub import_url: Option<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--group`.
    pub group: Option<String>,
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--tlscert`.
    pub tls_cert: Option<PathBuf>,
    /// `--tlskey`.
    pub tls_key: Option<PathBuf>,
    /// `--tlscacert`.
    pub tls_ca: Option<PathBuf>,
    /// What buildkitd gets: all but the gateway's flags and `--addr`.
    pub buildkitd: Vec<OsString>,
}

/// A flag without the value that it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--{0} needs a value")]
pub struct MissingValue(pub String);

impl Flags {
    /// Splits the command line. Flags are `--name value` or `--name=value`; like buildkitd, one
    /// dash is as good as two.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, MissingValue> {
        let mut flags = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some((name, value)) = known(&arg) else {
                flags.buildkitd.push(arg);
                continue;
            };
            let following = if value.is_none() { args.next() } else { None };
            if SHARED.contains(&name.as_str()) {
                flags.buildkitd.push(arg);
                flags.buildkitd.extend(following.clone());
            }
            let value = value
                .or_else(|| following.map(|value| value.to_string_lossy().into_owned()))
                .ok_or_else(|| MissingValue(name.clone()))?;
            flags.set(&name, value);
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            ADDR => self.addr.push(value),
            "upstream" => self.upstream = Some(value),
            "import-listen" => self.import_listen = Some(value),
            "import-url" => self.import_url = Some(value),
            "config" => self.config = Some(value.into()),
            "group" => self.group = Some(value),
            "root" => self.root = Some(value.into()),
            "tlscert" => self.tls_cert = Some(value.into()),
            "tlskey" => self.tls_key = Some(value.into()),
            "tlscacert" => self.tls_ca = Some(value.into()),
            other => unreachable!("{other} is in none of the lists that `known` reads"),
        }
    }
}

/// The name and the value of a flag that is read here.
fn known(arg: &OsString) -> Option<(String, Option<String>)> {
    let text = arg.to_str()?;
    let text = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let mut names = OURS.iter().chain(&SHARED).chain([&ADDR]);
    names
        .any(|known| *known == name)
        .then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Flags, MissingValue> {
        Flags::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn buildkitd_gets_all_that_is_not_for_the_gateway() {
        let flags = parse(&[
            "--debug",
            "--addr",
            "unix:///a.sock",
            "--oci-worker-net=host",
            "-addr=tcp://0.0.0.0:1234",
            "--group",
            "docker",
            "--import-listen=127.0.0.1:0",
            "--root=/r",
            "--new-flag",
            "value",
        ])
        .unwrap();
        assert_eq!(flags.addr, ["unix:///a.sock", "tcp://0.0.0.0:1234"]);
        assert_eq!(flags.group.as_deref(), Some("docker"));
        assert_eq!(flags.root, Some("/r".into()));
        assert_eq!(flags.import_listen.as_deref(), Some("127.0.0.1:0"));
        assert_eq!(
            flags.buildkitd,
            [
                "--debug",
                "--oci-worker-net=host",
                "--group",
                "docker",
                "--root=/r",
                "--new-flag",
                "value"
            ]
        );
    }

    #[test]
    fn a_missing_value_is_named() {
        assert_eq!(parse(&["--addr"]), Err(MissingValue("addr".into())));
    }
}
