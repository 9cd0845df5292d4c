//! What the command line asks for.

use crate::plan::{self, Plan};

/// How much is run.
#[derive(Debug, Default)]
pub struct Options {
    quick: bool,
    only: Vec<String>,
    rounds: Option<usize>,
    page: bool,
}

impl Options {
    /// `--quick`, `--rounds N`, `--page`, and words that all must stand in the name of a row.
    pub fn from_args() -> Self {
        let mut options = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo says so to every bench.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--page" => options.page = true,
                "--rounds" => {
                    let rounds = words.next().and_then(|number| number.parse().ok());
                    options.rounds = Some(rounds.expect("--rounds has a number"));
                }
                _ => options.only.push(word),
            }
        }
        options
    }

    /// The rows to measure.
    pub fn plan(&self) -> Vec<Plan> {
        let mut plan = if self.quick {
            plan::quick()
        } else {
            plan::full()
        };
        plan.retain(|row| {
            let name = row.to_string();
            self.only.iter().all(|word| name.contains(word.as_str()))
        });
        if let Some(rounds) = self.rounds {
            for row in &mut plan {
                row.rounds = rounds;
            }
        }
        plan
    }

    /// True if the page is written: of all rows, or where that was asked for.
    pub fn writes_page(&self) -> bool {
        self.page || self.is_full()
    }

    fn is_full(&self) -> bool {
        !self.quick && self.only.is_empty() && self.rounds.is_none()
    }

    /// The name of the file with the figures.
    pub fn file(&self) -> &'static str {
        match (self.is_full(), self.quick) {
            (true, _) => "link.json",
            (false, true) => "link-quick.json",
            (false, false) => "link-some.json",
        }
    }
}
