//! Imports as a frontend reads them: `[{"Type":"gha","Attrs":{"scope":"main"}}]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Edit, Entry};

/// BuildKit's names of the fields. It reads them without regard to case.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Import {
    #[serde(default, alias = "type")]
    r#type: String,
    #[serde(default, alias = "attrs")]
    attrs: Option<BTreeMap<String, String>>,
}

impl From<Import> for Entry {
    fn from(import: Import) -> Self {
        Self {
            kind: import.r#type,
            attrs: import.attrs.unwrap_or_default(),
        }
    }
}

/// The imports, or none where the text is not what BuildKit reads: it says so itself.
pub(super) fn read(json: &str) -> Vec<Entry> {
    elements(json)
        .unwrap_or_default()
        .into_iter()
        .filter_map(entry)
        .collect()
}

/// The text with its imports rewritten, or None if it stays as it is. Elements that are kept, or
/// that are no imports, keep their text.
pub(super) fn edit(json: &str, import: &mut impl FnMut(&Entry) -> Edit) -> Option<String> {
    let mut changed = false;
    let mut kept: Vec<Box<RawValue>> = Vec::new();
    for element in elements(json)? {
        match entry(element).map_or(Edit::Keep, |entry| import(&entry)) {
            Edit::Keep => kept.push(element.to_owned()),
            Edit::Replace(entries) => {
                changed = true;
                kept.extend(entries.into_iter().map(element_of));
            }
        }
    }
    let text = || serde_json::to_string(&kept).expect("raw JSON in a list is always JSON");
    changed.then(text)
}

/// The text with one more import, or None where it is not what BuildKit reads.
pub(super) fn add(json: &str, import: Entry) -> Option<String> {
    let mut all: Vec<Box<RawValue>> = elements(json)?.into_iter().map(ToOwned::to_owned).collect();
    all.push(element_of(import));
    serde_json::to_string(&all).ok()
}

fn element_of(mut entry: Entry) -> Box<RawValue> {
    let import = Import {
        r#type: std::mem::take(&mut entry.kind),
        attrs: Some(std::mem::take(&mut entry.attrs)),
    };
    serde_json::value::to_raw_value(&import).expect("text and a map of texts are always JSON")
}

fn elements(json: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json).ok()
}

fn entry(element: &RawValue) -> Option<Entry> {
    let import: Import = serde_json::from_str(element.get()).ok()?;
    Some(import.into())
}
