//! Limits that the environment may change: how long to drain, how much disk to use.

use std::{fmt, time::Duration};

use super::Env;
use crate::cache::{EXPORT_SPOOL_BYTES, IMPORT_SPOOL_BYTES, go_duration};

/// How long builds in flight may go on after a signal that asks for the end. It is the default
/// `timeout` of an export, so that an export which keeps its time loses nothing; whoever sends the
/// signal has a patience of his own (`docker stop` 10 s, Kubernetes 30 s, systemd 90 s) and ends
/// the wait earlier by force.
pub const DRAIN: Duration = Duration::from_mins(10);

/// Limits of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// See [`DRAIN`].
    pub drain: Duration,
    /// Bytes that may wait on disk to be uploaded.
    pub export_spool: u64,
    /// Bytes of fetched layers that may be on disk.
    pub import_spool: u64,
}

impl Limits {
    /// Reads `BUILDKIT_GHA_DRAIN`, `BUILDKIT_GHA_EXPORT_SPOOL` and `BUILDKIT_GHA_IMPORT_SPOOL`.
    /// What cannot be read is added to `mistakes`, and the default stands in for it.
    pub fn read(env: &Env, mistakes: &mut Vec<String>) -> Self {
        Self {
            drain: value(env, "DRAIN", DRAIN, go_duration::parse, mistakes),
            export_spool: value(env, "EXPORT_SPOOL", EXPORT_SPOOL_BYTES, size, mistakes),
            import_spool: value(env, "IMPORT_SPOOL", IMPORT_SPOOL_BYTES, size, mistakes),
        }
    }
}

fn value<T, E: fmt::Display>(
    env: &Env,
    name: &str,
    default: T,
    parse: impl FnOnce(&str) -> Result<T, E>,
    mistakes: &mut Vec<String>,
) -> T {
    let name = format!("BUILDKIT_GHA_{name}");
    let Some(text) = env.get(&name) else {
        return default;
    };
    parse(text).unwrap_or_else(|error| {
        mistakes.push(format!("{name}={text:?} is {error}"));
        default
    })
}

/// A size that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a size such as 512MB or 10GB")]
struct InvalidSize;

/// Reads a size as docker and buildx do: a number, and a unit that counts in 1024s.
fn size(text: &str) -> Result<u64, InvalidSize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or(unit.strip_suffix('b')) {
        Some(prefix) => prefix,
        None => &unit,
    };
    let shift = match power {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(InvalidSize),
    };
    let number: u64 = number.parse().map_err(|_| InvalidSize)?;
    number.checked_mul(1 << shift).ok_or(InvalidSize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Limits, Vec<String>) {
        let variables = variables.iter();
        let env = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut mistakes = Vec::new();
        (Limits::read(&env.collect(), &mut mistakes), mistakes)
    }

    #[test]
    fn sizes_are_dockers() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1k", 1 << 10),
            ("512MB", 512 << 20),
            ("10GB", 10 << 30),
            ("10 gib", 10 << 30),
            ("2TB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "10 parsecs", "99999999999TB"] {
            assert_eq!(size(text), Err(InvalidSize), "{text}");
        }
    }

    #[test]
    fn what_the_environment_says_is_taken_and_mistakes_are_named() {
        let (limits, mistakes) = read(&[
            ("BUILDKIT_GHA_DRAIN", "90s"),
            ("BUILDKIT_GHA_EXPORT_SPOOL", "1GB"),
        ]);
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(limits.drain, Duration::from_secs(90));
        assert_eq!(limits.export_spool, 1 << 30);
        assert_eq!(limits.import_spool, IMPORT_SPOOL_BYTES);

        let (_, mistakes) = read(&[
            ("BUILDKIT_GHA_DRAIN", "soon"),
            ("BUILDKIT_GHA_IMPORT_SPOOL", "much"),
        ]);
        assert_eq!(mistakes.len(), 2);
        assert!(mistakes[0].contains("BUILDKIT_GHA_DRAIN=\"soon\""));
        assert!(mistakes[1].contains("512MB"));
    }
}
