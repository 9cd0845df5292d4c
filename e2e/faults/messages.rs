//! What users read first, each line once.

use std::{fmt::Write as _, sync::LazyLock};

use regex::Regex;

use super::observation::Observation;

/// One line, and what stood below it or in its place.
struct Line {
    /// What differs from run to run is left out, and so is the reason.
    text: String,
    /// The word of the first build whose user read it.
    word: &'static str,
    reasons: Vec<String>,
}

/// All lines so far.
#[derive(Default)]
pub struct Messages(Vec<Line>);

/// Reasons that are listed for one line; the others are like these.
const MAX_REASONS: usize = 6;

impl Messages {
    /// The number of the line that the user of this build read, from 1.
    pub fn number(&mut self, word: &'static str, seen: &Observation) -> Option<usize> {
        let message = scrubbed(seen.message.as_deref()?);
        let (text, reason) = apart(&message);
        let known = self.0.iter().position(|line| line.text == text);
        let index = known.unwrap_or_else(|| {
            let reasons = Vec::new();
            self.0.push(Line {
                text,
                word,
                reasons,
            });
            self.0.len() - 1
        });
        let reasons = &mut self.0[index].reasons;
        if let Some(reason) = reason
            && !reasons.contains(&reason)
        {
            reasons.push(reason);
        }
        Some(index + 1)
    }

    /// The lines in their order.
    pub fn listing(&self) -> String {
        let mut listing = String::new();
        for (index, line) in self.0.iter().enumerate() {
            let _ = writeln!(listing, "{}. `{}`: {}", index + 1, line.word, line.text);
            for reason in line.reasons.iter().take(MAX_REASONS) {
                let _ = writeln!(listing, "   - {reason}");
            }
            if line.reasons.len() > MAX_REASONS {
                let more = line.reasons.len() - MAX_REASONS;
                let _ = writeln!(listing, "   - and {more} more like these");
            }
        }
        listing
    }
}

/// Behind these a line says why.
const BEFORE_REASON: &str = "commit failed: |could not be fetched: |its step runs again: \
     |will run again: |stays in use: |goes on without it: |no use of the index index-…: ";

static REASON: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = format!("({BEFORE_REASON})(sha256:…: )?(.*?)(; the next build.*|$)");
    Regex::new(&pattern).expect("a pattern")
});

/// A line, and the reason that stands in its middle or at its end.
fn apart(line: &str) -> (String, Option<String>) {
    match REASON.captures(line) {
        Some(found) => {
            let text = REASON.replace(line, "${1}${2}<reason>${4}").into_owned();
            (text, Some(found[3].to_owned()))
        }
        None => (line.to_owned(), None),
    }
}

/// What differs from run to run, and what stands in its place.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let varying = [
        (r"sha256:[0-9a-f]{64}", "sha256:…"),
        (r"https?://127[^ \x22]*[^ \x22:;]", "http://…"),
        (r"index-[a-z]+-1-[0-9a-f]{8}", "index-…"),
        (r"[a-z0-9]{25}", "…"),
        (r"\b\d+\.\d+ s", "N s"),
        (r"\b\d+ (of \d+ layers|could not|bytes)", "N $1"),
        (r"\bof \d+ layers", "of N layers"),
        // A client repeats its own error behind the address that it got it from.
        (r" for http://…$", ""),
    ];
    let compiled = varying.map(|(pattern, to)| (Regex::new(pattern).expect("a pattern"), to));
    compiled.into()
});

/// A line without what differs from run to run.
fn scrubbed(line: &str) -> String {
    VARYING.iter().fold(line.to_owned(), |text, (from, to)| {
        from.replace_all(&text, *to).into_owned()
    })
}
