//! A protobuf wire editor: finds, replaces and appends fields and leaves every other byte as it is.
//!
//! prost drops fields that it does not know, so a message that only passes through is never
//! decoded and encoded again. [`Fields`] walks a message's top level, [`edit`] rewrites chosen
//! fields, and a nested message is the [`Field::payload`] of its field: edit it in the same way
//! and answer [`Edit::Replace`]. What is not touched keeps its bytes, odd encodings included.
//!
//! Input comes from anybody: lengths and varints are checked against what is there, groups are
//! skipped with a bound on their depth, and nothing is allocated on a length's word.

use std::ops::Range;

mod map;

pub use map::{MapEntry, map_entry, map_get};

/// Groups inside groups beyond this are refused, as protobuf's own parsers do at 100.
const MAX_GROUP_DEPTH: usize = 100;

/// The largest field number that protobuf allows.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// A varint has at most 10 bytes: 64 bits, 7 at a time.
const MAX_VARINT_BYTES: usize = 10;

/// Why bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The message ends inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// A varint with more than 64 bits.
    #[error("a number is longer than 64 bits")]
    Varint,
    /// A field number that protobuf does not allow.
    #[error("a field has the impossible number {0}")]
    FieldNumber(u64),
    /// Wire types 6 and 7 do not exist.
    #[error("a field has the unknown wire type {0}")]
    WireType(u64),
    /// A group that ends without a beginning, or with another one's number.
    #[error("a group ends where none began")]
    Group,
    /// Groups nested beyond all reason.
    #[error("groups are nested more than {MAX_GROUP_DEPTH} deep")]
    Depth,
    /// A field that should hold bytes or text has another wire type.
    #[error("field {0} does not hold bytes")]
    NotBytes(u32),
    /// A text field that is not UTF-8.
    #[error("field {0} is not UTF-8")]
    NotText(u32),
}

/// How a field's value is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// A variable-length number.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and that many bytes: bytes, text, messages, packed numbers.
    Bytes,
    /// A group: fields up to an end mark. Deprecated, but legal.
    Group,
    /// Four bytes.
    Fixed32,
}

/// One field of a message, as a view on the message's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number.
    pub number: u32,
    /// How its value is laid out.
    pub wire_type: WireType,
    /// Where the whole field is, tag included.
    pub range: Range<usize>,
    /// The value: what follows the tag, and for [`WireType::Bytes`] what follows the length.
    pub value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The bytes of a length-delimited field.
    pub fn payload(&self) -> Result<&'a [u8], WireError> {
        match self.wire_type {
            WireType::Bytes => Ok(self.value),
            _ => Err(WireError::NotBytes(self.number)),
        }
    }

    /// The text of a length-delimited field.
    pub fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.payload()?).map_err(|_| WireError::NotText(self.number))
    }

    /// True for a number other than 0, as which a `bool` is sent.
    pub fn is_true(&self) -> bool {
        const PAYLOAD_BITS: u8 = 0x7f;
        self.wire_type == WireType::Varint && self.value.iter().any(|b| b & PAYLOAD_BITS != 0)
    }
}

/// The fields of one message in their order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Walks `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.at;
        let mut cursor = Cursor {
            bytes: self.message,
            at: start,
        };
        let (number, tag) = cursor.tag()?;
        let wire_type = match tag {
            Tag::End => return Err(WireError::Group),
            Tag::Field(wire_type) => wire_type,
        };
        let value = cursor.value(number, wire_type)?;
        self.at = cursor.at;
        Ok(Field {
            number,
            wire_type,
            range: start..cursor.at,
            value: &self.message[value],
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.message.len();
        }
        Some(field)
    }
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Its bytes stay as they are.
    Keep,
    /// It stays where it is with this payload, as a length-delimited field of the same number.
    Replace(Vec<u8>),
    /// So many fields of the same number stand in its place, with these payloads.
    Spread(Vec<Vec<u8>>),
    /// It is left out.
    Remove,
}

/// Rewrites a message: `decide` is asked about every field, in order.
pub fn edit<E: From<WireError>>(
    message: &[u8],
    mut decide: impl FnMut(&Field<'_>) -> Result<Edit, E>,
) -> Result<Vec<u8>, E> {
    let mut out = Vec::with_capacity(message.len());
    for field in Fields::new(message) {
        let field = field?;
        match decide(&field)? {
            Edit::Keep => out.extend_from_slice(&message[field.range]),
            Edit::Replace(payload) => append(&mut out, field.number, &payload),
            Edit::Spread(payloads) => {
                for payload in payloads {
                    append(&mut out, field.number, &payload);
                }
            }
            Edit::Remove => {}
        }
    }
    Ok(out)
}

/// The last field with this number, which is the one that counts where only one is expected.
pub fn last(message: &[u8], number: u32) -> Result<Option<Field<'_>>, WireError> {
    let mut found = None;
    for field in Fields::new(message) {
        let field = field?;
        if field.number == number {
            found = Some(field);
        }
    }
    Ok(found)
}

/// Appends a length-delimited field.
pub fn append(message: &mut Vec<u8>, number: u32, payload: &[u8]) {
    const BYTES: u64 = 2;
    varint(message, u64::from(number) << 3 | BYTES);
    varint(message, payload.len() as u64);
    message.extend_from_slice(payload);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

enum Tag {
    Field(WireType),
    End,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for i in 0..MAX_VARINT_BYTES {
            let byte = *self.bytes.get(self.at).ok_or(WireError::Truncated)?;
            self.at += 1;
            // The tenth byte has room for one bit.
            if i == MAX_VARINT_BYTES - 1 && byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint)
    }

    fn tag(&mut self) -> Result<(u32, Tag), WireError> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > MAX_FIELD_NUMBER {
            return Err(WireError::FieldNumber(number));
        }
        let number = u32::try_from(number).map_err(|_| WireError::FieldNumber(number))?;
        let tag = match tag & 7 {
            0 => Tag::Field(WireType::Varint),
            1 => Tag::Field(WireType::Fixed64),
            2 => Tag::Field(WireType::Bytes),
            3 => Tag::Field(WireType::Group),
            4 => Tag::End,
            5 => Tag::Field(WireType::Fixed32),
            other => return Err(WireError::WireType(other)),
        };
        Ok((number, tag))
    }

    /// Where the value is; afterwards the cursor stands behind the field.
    fn value(&mut self, number: u32, wire_type: WireType) -> Result<Range<usize>, WireError> {
        let start = self.at;
        match wire_type {
            WireType::Varint => {
                self.varint()?;
            }
            WireType::Fixed64 => self.skip(8)?,
            WireType::Fixed32 => self.skip(4)?,
            WireType::Bytes => {
                let len = self.varint()?;
                let start = self.at;
                self.skip(len)?;
                return Ok(start..self.at);
            }
            WireType::Group => self.group(number)?,
        }
        Ok(start..self.at)
    }

    /// Walks to the end of a group with a stack of its own, so that depth costs no call stack.
    fn group(&mut self, number: u32) -> Result<(), WireError> {
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            match self.tag()? {
                (number, Tag::End) if number == innermost => {
                    open.pop();
                }
                (_, Tag::End) => return Err(WireError::Group),
                (_, Tag::Field(WireType::Group)) if open.len() == MAX_GROUP_DEPTH => {
                    return Err(WireError::Depth);
                }
                (number, Tag::Field(WireType::Group)) => open.push(number),
                (number, Tag::Field(wire_type)) => {
                    self.value(number, wire_type)?;
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, len: u64) -> Result<(), WireError> {
        let left = self.bytes.len() - self.at;
        let len = usize::try_from(len).map_err(|_| WireError::Truncated)?;
        if len > left {
            return Err(WireError::Truncated);
        }
        self.at += len;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
