//! The summary of a GitHub job: a headline, a table of builds, and what folds out of sight.
//!
//! Names of steps and scopes are others' texts: what Markdown or HTML would read in them is written
//! as character references.

use super::{
    document::{Build, Stats},
    summary::{self, Totals},
    text::{count, line, sentence},
};

/// Rows of each list. GitHub takes 1 MiB of summary from a step, and people read less.
const MAX_ROWS: usize = 100;

const HEAD: &str = "
| Build | Steps cached | Time saved | Cache from (layers) | Cache to (layers) | Duration |
|:--|--:|--:|:--|:--|--:|
";

/// All of it.
pub(super) fn render(stats: &Stats) -> String {
    let mut text = format!("### Docker build cache: {}\n", headline(stats));
    if !stats.builds.is_empty() {
        text += HEAD;
        // The newest is first in the document; a job's log is read from the top.
        text.extend(stats.builds.iter().rev().map(row));
    }
    if stats.pending_exports > 0 {
        let exports = count(stats.pending_exports, "cache export");
        text.extend([
            "\n**",
            &exports,
            " still pending**: what the builder had not written when this summary was made is lost if the \
             builder is removed before it is.\n",
        ]);
    }
    text += &warnings(stats);
    text += &missed(stats);
    text
}

fn headline(stats: &Stats) -> String {
    match Totals::of(stats) {
        Some(totals) => totals.headline(),
        None if stats.builds.is_empty() => "no build has run".to_owned(),
        None => count(stats.builds.len(), "build"),
    }
}

fn row(build: &Build) -> String {
    let entries = |entries: Vec<(String, String)>| {
        let entries = entries.iter().map(|(scope, what)| {
            let scope = code(scope);
            if what.is_empty() {
                return scope;
            }
            format!("{scope} {}", escape(what))
        });
        entries.collect::<Vec<_>>().join("<br>")
    };
    let outcome = match summary::outcome(build) {
        "ok" => String::new(),
        outcome => format!(" **{outcome}**"),
    };
    format!(
        "| {}{outcome} | {} | {} | {} | {} | {} |\n",
        code(&summary::short_ref(build)),
        summary::steps(build),
        summary::saved(build),
        entries(build.imports.iter().map(summary::import).collect()),
        entries(build.exports.iter().map(summary::export).collect()),
        summary::duration(build),
    )
}

/// What was lost, which is read first.
fn warnings(stats: &Stats) -> String {
    let warnings = in_order(stats, |build| &build.warnings);
    let rows = warnings.iter().map(|(build, warning)| {
        let build = code(&summary::short_ref(build));
        format!("- {build} {}\n", escape(&sentence(warning)))
    });
    folded("warning", "", rows.collect(), "\n")
}

fn missed(stats: &Stats) -> String {
    let missed = in_order(stats, |build| &build.missed);
    let rows = missed.iter().map(|(build, missed)| {
        let reason = missed.reason.as_deref().unwrap_or_default();
        format!(
            "| {} | {} | {} |\n",
            code(&summary::short_ref(build)),
            code(&line(&missed.step)),
            escape(&sentence(reason))
        )
    });
    let head = "\n| Build | Step | Why it ran |\n|:--|:--|:--|\n";
    folded("step", " missed the cache", rows.collect(), head)
}

/// What builds have of a kind, the oldest first.
fn in_order<T>(stats: &Stats, of: fn(&Build) -> &Vec<T>) -> Vec<(&Build, &T)> {
    let builds = stats.builds.iter().rev();
    let all = builds.flat_map(|build| of(build).iter().map(move |one| (build, one)));
    all.collect()
}

/// Rows that unfold, below `head`; nothing where there are none.
fn folded(noun: &str, what: &str, rows: Vec<String>, head: &str) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let all = rows.len();
    let title = count(all, noun);
    let shown: String = rows.into_iter().take(MAX_ROWS).collect();
    let rest = match all.saturating_sub(MAX_ROWS) {
        0 => String::new(),
        rest => format!("\nand {rest} more: `buildkit-gha stats -o json` has all\n"),
    };
    format!("\n<details>\n<summary>{title}{what}</summary>\n{head}{shown}{rest}\n</details>\n")
}

fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("<code>{}</code>", escape(text))
}

/// The text as it is, whatever Markdown and HTML would make of it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(
            c,
            '&' | '<'
                | '>'
                | '|'
                | '`'
                | '*'
                | '_'
                | '~'
                | '['
                | ']'
                | '\\'
                | '#'
                | '@'
                | '$'
                | '!'
                | '"'
        ) {
            escaped.extend(["&#", &u32::from(c).to_string(), ";"]);
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Missed, summary::tests::sample};

    #[test]
    fn the_summary_says_what_the_cache_was_worth_and_what_was_lost() {
        let expected = "\
### Docker build cache: 12 of 17 steps cached, about 5m40s saved

| Build | Steps cached | Time saved | Cache from (layers) | Cache to (layers) | Duration |
|:--|--:|--:|:--|:--|--:|
| <code>x</code> **running** |  |  |  |  |  |
| <code>k3jm0fz9qx1c</code> | 12 of 17 | 5m40s | <code>app</code> from main, 3 fetched (12.3 MB), 1 gone | <code>app</code> written, 4 sent (210 MB), 30 already there | 1m12s |

**1 cache export still pending**: what the builder had not written when this summary was made is lost if the builder is removed before it is.

<details>
<summary>1 warning</summary>

- <code>k3jm0fz9qx1c</code> cache export: 1 of 34 layers &#124; left &#60;out&#62; &#91;2J

</details>

<details>
<summary>1 step missed the cache</summary>

| Build | Step | Why it ran |
|:--|:--|:--|
| <code>k3jm0fz9qx1c</code> | <code>&#91;2/5&#93; COPY . .</code> | its content changed |

</details>
";
        assert_eq!(render(&sample()), expected);
    }

    #[test]
    fn a_summary_is_bounded_and_holds_no_markup_of_others() {
        let mut stats = sample();
        let missed = Missed {
            step: "RUN echo '</code></td></table><script>' \"`x`\" | tee [a](b) \n# title"
                .to_owned(),
            reason: None,
        };
        stats.builds[0].missed = vec![missed; 1000];
        let text = render(&stats);
        assert!(text.contains("and 900 more"), "{text}");
        assert!(text.len() < 100_000, "{}", text.len());
        assert!(!text.contains("<script") && !text.contains("[a]"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with('#')).count(), 1);
    }

    #[test]
    fn nothing_to_say_is_said() {
        let text = render(&Stats::default());
        assert_eq!(text, "### Docker build cache: no build has run\n");
    }
}
