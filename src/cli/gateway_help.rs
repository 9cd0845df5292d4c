//! What `gateway` says of its flags. It reads them itself, since most are buildkitd's; clap renders
//! the help, the manual and the completions.

use clap::{Arg, ArgAction, Command, builder::StyledStr};

use super::version::version;
use crate::config::settings::SETTINGS;

/// Flags of buildkitd's that the gateway reads, too: name, value, meaning.
pub(super) const SHARED: [(&str, &str, &str); 10] = [
    ("addr", "ADDR", "Where to listen, repeatable"),
    ("config", "PATH", "buildkitd.toml [env: BUILDKITD_CONFIG]"),
    ("root", "DIR", "buildkitd's state"),
    ("group", "GROUP", "Who may use the unix sockets"),
    ("tlscert", "PATH", "The certificate of the TCP addresses"),
    ("tlskey", "PATH", "Its key"),
    ("tlscacert", "PATH", "Whose clients are taken"),
    (
        "log-level",
        "LEVEL",
        "Of buildkitd and gateway [env: BUILDKITD_LOG_LEVEL]",
    ),
    (
        "log-format",
        "FORMAT",
        "Of both: text or json [env: BUILDKIT_GHA_LOG_FORMAT]",
    ),
    ("debug", "", "The same as --log-level=debug"),
];

const AFTER: &str = "\
BUILDKIT_GHA_TOKEN holds the token for the cache service that BUILDKIT_GHA_URL names; both together \
win over the attributes of entries, and one of them alone is ignored. The token has no flag, since everybody on the machine can read a command line.

All other flags are buildkitd's and are passed on to it as they are: `buildkitd --help` lists them.";

/// The command as people read of it.
pub fn documented() -> Command {
    let mut command = Command::new("gateway")
        .about(
            "Listens where buildkitd would listen, runs stock buildkitd behind it, and takes over \
             the type=gha cache entries of builds",
        )
        .override_usage("buildkit-gha gateway [FLAGS OF THE GATEWAY AND OF BUILDKITD]")
        .after_help(AFTER)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .version(version());
    for setting in SETTINGS.iter().filter(|setting| setting.has_flag) {
        if setting.flag() == "log-format" {
            continue;
        }
        let mut help = format!("{} [env: {}]", setting.help, setting.variable());
        let default = setting.default();
        if !default.is_empty() {
            help = format!("{help} [default: {default}]");
        }
        let flag = setting.flag();
        let arg = Arg::new(flag.clone()).long(flag).value_name(setting.value);
        command = command.arg(arg.help(help).help_heading("Flags of the gateway"));
    }
    for (name, value, help) in SHARED {
        let arg = Arg::new(name).long(name).help(help);
        let arg = if value.is_empty() {
            arg.action(ArgAction::SetTrue)
        } else {
            arg.value_name(value)
        };
        command = command.arg(arg.help_heading("Flags of buildkitd that the gateway reads, too"));
    }
    command
        .arg(
            Arg::new("help")
                .long("help")
                .short('h')
                .action(ArgAction::Help)
                .help("Print this help"),
        )
        .arg(
            Arg::new("version")
                .long("version")
                .short('v')
                .action(ArgAction::Version)
                .help("Print the version"),
        )
}

/// The text of `gateway --help`.
pub fn help() -> StyledStr {
    documented().render_help()
}
