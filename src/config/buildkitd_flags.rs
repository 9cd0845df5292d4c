//! buildkitd's own command line: what the gateway must understand is taken out or looked at, and
//! everything else reaches buildkitd untouched and in order.

use std::{ffi::OsString, path::PathBuf};

use super::{Env, settings::Setting};

/// A flag of buildkitd's that is answered by the gateway: buildkitd gets an inner address instead.
const ADDR: &str = "addr";

/// Flags of buildkitd's that both sides read.
const SHARED: [&str; 8] = [
    "config",
    "group",
    "log-format",
    "log-level",
    "root",
    "tlscert",
    "tlskey",
    "tlscacert",
];

/// The same, of flags that need no value.
const SWITCHES: [&str; 2] = ["debug", "trace"];

/// What the command line wants to read instead of running anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoFlag {
    /// `-h`.
    ShortHelp,
    /// `--help`.
    Help,
    /// `--version` or `-v`, as with buildkitd, or `-V`.
    Version,
}

/// The command line after `gateway`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--addr`, repeatable.
    pub addr: Vec<String>,
    /// `--help` or `--version`, in any of their forms.
    pub info: Option<InfoFlag>,
    /// The gateway's own flags: what they take the place of, their names and values.
    ours: Vec<(&'static Setting, String, String)>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--log-format`.
    pub log_format: Option<String>,
    /// `--debug`.
    pub debug: bool,
    /// `--trace`.
    pub trace: bool,
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
    /// Those of them that mean nothing to the gateway.
    pub buildkitd_only: Vec<OsString>,
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
            if let Some(info) = info_flag(&arg) {
                flags.info = flags.info.or(Some(info));
                continue;
            }
            let Some((name, value)) = known(&arg) else {
                flags.buildkitd.push(arg.clone());
                flags.buildkitd_only.push(arg);
                continue;
            };
            if SWITCHES.contains(&name.as_str()) {
                flags.switch(&name, value.as_deref());
                flags.buildkitd.push(arg);
                continue;
            }
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

    /// The environment, with the gateway's flags in the places of their variables.
    pub(super) fn apply_to(&self, env: &Env) -> Env {
        let mut env = env.clone();
        for (setting, flag, value) in &self.ours {
            env.set_by_flag(setting.variable(), flag, value.clone());
        }
        env
    }

    /// `--debug` and `--debug=true`; what else buildkitd reads as true is as rare as it is spelt.
    fn switch(&mut self, name: &str, value: Option<&str>) {
        let on = matches!(
            value,
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True")
        );
        match name {
            "debug" => self.debug = on,
            _ => self.trace = on,
        }
    }

    fn set(&mut self, name: &str, value: String) {
        if let Some(setting) = Setting::find_by_flag(name) {
            self.ours.push((setting, name.to_owned(), value));
            return;
        }
        match name {
            ADDR => self.addr.push(value),
            "log-level" => self.log_level = Some(value),
            "log-format" => self.log_format = Some(value),
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
    let mut names = SHARED.iter().chain(&SWITCHES).chain([&ADDR]);
    let known = names.any(|known| *known == name) || Setting::find_by_flag(name).is_some();
    known.then(|| (name.to_owned(), value))
}

/// buildkitd takes these with one dash or two.
fn info_flag(arg: &OsString) -> Option<InfoFlag> {
    match arg.to_str()? {
        "-h" | "--h" => Some(InfoFlag::ShortHelp),
        "-help" | "--help" => Some(InfoFlag::Help),
        "-v" | "--v" | "-V" | "-version" | "--version" => Some(InfoFlag::Version),
        _ => None,
    }
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
        assert!(flags.debug);
        let env = flags.apply_to(&Env::default());
        let name = "BUILDKIT_GHA_IMPORT_LISTEN";
        assert_eq!(env.get(name), Some("127.0.0.1:0"));
        assert_eq!(env.source(name), "--import-listen");
        assert_eq!(
            flags.buildkitd_only,
            ["--oci-worker-net=host", "--new-flag", "value"]
        );
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
    fn help_and_version_are_seen_in_every_form() {
        for (args, asked) in [
            (&["--debug", "--help"][..], InfoFlag::Help),
            (&["-h"], InfoFlag::ShortHelp),
            (&["--addr", "unix:///a", "-v"], InfoFlag::Version),
        ] {
            assert_eq!(parse(args).unwrap().info, Some(asked), "{args:?}");
        }
        assert_eq!(parse(&["--debug=false"]).unwrap().info, None);
    }

    #[test]
    fn a_missing_value_is_named() {
        assert_eq!(parse(&["--addr"]), Err(MissingValue("addr".into())));
    }
}
