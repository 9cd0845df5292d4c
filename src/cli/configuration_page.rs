//! `docs/CONFIGURATION.md`: every flag and variable, from the tables that the program itself reads.
//!
//! `make docs` writes the page, and a test of the command line fails while it is stale.

use std::{fmt::Write as _, process::ExitCode};

use clap::{Arg, ArgAction, Args, Command};

use super::gateway_help::SHARED;
use crate::config::settings::{SETTINGS, Setting};

/// The name of the command.
pub(super) const NAME: &str = "configuration-page";

/// The commands whose flags clap reads.
const CLAP_COMMANDS: [&str; 15] = [
    "serve",
    "serve migrate",
    "token",
    "token list",
    "token revoke",
    "stats",
    "drain",
    "ls",
    "inspect",
    "du",
    "prune",
    "verify",
    "doctor",
    "healthcheck",
    "content",
];

const HEAD: &str = "\
# Configuration

Written by `make docs` from the tables that the program reads: change those, not this page.

A flag wins over its variable, and an empty variable is as good as none. All that is wrong is reported in one run. A
`BUILDKIT_GHA_` variable that nobody knows is one warning at the start, with the nearest name. `gateway` reads
buildkitd.toml where buildkitd would look for it: addresses, TLS, `root`, and whether indexes are signed.

- A **duration** is written as in Go, with days: `90s`, `1m30s`, `1.5h`, `90d`.
- A **size** is written as in buildkitd.toml, in steps of 1024: `512MB`, `10GB`, `10GiB` are bytes.
- A share in **percent** is from `1%` to `100%`.
- A number of calls **per minute** is above 0, or `unlimited`.

The attributes of a `type=gha` entry are in [ATTRIBUTES.md](ATTRIBUTES.md).
";

/// Variables that are not ours, with what reads them.
const FOREIGN: [(&str, &str); 11] = [
    (
        "BUILDKITD_CONFIG",
        "buildkitd.toml, where `--config` does not say",
    ),
    (
        "BUILDKITD_LOG_LEVEL",
        "the level of the log, as with buildkitd, where no setting of our own says",
    ),
    (
        "GITHUB_API_URL",
        "the REST API that damaged entries are deleted through; set in jobs of GitHub",
    ),
    (
        "GITHUB_REPOSITORY",
        "`token`: whose entries the token sees; set in jobs of GitHub",
    ),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        "certificates that are trusted, in place of the system's",
    ),
    (
        "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY",
        "proxies to the cache service; never for a loopback address",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER",
        "a collector of traces: see [TRACES.md](TRACES.md), also for the others of `OTEL_EXPORTER_OTLP_`",
    ),
    (
        "OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG, OTEL_SDK_DISABLED",
        "which traces are recorded",
    ),
    (
        "OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES",
        "what the program calls itself in traces",
    ),
    (
        "USER, HOME",
        "whether and where a rootless buildkitd keeps its things",
    ),
    (
        "XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_RUNTIME_DIR",
        "the same",
    ),
];

/// Prints the page.
#[derive(Debug, Args)]
pub(super) struct ConfigurationPage;

impl ConfigurationPage {
    /// Prints it; `program` is the whole command line.
    pub(super) fn run(program: &Command) -> ExitCode {
        print!("{}", page(program));
        ExitCode::SUCCESS
    }
}

fn page(program: &Command) -> String {
    let mut page = HEAD.to_owned();
    page += "\n## `gateway`\n\n| flag | variable | default | what it sets | why this default |\n|---|---|---|---|---|\n";
    page.extend(SETTINGS.iter().map(setting_row));
    page += "\nFlags of buildkitd that the gateway reads, too; all others are passed on to buildkitd as they are:\n\n\
             | flag | what it sets |\n|---|---|\n";
    page.extend(SHARED.iter().map(|(name, value, help)| {
        let flag = format!("--{name} {value}");
        format!("| `{}` | {} |\n", flag.trim_end(), cell(help))
    }));
    for name in CLAP_COMMANDS {
        let mut words = name.split(' ');
        let Some(command) = words.try_fold(program, |command, word| command.find_subcommand(word))
        else {
            continue;
        };
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## `{name}`\n\n| flag | variable | default | what it sets |\n|---|---|---|---|\n"
        );
        let flags = command.get_arguments();
        let own = |arg: &&Arg| arg.get_long().is_some_and(|name| name != "help");
        page.extend(flags.filter(own).map(argument_row));
    }
    page += "\n## Variables of others\n\n| variable | what it sets |\n|---|---|\n";
    page.extend(FOREIGN.iter().map(|(names, help)| {
        let names: Vec<_> = names.split(", ").map(code).collect();
        format!("| {} | {help} |\n", names.join(", "))
    }));
    page
}

fn setting_row(setting: &Setting) -> String {
    let flag = format!("--{} {}", setting.flag(), setting.value);
    let flag = if setting.has_flag { &flag } else { "" };
    let cells = [
        code(flag),
        code(&setting.variable()),
        cell(&setting.default()),
        cell(setting.help),
        cell(setting.why),
    ];
    row(&cells)
}

fn argument_row(arg: &Arg) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let names = arg.get_value_names().filter(|_| takes_value);
    let value = names.and_then(<[_]>::first).map_or("", |name| name);
    let flag = format!("--{} {value}", arg.get_long().unwrap_or_default());
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let notes = Notes::split_off(&help);
    let variable = arg.get_env().and_then(|name| name.to_str());
    let defaults: Vec<_> = (arg.get_default_values().iter())
        .map(|value| value.to_string_lossy())
        .collect();
    let default = if arg.is_required_set() {
        "required".to_owned()
    } else if defaults.is_empty() {
        notes.default.to_owned()
    } else {
        defaults.join(" ")
    };
    let cells = [
        code(flag.trim_end()),
        code(variable.unwrap_or(notes.variable)),
        cell(&default),
        cell(notes.help),
    ];
    row(&cells)
}

/// What a help says in brackets at its end, where clap is not told of it.
struct Notes<'a> {
    help: &'a str,
    variable: &'a str,
    default: &'a str,
}

impl<'a> Notes<'a> {
    fn split_off(help: &'a str) -> Self {
        let split = |help: &'a str, open: &str, close: char| {
            let (help, note) = help.rsplit_once(open).unwrap_or((help, ""));
            (help, note.trim_end_matches(close).trim_matches('`'))
        };
        let (help, default) = if help.contains(" (default: ") {
            split(help, " (default: ", ')')
        } else {
            split(help, " [default: ", ']')
        };
        let (help, variable) = split(help, " [env: ", ']');
        Self {
            help,
            variable,
            default,
        }
    }
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A cell in which nothing ends the cell.
fn cell(text: &str) -> String {
    if text.is_empty() {
        return "–".to_owned();
    }
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    if text.is_empty() {
        return "–".to_owned();
    }
    format!("`{text}`")
}
