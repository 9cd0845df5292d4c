//! The gateway's configuration: its command line, buildkitd's, the environment and buildkitd.toml.

use std::{ffi::OsString, path::PathBuf};

use super::{
    Env, Flags, Imports, ModuleConfigs, Traces, admin,
    buildkitd_toml::BuildkitdToml,
    default_cache,
    defaults::Defaults,
    error::{ConfigError, ConfigErrors},
    owner, urls,
};
use crate::{
    admin::Config as AdminConfig,
    cache::attributes::{OperatorService, OperatorToken, Overrides},
    gateway::CONFIG_VARIABLE,
    net::{Address, Owner, Tls},
    secret::Secret,
};

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
    /// What the gateway's operator can ask, and where.
    pub admin: AdminConfig,
    /// Where bytes wait on their way out and in.
    pub spool_dir: PathBuf,
    /// What of traces goes where.
    pub traces: Traces,
    /// What the modules are told.
    pub modules: ModuleConfigs,
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

impl GatewayConfig {
    /// Reads what stands on the command line, in the environment and in buildkitd.toml. All errors are
    /// reported together.
    pub fn from_flags(flags: &Flags, env: &Env) -> Result<Self, ConfigErrors> {
        let env = &flags.apply_to(env);
        let mut errors = ConfigErrors::default();
        let defaults = Defaults::detect(env);
        let said = env.get(CONFIG_VARIABLE).map(PathBuf::from);
        let path = flags.config.clone().or(said);
        let path = path.unwrap_or_else(|| defaults.config.clone());
        let file = errors.take(BuildkitdToml::load(&path));
        let file = file.unwrap_or_default();
        let listen = listen(flags, &file, &defaults, &mut errors);
        let owner = Owner {
            uid: file.grpc.uid,
            gid: errors.take(gid(flags, &file)).flatten(),
        };
        let config = Self {
            admin: admin::read(env, &listen, owner, &mut errors),
            listen,
            owner,
            tls: tls(flags, &file, &mut errors),
            buildkitd: buildkitd(flags, env, &mut errors),
            imports: Imports::read(env, &mut errors),
            spool_dir: spool_dir(flags, &file, &defaults, env),
            traces: Traces::read(env),
            modules: modules(env, file.signed(), &mut errors),
        };
        errors.into_result()?;
        Ok(config)
    }
}

/// `signed`: buildkitd signs or verifies its indexes.
fn modules(env: &Env, signed: bool, errors: &mut ConfigErrors) -> ModuleConfigs {
    let overrides = overrides(env, errors);
    let default_cache = errors.take(default_cache::read(env, &overrides)).flatten();
    let mut modules = ModuleConfigs::read(env, errors);
    modules.cache.signed = signed;
    modules.interceptor.signed = signed;
    modules.interceptor.overrides = overrides;
    modules.interceptor.default_cache = default_cache;
    modules
}

/// A passed `--addr` overrides the file's addresses, as with buildkitd.
fn listen(
    flags: &Flags,
    file: &BuildkitdToml,
    defaults: &Defaults,
    errors: &mut ConfigErrors,
) -> Vec<Address> {
    let written = if flags.addr.is_empty() {
        &file.grpc.address
    } else {
        &flags.addr
    };
    if written.is_empty() {
        return vec![defaults.address.clone()];
    }
    let addresses = written.iter().map(|text| errors.take(text.parse()));
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

fn tls(flags: &Flags, file: &BuildkitdToml, errors: &mut ConfigErrors) -> Option<Tls> {
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
            errors.push(ConfigError::Tls);
            None
        }
    }
}

fn buildkitd(flags: &Flags, env: &Env, errors: &mut ConfigErrors) -> Buildkitd {
    let upstream = env.get("BUILDKIT_GHA_UPSTREAM").map(str::parse);
    if let Some(address) = upstream.and_then(|parsed| errors.take(parsed)) {
        if !flags.buildkitd_only.is_empty() {
            let flags = flags.buildkitd_only.clone();
            errors.push(ConfigError::FlagsForUpstream(flags));
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

fn overrides(env: &Env, errors: &mut ConfigErrors) -> Overrides {
    let given = env.get("BUILDKIT_GHA_TOKEN").map(Secret::new);
    let file = env.get("BUILDKIT_GHA_TOKEN_FILE").map(PathBuf::from);
    if given.is_some() && file.is_some() {
        errors.push(ConfigError::TwoTokens);
    }
    let file = file.map(OperatorToken::File);
    let token = file.or(given.map(OperatorToken::Given));
    Overrides {
        service: OperatorService::new(urls::read(env, "BUILDKIT_GHA_URL", errors), token),
        github_api_url: urls::read(env, "GITHUB_API_URL", errors),
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

    fn parse_args(
        args: impl IntoIterator<Item = OsString>,
        env: &Env,
    ) -> Result<GatewayConfig, ConfigErrors> {
        GatewayConfig::from_flags(&Flags::parse(args).unwrap(), env)
    }

    fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<GatewayConfig, ConfigErrors> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        // A config file of its own keeps the machine's out of the test.
        let args = ["--config=/does/not/exist.toml"].iter().chain(args);
        parse_args(args.map(OsString::from), &env.collect())
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
            parse_args(args, &Env::default()).unwrap()
        };
        let file = parse(&[]);
        let listen: Vec<_> = file.listen.iter().map(Address::to_string).collect();
        assert_eq!(listen, ["unix:///file.sock", "tcp://0.0.0.0:1234"]);
        assert_eq!((file.owner.uid, file.owner.gid), (Some(1), Some(5)));
        assert_eq!(file.tls.unwrap().cert, PathBuf::from("/file.cert"));
        assert_eq!(file.spool_dir, PathBuf::from("/state/buildkit-gha"));
        assert!(file.modules.cache.signed && file.modules.interceptor.signed);

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
    fn all_errors_are_reported_together() {
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
