//! A terminal in which a client runs, as a user has one: tmux draws it.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{Lab, SOON, command, run};

/// Columns and rows of the terminal.
pub const SIZE: (u16, u16) = (120, 30);

/// How often the screen is looked at: clients draw it about as often.
const FRAME: Duration = Duration::from_millis(100);

/// How long the last screen stands after the client has ended.
const LAST: Duration = Duration::from_secs(2);

/// A terminal; dropping it ends what runs there.
pub struct Terminal {
    lab: Arc<Lab>,
    socket: PathBuf,
    ended: PathBuf,
}

/// What a client has shown.
pub struct Screens {
    /// Every screen that differs from the one before, in their order.
    pub frames: Vec<String>,
    /// True if the client exited with 0.
    pub success: bool,
}

impl Screens {
    /// The last one.
    pub fn last(&self) -> &str {
        self.frames.last().expect("something was shown")
    }

    /// The middle one of those that have this text.
    pub fn middle(&self, text: &str) -> Option<&str> {
        let with: Vec<_> = (self.frames.iter()).filter(|f| f.contains(text)).collect();
        with.get(with.len() / 2).map(|frame| frame.as_str())
    }
}

impl Terminal {
    /// Runs a client in a terminal of its own to its end, and looks on.
    pub fn watch(lab: &Arc<Lab>, name: &str, client: &Command, within: Duration) -> Screens {
        let terminal = Self::start(lab, name, client);
        let deadline = Instant::now() + within;
        let mut frames: Vec<String> = Vec::new();
        loop {
            let ended = terminal.ended.exists();
            let frame = terminal.capture();
            if !frame.is_empty() && frames.last() != Some(&frame) {
                frames.push(frame);
            }
            if ended {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{name} takes longer than {within:?}"
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "tmux announces nothing: pictures are taken at a rate"
            )]
            thread::sleep(FRAME);
        }
        let status = fs::read_to_string(&terminal.ended).expect("the client's status");
        Screens {
            frames,
            success: status.trim() == "0",
        }
    }

    fn start(lab: &Arc<Lab>, name: &str, client: &Command) -> Self {
        let terminal = Self {
            lab: Arc::clone(lab),
            socket: lab.path(format!("{name}.tmux")),
            ended: lab.path(format!("{name}.ended")),
        };
        let script = lab.path(format!("{name}.sh"));
        fs::write(&script, terminal.script(client)).expect("write a script");
        let (columns, rows) = (SIZE.0.to_string(), SIZE.1.to_string());
        let mut start = terminal.tmux();
        start.args(["-f", "/dev/null", "new-session", "-d"]);
        start.args(["-x", &columns, "-y", &rows]);
        start.arg(format!("sh {}", script.display()));
        run(lab, "tmux", start, SOON).ok("tmux");
        terminal
    }

    /// The client with its environment, its status, and a moment to look at the last screen.
    fn script(&self, client: &Command) -> String {
        let mut script = String::from("exec env -i TERM=screen-256color");
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        for (name, value) in client.get_envs() {
            let value = value.unwrap_or_default().to_string_lossy();
            let _ = write!(script, " {}={}", name.to_string_lossy(), quoted(&value));
        }
        let words = std::iter::once(client.get_program()).chain(client.get_args());
        let words: Vec<_> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        let (words, ended, last) = (words.join(" "), self.ended.display(), LAST.as_secs());
        let inner = format!(
            "{words}; echo $? > {ended}.part; sleep 0.5; mv {ended}.part {ended}; sleep {last}"
        );
        let _ = write!(script, " sh -c {}", quoted(&inner));
        script
    }

    fn capture(&self) -> String {
        let mut capture = self.tmux();
        capture.args(["capture-pane", "-p"]);
        let screen = capture
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default();
        String::from_utf8_lossy(&screen).trim_end().to_owned()
    }

    fn tmux(&self) -> Command {
        let mut tmux = command(&self.lab, "tmux");
        // Without it tmux draws no character beyond ASCII.
        tmux.env("LC_ALL", "C.UTF-8").arg("-S").arg(&self.socket);
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
