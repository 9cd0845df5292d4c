//! `buildkit-gha drain`: waits until a running gateway has written its exports.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};

use super::{
    admin_socket::AdminSocket,
    exit::{fail, usage},
    logging::Logging,
};
use crate::{
    config::Env,
    stats::{DrainState, DrainStatus},
    units::duration,
};

/// How often a log has a line of what is waited for: it changes many times a second.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Waits until a running gateway has written the index of every export that has begun. Builds go on
/// meanwhile. The exit code is 1 if exports failed.
#[derive(Debug, Args)]
pub struct Drain {
    /// How long to wait; what is pending then goes on, and the exit code is 1.
    #[arg(long, value_name = "DURATION", default_value = "300s", value_parser = duration::parse)]
    timeout: Duration,

    /// How to show how it ended: text or json.
    #[arg(
        long,
        short = 'o',
        visible_alias = "output",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    format: Format,

    #[command(flatten)]
    admin_socket: AdminSocket,

    #[command(flatten)]
    pub(super) logging: Logging,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

impl Drain {
    pub fn run(&self, env: &Env) -> ExitCode {
        let client = match self.admin_socket.client(env) {
            Ok(client) => client,
            Err(error) => return usage(&error),
        };
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
        let mut shown = Shown::default();
        let drained = runtime.block_on(client.drain(self.timeout, |status| shown.update(status)));
        shown.end();
        if let (Format::Json, Ok(status)) = (self.format, &drained) {
            print!("{}", status.to_json());
        }
        match drained {
            Ok(status) => self.end(&status),
            Err(error) => fail(&error),
        }
    }

    /// Says how it ended.
    fn end(&self, status: &DrainStatus) -> ExitCode {
        let left = (status.state != DrainState::Drained).then(|| {
            let timeout = duration::display(self.timeout);
            format!("not drained within {timeout}: {}", status.describe())
        });
        let wrong: Vec<_> = left.into_iter().chain(status.describe_failed()).collect();
        if !wrong.is_empty() {
            return fail(&wrong.join("; "));
        }
        if self.format == Format::Text {
            println!("all cache exports are written");
        }
        ExitCode::SUCCESS
    }
}

/// What is shown of a drain that goes on: one line that changes on a terminal, a line now and then elsewhere.
#[derive(Default)]
struct Shown {
    last: Option<(Instant, String)>,
    unfinished: bool,
}

impl Shown {
    fn update(&mut self, status: &DrainStatus) {
        if status.state != DrainState::Waiting {
            return;
        }
        let text = format!("waiting for {}", status.describe());
        let mut to = stderr();
        if let Some((at, last)) = &self.last {
            let too_soon = !to.is_terminal() && at.elapsed() < LINE_INTERVAL;
            if *last == text || too_soon {
                return;
            }
        }
        // Nobody reads it who has closed it.
        let _ = if to.is_terminal() {
            self.unfinished = true;
            write!(to, "\r\u{1b}[K{text}").and_then(|()| to.flush())
        } else {
            writeln!(to, "{text}")
        };
        self.last = Some((Instant::now(), text));
    }

    fn end(&mut self) {
        if self.unfinished {
            let _ = write!(stderr(), "\r\u{1b}[K");
        }
    }
}
