//! Entries of a `map<string, string>`: on the wire, messages with a key (1) and a value (2).

use super::{Fields, WireError, append};

const KEY: u32 = 1;
const VALUE: u32 = 2;

/// One entry of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapEntry<'a> {
    /// Empty where the entry has none.
    pub key: &'a str,
    /// Empty where the entry has none.
    pub value: &'a str,
}

impl<'a> MapEntry<'a> {
    /// Reads the payload of a map field.
    pub fn read(payload: &'a [u8]) -> Result<Self, WireError> {
        let mut entry = Self { key: "", value: "" };
        for field in Fields::new(payload) {
            let field = field?;
            match field.number {
                KEY => entry.key = field.text()?,
                VALUE => entry.value = field.text()?,
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// The payload of a map field.
pub fn map_entry(key: &str, value: &str) -> Vec<u8> {
    let mut payload = Vec::with_capacity(key.len() + value.len() + 12);
    append(&mut payload, KEY, key.as_bytes());
    append(&mut payload, VALUE, value.as_bytes());
    payload
}

/// What a map holds under `key`. Of several entries the last one counts.
pub fn map_get<'a>(
    message: &'a [u8],
    number: u32,
    key: &str,
) -> Result<Option<&'a str>, WireError> {
    let mut found = None;
    for field in Fields::new(message) {
        let field = field?;
        if field.number == number {
            let entry = MapEntry::read(field.payload()?)?;
            if entry.key == key {
                found = Some(entry.value);
            }
        }
    }
    Ok(found)
}
