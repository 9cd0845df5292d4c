//! The gateway's configuration: its command line, buildkitd's, the environment and buildkitd.toml.

use std::{ffi::OsString, fmt, path::PathBuf};

use url::Url;

use super::{
    Address, BuildkitdToml, DefaultCache, Defaults, Env, Flags, Imports, Limits, Owner, Tls,
    default_cache, owner,
};
use crate::{
    cache::attributes::{OperatorService, OperatorToken, Overrides},
    secret::Secret,
};

/// Where buildkitd since v0.34 looks for its configuration when no flag says. The gateway says it
/// by flag, so that every version reads the same file as the gateway.
pub const CONFIG_VARIABLE: &str = "BUILDKITD_CONFIG";

/// What runs when `BUILDKIT_GHA_BUILDKITD` does not say.
const BUILDKITD: &str = "buildkitd";

/// Everything that `buildkit-gha gateway` needs to know.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where clients come in.
    pub listen: Vec<Address>,
    /// Who owns the unix sockets.
    pub owner: Owner,
    /// TLS on the TCP addresses.
    pub tls: Option<Tls>,
    /// The buildkitd behind.
    pub buildkitd: Buildkitd,
    /// How buildkitd reads what builds import.
    pub imports: Imports,
    /// What wins over the attributes of entries.
    pub overrides: Overrides,
    /// What builds that name no `gha` cache get.
    pub default_cache: Option<DefaultCache>,
    /// buildkitd signs or verifies its indexes.
    pub signed: bool,
    /// Where bytes wait on their way out and in.
    pub spool_dir: PathBuf,
    /// Bounds of time and space.
    pub limits: Limits,
}

/// The buildkitd behind the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buildkitd {
    /// Started by the gateway.
    Child {
        /// The program.
        program: PathBuf,
        /// Its flags, without an address.
        args: Vec<OsString>,
    },
    /// Running already.
    Running(Address),
}

/// Every mistake of a configuration.
#[derive(Debug)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

impl GatewayConfig {
    /// Reads the command line after `gateway`. All mistakes are reported together.
    pub fn parse(args: impl IntoIterator<Item = OsString>, env: &Env) -> Result<Self, ConfigError> {
        let flags = Flags::parse(args).map_err(|error| ConfigError(vec![error.to_string()]))?;
        Self::of_flags(&flags, env)
    }

    /// As [`GatewayConfig::parse`], of a command line that was taken apart.
    pub fn of_flags(flags: &Flags, env: &Env) -> Result<Self, ConfigError> {
        let env = &flags.over(env);
        let mut mistakes = ConfigErrors::default();
        let defaults = Defaults::detect(env);
        let said = env.get(CONFIG_VARIABLE).map(PathBuf::from);
        let path = flags.config.clone().or(said);
        let path = path.unwrap_or_else(|| defaults.config.clone());
        let file = mistakes.take(BuildkitdToml::load(&path));
        let file = file.unwrap_or_default();
        let overrides = overrides(env, &mut mistakes);
        let config = Self {
            listen: listen(flags, &file, &defaults, &mut mistakes),
            owner: Owner {
                uid: file.grpc.uid,
                gid: mistakes.take(gid(flags, &file)).flatten(),
            },
            tls: tls(flags, &file, &mut mistakes),
            buildkitd: buildkitd(flags, env, &mut mistakes),
            imports: Imports::read(env, &mut mistakes),
            default_cache: mistakes
                .take(default_cache::read(env, &overrides))
                .flatten(),
            overrides,
            signed: file.signed(),
            spool_dir: spool_dir(flags, &file, &defaults, env),
            limits: Limits::read(env, &mut mistakes),
        };
        mistakes.none()?;
        Ok(config)
    }
}

/// Collects mistakes, so that one run reports them all.
#[derive(Default)]
pub(super) struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    pub fn take<T, E: fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(error.to_string())).ok()
    }

    /// One more.
    pub fn add(&mut self, mistake: String) {
        self.0.push(mistake);
    }

    /// Reads a URL. Its text is not quoted: it may hold a password.
    pub fn url(&mut self, name: &str, env: &Env) -> Option<Url> {
        let text = env.get(name)?;
        let name = env.source(name);
        let url = Url::parse(text).map_err(|error| format!("{name} is not a URL: {error}"));
        let url = url.and_then(|url| match url.scheme() {
            "http" | "https" => Ok(url),
            _ => Err(format!("{name} is not an http or https URL")),
        });
        self.take(url)
    }

    pub fn none(self) -> Result<(), ConfigError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigError(self.0))
        }
    }
}

/// A passed `--addr` overrides the file's addresses, as with buildkitd.
fn listen(
    flags: &Flags,
    file: &BuildkitdToml,
    defaults: &Defaults,
    mistakes: &mut ConfigErrors,
) -> Vec<Address> {
    let written = if flags.addr.is_empty() {
        &file.grpc.address
    } else {
        &flags.addr
    };
    if written.is_empty() {
        return vec![defaults.address.clone()];
    }
    let addresses = written.iter().map(|text| mistakes.take(text.parse()));
    addresses
        .collect::<Vec<_>>()
        .into_iter()
        .flatten()
        .collect()
}

fn gid(flags: &Flags, file: &BuildkitdToml) -> Result<Option<u32>, owner::GroupError> {
    match flags.group.as_deref() {
        Some(group) if !group.is_empty() => owner::gid(group).map(Some),
        _ => Ok(file.grpc.gid),
    }
}

fn tls(flags: &Flags, file: &BuildkitdToml, mistakes: &mut ConfigErrors) -> Option<Tls> {
    let tls = &file.grpc.tls;
    let pick = |flag: &Option<PathBuf>, file: &Option<PathBuf>| {
        let path = flag.as_ref().or(file.as_ref())?;
        (!path.as_os_str().is_empty()).then(|| path.clone())
    };
    let ca = pick(&flags.tls_ca, &tls.ca);
    match (
        pick(&flags.tls_cert, &tls.cert),
        pick(&flags.tls_key, &tls.key),
    ) {
        (Some(cert), Some(key)) => Some(Tls { cert, key, ca }),
        (None, None) if ca.is_none() => None,
        _ => {
            let mistake = "TLS needs both a certificate and a key (--tlscert, --tlskey)";
            mistakes.0.push(mistake.into());
            None
        }
    }
}

fn buildkitd(flags: &Flags, env: &Env, mistakes: &mut ConfigErrors) -> Buildkitd {
    let upstream = env.get("BUILDKIT_GHA_UPSTREAM").map(str::parse);
    if let Some(address) = upstream.and_then(|parsed| mistakes.take(parsed)) {
        if !flags.buildkitd_only.is_empty() {
            mistakes.0.push(format!(
                "--upstream names a buildkitd that is running: {:?} cannot be passed to it",
                flags.buildkitd_only
            ));
        }
        return Buildkitd::Running(address);
    }
    let mut args = flags.buildkitd.clone();
    if let (None, Some(path)) = (&flags.config, env.get(CONFIG_VARIABLE)) {
        args.push(format!("--config={path}").into());
    }
    Buildkitd::Child {
        program: env
            .get("BUILDKIT_GHA_BUILDKITD")
            .unwrap_or(BUILDKITD)
            .into(),
        args,
    }
}

fn overrides(env: &Env, mistakes: &mut ConfigErrors) -> Overrides {
    let given = env.get("BUILDKIT_GHA_TOKEN").map(Secret::new);
    let file = env.get("BUILDKIT_GHA_TOKEN_FILE").map(PathBuf::from);
    if given.is_some() && file.is_some() {
        let mistake = "both BUILDKIT_GHA_TOKEN and BUILDKIT_GHA_TOKEN_FILE are set: leave one out";
        mistakes.0.push(mistake.into());
    }
    let file = file.map(OperatorToken::File);
    let token = file.or(given.map(OperatorToken::Given));
    Overrides {
        service: OperatorService::new(mistakes.url("BUILDKIT_GHA_URL", env), token),
        github_api_url: mistakes.url("GITHUB_API_URL", env),
    }
}

/// Beside buildkitd's state, which is on a disk with room; the system's temporary folder may be
/// memory.
fn spool_dir(flags: &Flags, file: &BuildkitdToml, defaults: &Defaults, env: &Env) -> PathBuf {
    if let Some(dir) = env.get("BUILDKIT_GHA_SPOOL_DIR") {
        return dir.into();
    }
    let root = flags.root.as_ref().or(file.root.as_ref());
    root.unwrap_or(&defaults.root).join("buildkit-gha")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<GatewayConfig, ConfigError> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        // A config file of its own keeps the machine's out of the test.
        let args = ["--config=/does/not/exist.toml"].iter().chain(args);
        GatewayConfig::parse(args.map(OsString::from), &env.collect())
    }

    #[test]
    fn nothing_said_is_buildkitds_default() {
        let config = parse(&[], &[]).unwrap();
        assert_eq!(
            config.listen[0].to_string(),
            "unix:///run/buildkit/buildkitd.sock"
        );
        assert_eq!(
            config.spool_dir,
            PathBuf::from("/var/lib/buildkit/buildkit-gha")
        );
        let Buildkitd::Child { program, args } = config.buildkitd else {
            panic!("a child is the default");
        };
        assert_eq!(program, PathBuf::from("buildkitd"));
        assert_eq!(args, ["--config=/does/not/exist.toml"]);
    }

    #[test]
    fn what_stands_in_buildkitd_toml_is_taken_unless_a_flag_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("buildkitd.toml");
        let text = r#"
            root = "/state"
            [grpc]
              address = ["unix:///file.sock", "tcp://0.0.0.0:1234"]
              uid = 1
              gid = 5
              [grpc.tls]
                cert = "/file.cert"
                key = "/file.key"
            [cache.gha.verify]
              required = true
        "#;
        std::fs::write(&path, text).unwrap();
        let parse = |more: &[&str]| {
            let mut args = vec![OsString::from("--config"), path.clone().into()];
            args.extend(more.iter().map(OsString::from));
            GatewayConfig::parse(args, &Env::default()).unwrap()
        };
        let file = parse(&[]);
        let listen: Vec<_> = file.listen.iter().map(Address::to_string).collect();
        assert_eq!(listen, ["unix:///file.sock", "tcp://0.0.0.0:1234"]);
        assert_eq!((file.owner.uid, file.owner.gid), (Some(1), Some(5)));
        assert_eq!(file.tls.unwrap().cert, PathBuf::from("/file.cert"));
        assert_eq!(file.spool_dir, PathBuf::from("/state/buildkit-gha"));
        assert!(file.signed);

        let flags = parse(&[
            "--addr=unix:///flag.sock",
            "--group=7",
            "--tlscert=/flag.cert",
        ]);
        let listen: Vec<_> = flags.listen.iter().map(Address::to_string).collect();
        assert_eq!(listen, ["unix:///flag.sock"]);
        assert_eq!(flags.owner.gid, Some(7));
        let tls = flags.tls.unwrap();
        assert_eq!(tls.cert, PathBuf::from("/flag.cert"));
        assert_eq!(tls.key, PathBuf::from("/file.key"));
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let error = parse(
            &[
                "--addr=fd://3",
                "--import-listen=x",
                "--tlscert=/c",
                "--upstream=/run/x",
            ],
            &[
                ("BUILDKIT_GHA_IMPORT", "magic"),
                ("BUILDKIT_GHA_URL", "ftp://x"),
                ("BUILDKIT_GHA_INDEX_WAIT", "soon"),
            ],
        )
        .unwrap_err();
        let text = error.to_string();
        for part in [
            "fd://3",
            "--import-listen",
            "--tlskey",
            "unix:///run/x",
            "magic",
            "_URL",
            "soon",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
    }

    #[test]
    fn flags_cannot_be_passed_to_a_buildkitd_that_runs() {
        let args = [
            "--upstream=unix:///run/x.sock",
            "--debug",
            "--oci-worker=false",
        ];
        assert!(
            parse(&args, &[])
                .unwrap_err()
                .to_string()
                .contains("[\"--oci-worker=false\"]")
        );
    }
}
