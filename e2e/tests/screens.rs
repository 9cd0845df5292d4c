//! What a terminal shows of an export: few rows, a name that counts, one line at the end.

use std::collections::BTreeSet;

use crate::{
    harness::{BUILD, Build, Builder, Context, Daemon, Site, Terminal},
    proxy::{Link, Proxy},
    screens,
};

/// Rows of ours that a terminal may show at a time.
const MOST_ROWS: usize = 8;

/// Many layers, over a link on which they take some seconds.
const LAYERS: usize = 30;
const RATE: u32 = 5_000_000;

#[test]
fn a_terminal_shows_few_rows_of_an_export() {
    let site = Site::new();
    let daemon = Daemon::gateway(&site.lab, "gateway");
    let builder = Builder::remote(&daemon, "remote");
    let step = |layer| format!("RUN head -c 400000 /dev/urandom > /layer{layer}\n");
    let steps: String = (0..LAYERS).map(step).collect();
    let context = Context::with_shell(&site.lab, "layers", &steps);
    let link = Link {
        in_all: Some(RATE),
        ..Link::NONE
    };
    let proxy = Proxy::with_link(&site.service, link);
    let (url, token) = (proxy.url(), &site.token);
    let cache = format!("type=gha,url_v2={url},version=2,token={token},mode=max");
    let build = Build::new(&context).to(cache).progress("tty");
    let client = builder.command(&build);
    let screens = Terminal::watch(&site.lab, "terminal", &client, BUILD);
    assert!(screens.success, "{}", screens.last());
    let rows = |frame: &str| {
        let (_, below) = frame
            .rsplit_once("exporting to GitHub Actions Cache")
            .unwrap_or(("", ""));
        below
            .lines()
            .filter(|line| line.starts_with(" => => "))
            .count()
    };
    let most = screens.frames.iter().map(|frame| rows(frame)).max();
    assert!(
        most.is_some_and(|most| (2..=MOST_ROWS).contains(&most)),
        "{most:?}"
    );
    let counts = regex::Regex::new(r"Actions Cache \((\d+ of \d+ layers)").expect("a pattern");
    let counts: BTreeSet<_> = (screens.frames.iter())
        .filter_map(|frame| Some(counts.captures(frame)?[1].to_owned()))
        .collect();
    assert!(counts.len() > 2, "the name counts: {counts:?}");
    let sum = format!("=> => cache written: {} layers sent (", LAYERS + 2);
    assert!(screens.last().contains(&sum), "{}", screens.last());
}

#[test]
#[ignore = "writes docs/BUILD-LOG.md: make screens"]
fn all_screens() {
    screens::write();
}
