//! What people see while a command works: one line of standard error that is drawn over again, on a
//! terminal only; and waits, anywhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    actions::{Call, Hold, Observer, WaitGuard},
    units::human,
};

/// How often the line is drawn: faster is not read, and costs.
const REDRAW: Duration = Duration::from_millis(100);

/// The bar's cells.
const CELLS: usize = 24;

/// A wait that is shorter is not worth a line in a log.
const WORTH_TELLING: Duration = Duration::from_secs(5);

/// Erases the line and goes to its begin.
const CLEAR: &str = "\r\x1b[2K";

/// The line.
pub struct Progress {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    drawn: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Draws if standard error is a terminal.
    pub fn stderr() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            state: Mutex::default(),
        }
    }

    /// So many of so many things are done.
    pub fn count(&self, what: &str, done: u64, total: u64) {
        self.draw(done >= total, || {
            format!("{what} {} {done}/{total}", bar(done, total))
        });
    }

    /// So many of so many bytes are done, in this part of the work.
    pub fn bytes(&self, what: &str, part: &str, done: u64, total: u64) {
        self.draw(done >= total, || {
            let (bar, done, total) = (bar(done, total), human::size(done), human::size(total));
            format!("{what} {bar} {done} / {total}  {part}")
        });
    }

    fn draw(&self, last: bool, text: impl FnOnce() -> String) {
        if !self.terminal {
            return;
        }
        let mut state = self.state.lock();
        if !last && state.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        state.drawn = Some(Instant::now());
        state.shown = true;
        // Nobody can be told that nobody can be told.
        let _ = write!(io::stderr(), "{CLEAR}{}", text());
    }

    /// Takes the line away, so that something else can be printed.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.shown) {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}

fn bar(done: u64, total: u64) -> String {
    let cells = CELLS as u64;
    let full = done.min(total).saturating_mul(cells) / total.max(1);
    let full = usize::try_from(full).unwrap_or(CELLS);
    format!("[{}{}]", "#".repeat(full), "-".repeat(CELLS - full))
}

impl Observer for Progress {
    fn waiting(&self, call: Call, _: Hold, wait: Duration, why: &str) -> WaitGuard {
        let seconds = wait.as_secs_f64().ceil();
        if self.terminal {
            self.draw(true, || format!("{call}: waiting {seconds} s ({why})"));
        } else if wait >= WORTH_TELLING {
            eprintln!("{call}: waiting {seconds} s ({why})");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_one_length() {
        for (done, total) in [(0, 0), (0, 7), (3, 7), (7, 7), (9, 7)] {
            assert_eq!(bar(done, total).len(), CELLS + 2, "{done} of {total}");
        }
        assert!(bar(7, 7).chars().all(|c| c != '-'));
    }
}
