//! The layers of an index as a tree, each with the records that lead to it.

use std::rc::Rc;

use jiff::Timestamp;

use super::{InspectedIndex, InspectedLayer};
use crate::{
    maintenance::table::{Table, ago, short},
    units::human,
};

/// Deeper layers are no further to the right: images have some tens of layers, and a terminal has an edge.
const MAX_INDENTS: usize = 24;

/// Left of a row with others below it, and of the last one; each is as wide as what continues it.
const FURTHER: &str = "├─ ";
const LAST: &str = "└─ ";
const WIDTH: usize = 3;

/// Hex digits of a record's key that tell it from others.
const RECORD_DIGITS: usize = 12;

/// A row that is still to be printed.
struct Node {
    kind: Kind,
    /// What stands left of the branch.
    prefix: Rc<str>,
    branch: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Layer(usize),
    Record(usize),
}

pub(super) fn render(index: &InspectedIndex, now: Timestamp) -> String {
    let mut table = Table::new(&["LAYER", "SIZE", "LAST READ", "STATE"]);
    let children = children(index);
    let records = records(index);
    let roots = (0..index.layers.len()).filter(|at| index.layers[*at].parent.is_none());
    let root = |at| Node {
        kind: Kind::Layer(at),
        prefix: Rc::from(""),
        branch: "",
    };
    let mut open: Vec<_> = roots.map(root).collect();
    open.reverse();
    // With a stack of its own, since chains may be very long.
    while let Some(node) = open.pop() {
        let left = format!("{}{}", node.prefix, node.branch);
        let at = match node.kind {
            Kind::Record(at) => {
                table.row(record_row(&left, &index.records[at].digest));
                continue;
            }
            Kind::Layer(at) => at,
        };
        table.row(layer_row(&left, &index.layers[at], now));
        let leading = records[at].iter().map(|at| Kind::Record(*at));
        let above = children[at].iter().map(|at| Kind::Layer(*at));
        let prefix = node.prefix_of_children();
        let mut branch = LAST;
        for kind in leading.chain(above).collect::<Vec<_>>().into_iter().rev() {
            open.push(Node {
                kind,
                prefix: Rc::clone(&prefix),
                branch: std::mem::replace(&mut branch, FURTHER),
            });
        }
    }
    table.render()
}

impl Node {
    fn prefix_of_children(&self) -> Rc<str> {
        let depth = self.prefix.chars().count() / WIDTH;
        match self.branch {
            _ if depth >= MAX_INDENTS => Rc::clone(&self.prefix),
            FURTHER => format!("{}│  ", self.prefix).into(),
            LAST => format!("{}   ", self.prefix).into(),
            _ => Rc::clone(&self.prefix),
        }
    }
}

fn children(index: &InspectedIndex) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); index.layers.len()];
    for (at, layer) in index.layers.iter().enumerate() {
        if let Some(parent) = layer.parent {
            children[parent].push(at);
        }
    }
    children
}

fn records(index: &InspectedIndex) -> Vec<Vec<usize>> {
    let mut records = vec![Vec::new(); index.layers.len()];
    for (at, record) in index.records.iter().enumerate() {
        for layer in &record.layers {
            records[*layer].push(at);
        }
    }
    records
}

fn layer_row(left: &str, layer: &InspectedLayer, now: Timestamp) -> [String; 4] {
    let (last_read, state) = match &layer.entry {
        None => ("-".to_owned(), "gone"),
        Some(entry) if entry.never_read => ("never".to_owned(), "stored"),
        Some(entry) => (ago(entry.last_accessed_at, now), "stored"),
    };
    let name = format!("{left}{}", short(&layer.digest));
    [name, human::size(layer.size), last_read, state.to_owned()]
}

fn record_row(left: &str, digest: &str) -> [String; 4] {
    let digits = digest.trim_start_matches("sha256:").chars();
    let digits: String = digits.take(RECORD_DIGITS).collect();
    let name = format!("{left}record {digits}");
    [name, String::new(), String::new(), String::new()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Digest, maintenance::inspect::InspectedRecord};

    fn layer(name: &str, parent: Option<usize>) -> InspectedLayer {
        InspectedLayer {
            digest: Digest::sha256(name),
            parent,
            media_type: String::new(),
            size: 1000,
            entry: None,
        }
    }

    #[test]
    fn branches_are_drawn() {
        let record = InspectedRecord {
            digest: "sha256:0123456789abcdef".to_owned(),
            layers: vec![0],
            inputs: Vec::new(),
        };
        let index = InspectedIndex {
            scope: String::new(),
            git_ref: String::new(),
            key: String::new(),
            signed: false,
            created_at: Timestamp::UNIX_EPOCH,
            index_bytes: 0,
            layers: vec![
                layer("root", None),
                layer("left", Some(0)),
                layer("right", Some(0)),
                layer("top", Some(1)),
            ],
            records: vec![record],
            damaged: Vec::new(),
            unread: None,
        };
        let text = render(&index, Timestamp::UNIX_EPOCH);
        let name = |name: &str| short(&Digest::sha256(name));
        let drawn: Vec<_> = text
            .lines()
            .skip(1)
            .map(|line| line.split("   1kB").next())
            .collect();
        let expected = [
            name("root"),
            "├─ record 0123456789ab".to_owned(),
            format!("├─ {}", name("left")),
            format!("│  └─ {}", name("top")),
            format!("└─ {}", name("right")),
        ];
        let drawn: Vec<_> = drawn.into_iter().flatten().map(str::trim_end).collect();
        assert_eq!(drawn, expected, "{text}");
    }

    #[test]
    fn a_chain_of_a_thousand_layers_has_an_edge() {
        let layers = (0..1000_usize).map(|at| layer(&at.to_string(), at.checked_sub(1)));
        let index = InspectedIndex {
            scope: String::new(),
            git_ref: String::new(),
            key: String::new(),
            signed: false,
            created_at: Timestamp::UNIX_EPOCH,
            index_bytes: 0,
            layers: layers.collect(),
            records: Vec::new(),
            damaged: Vec::new(),
            unread: None,
        };
        let text = render(&index, Timestamp::UNIX_EPOCH);
        assert_eq!(text.lines().count(), 1001);
        assert!(text.lines().all(|line| line.chars().count() < 200));
    }
}
