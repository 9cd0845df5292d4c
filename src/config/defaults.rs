//! Where buildkitd keeps things when nothing is said (util/appdefaults of BuildKit v0.32.2).

use std::path::{Path, PathBuf};

use super::Env;
use crate::net::Address;

/// buildkitd's default places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Defaults {
    /// Where it listens.
    pub address: Address,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its state.
    pub root: PathBuf,
}

impl Defaults {
    /// The places for this process: those of the system, or of the user where buildkitd would
    /// consider itself rootless.
    pub fn detect(env: &Env) -> Self {
        let user = env.get("USER").is_some_and(|user| user != "root");
        if user && in_user_namespace() {
            Self::rootless(env)
        } else {
            Self::system()
        }
    }

    fn system() -> Self {
        Self {
            address: Address::Unix("/run/buildkit/buildkitd.sock".into()),
            config: "/etc/buildkit/buildkitd.toml".into(),
            root: "/var/lib/buildkit".into(),
        }
    }

    fn rootless(env: &Env) -> Self {
        let system = Self::system();
        // The XDG variables may be lists; buildkitd takes the first of each.
        let first = |name: &str| env.get(name)?.split(':').next().map(PathBuf::from);
        let home = env.get("HOME").map(Path::new);
        let config = env.get("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.or_else(|| Some(home?.join(".config")));
        let data = first("XDG_DATA_HOME").or_else(|| Some(home?.join(".local/share")));
        let socket = first("XDG_RUNTIME_DIR").map(|run| run.join("buildkit/buildkitd.sock"));
        Self {
            address: socket.map_or(system.address, Address::Unix),
            config: config.map_or(system.config, |dir| dir.join("buildkit/buildkitd.toml")),
            root: data.map_or(system.root, |dir| dir.join("buildkit")),
        }
    }
}

/// True unless this process sees all user ids as they are.
fn in_user_namespace() -> bool {
    const ALL_IDS: [&str; 3] = ["0", "0", "4294967295"];
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| !map.split_whitespace().eq(ALL_IDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_places_follow_the_xdg_variables() {
        let env: Env = [
            ("HOME", "/home/u"),
            ("XDG_RUNTIME_DIR", "/run/user/1000:/other"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect();
        let places = Defaults::rootless(&env);
        let socket = "unix:///run/user/1000/buildkit/buildkitd.sock";
        assert_eq!(places.address.to_string(), socket);
        assert_eq!(
            places.config,
            Path::new("/home/u/.config/buildkit/buildkitd.toml")
        );
        assert_eq!(places.root, Path::new("/home/u/.local/share/buildkit"));
        assert_eq!(Defaults::rootless(&Env::default()), Defaults::system());
    }
}
