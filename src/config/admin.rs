//! Where the admin socket is.

use std::path::{Path, PathBuf};

use super::{
    Env,
    defaults::Defaults,
    error::{ConfigError, ConfigErrors},
};
use crate::{
    admin,
    net::{Address, Listen, Owner},
};

/// The socket's name beside buildkitd's.
const SOCKET: &str = "buildkit-gha.sock";

/// What says that there is to be no socket, or no metrics over TCP.
const OFF: &str = "off";

/// The scheme that other addresses have.
const SCHEME: &str = "unix://";

/// Where the gateway's is: said, or beside the first unix socket that it listens on.
pub(super) fn read(
    env: &Env,
    listen: &[Address],
    owner: Owner,
    errors: &mut ConfigErrors,
) -> admin::Config {
    let socket = match env.get("BUILDKIT_GHA_ADMIN_SOCKET") {
        Some(OFF) => None,
        Some(path) => Some(plain(path)),
        None => listen.iter().find_map(beside),
    };
    admin::Config {
        socket,
        uid: owner.uid,
        metrics: metrics(env, errors),
    }
}

/// Where the commands look for it: that of a gateway with buildkitd's default address.
pub fn default_socket(env: &Env) -> PathBuf {
    let address = Defaults::detect(env).address;
    beside(&address).expect("buildkitd's default is a unix socket")
}

/// The path of `--admin-socket`; `None` if it says that there is none.
pub fn socket_path(text: &str) -> Option<PathBuf> {
    (text != OFF).then(|| plain(text))
}

fn plain(path: &str) -> PathBuf {
    path.strip_prefix(SCHEME).unwrap_or(path).into()
}

fn beside(address: &Address) -> Option<PathBuf> {
    match address {
        Address::Unix(path) => Some(path.parent().unwrap_or(Path::new("")).join(SOCKET)),
        Address::Tcp(_) => None,
    }
}

fn metrics(env: &Env, errors: &mut ConfigErrors) -> Option<Listen> {
    let variable = "BUILDKIT_GHA_METRICS_LISTEN";
    let text = env.get(variable).filter(|text| *text != OFF)?;
    let invalid = |_| ConfigError::MetricsListen(env.source(variable).to_owned(), text.to_owned());
    errors.take(text.parse().map_err(invalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(env: &[(&str, &str)], listen: &[&str]) -> (admin::Config, String) {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let listen: Vec<Address> = listen.iter().map(|text| text.parse().unwrap()).collect();
        let mut errors = ConfigErrors::default();
        let read = read(&env.collect(), &listen, Owner::default(), &mut errors);
        (read, errors.to_string())
    }

    #[test]
    fn it_stands_beside_the_first_unix_socket_unless_said() {
        let socket = |env: &[(&str, &str)], listen: &[&str]| {
            let (admin, errors) = admin(env, listen);
            assert_eq!(errors, "");
            admin.socket.map(|path| path.display().to_string())
        };
        let tcp = "tcp://127.0.0.1:1";
        let two = [
            tcp,
            "unix:///run/buildkit/buildkitd.sock",
            "unix:///x/y.sock",
        ];
        let beside = "/run/buildkit/buildkit-gha.sock";
        assert_eq!(socket(&[], &two).as_deref(), Some(beside));
        assert_eq!(socket(&[], &[tcp]), None);
        assert_eq!(default_socket(&Env::default()), Path::new(beside));
        let variable = "BUILDKIT_GHA_ADMIN_SOCKET";
        assert_eq!(socket(&[(variable, "off")], &two), None);
        for said in ["/a/b.sock", "unix:///a/b.sock"] {
            assert_eq!(
                socket(&[(variable, said)], &[tcp]).as_deref(),
                Some("/a/b.sock")
            );
        }
    }

    #[test]
    fn metrics_are_off_unless_said() {
        assert_eq!(admin(&[], &[]).0.metrics, None);
        let variable = "BUILDKIT_GHA_METRICS_LISTEN";
        let (said, _) = admin(&[(variable, ":9090")], &[]);
        assert_eq!(said.metrics, Some(":9090".parse().unwrap()));
        assert_eq!(admin(&[(variable, "off")], &[]).0.metrics, None);
        let (_, errors) = admin(&[(variable, "9090")], &[]);
        assert!(
            errors.contains("BUILDKIT_GHA_METRICS_LISTEN=\"9090\""),
            "{errors}"
        );
    }
}
