//! Numbers and foreign texts as people read them.

use std::time::Duration;

use crate::units::duration;

/// The longest name that is shown: a line of a Dockerfile may be a whole script.
const MAX_NAME: usize = 200;

/// The longest sentence: a warning ends with its reason.
const MAX_SENTENCE: usize = 500;

/// Seconds as Go writes them, with no more than two units: `5m40s`, `1h2m`, `3.2s`.
pub(super) fn seconds(seconds: f64) -> String {
    duration::short(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A count and its noun.
pub(super) fn count(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A name that others gave in one line, without what a terminal would obey.
pub(super) fn line(text: &str) -> String {
    cut(text, MAX_NAME)
}

/// The same of what people are to read to its end.
pub(super) fn sentence(text: &str) -> String {
    cut(text, MAX_SENTENCE)
}

fn cut(text: &str, max: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = words.chars().filter(|c| !is_control(*c));
    let mut line: String = shown.clone().take(max).collect();
    if shown.count() > max {
        line.push('…');
    }
    line
}

/// Control characters, and those that turn the direction of what follows.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (time, text) in [
            (0.0, "0.0s"),
            (3.24, "3.2s"),
            (59.94, "59.9s"),
            (59.96, "1m"),
            (340.1, "5m40s"),
            (3_720.0, "1h2m"),
            (7_205.0, "2h"),
        ] {
            assert_eq!(seconds(time), text);
        }
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(0, "step"), "0 steps");
    }

    #[test]
    fn a_foreign_text_is_one_line_that_no_terminal_obeys() {
        let text = "RUN echo \u{1b}[31mred\u{7}\n\n  && \u{202e}exit";
        assert_eq!(line(text), "RUN echo [31mred && exit");
        let long = line(&"x".repeat(1000));
        assert_eq!(long.chars().count(), MAX_NAME + 1);
        assert_eq!(sentence(&"x".repeat(400)).len(), 400);
    }
}
