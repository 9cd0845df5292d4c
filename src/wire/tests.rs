use super::*;

/// Deterministic noise, so that a failure can be run again.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A varint of `value` with up to `extra` bytes that say nothing.
    fn long_varint(&mut self, out: &mut Vec<u8>, value: u64, extra: u64) {
        let start = out.len();
        varint(out, value);
        let room = MAX_VARINT_BYTES - (out.len() - start);
        for _ in 0..self.below(extra + 1).min(room as u64) {
            *out.last_mut().unwrap() |= 0x80;
            out.push(0);
        }
    }

    fn message(&mut self, depth: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.below(8) {
            let number = 1 + self.below(20);
            let kind = [0, 1, 2, 3, 5][usize::try_from(self.below(5)).unwrap()];
            self.long_varint(&mut out, number << 3 | kind, 3);
            match kind {
                0 => {
                    let value = self.below(u64::MAX);
                    self.long_varint(&mut out, value, 2);
                }
                1 => out.extend([7; 8]),
                2 => {
                    let inner = if depth > 0 {
                        self.message(depth - 1)
                    } else {
                        vec![9; 5]
                    };
                    self.long_varint(&mut out, inner.len() as u64, 3);
                    out.extend(inner);
                }
                3 => {
                    if depth > 0 {
                        out.extend(self.message(depth - 1));
                    }
                    self.long_varint(&mut out, number << 3 | 4, 1);
                }
                _ => out.extend([5; 4]),
            }
        }
        out
    }
}

fn keep(message: &[u8]) -> Result<Vec<u8>, WireError> {
    edit(message, |_| Ok(Edit::Keep))
}

#[test]
fn an_edit_that_keeps_all_gives_the_same_bytes() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut longest = 0;
    for _ in 0..2_000 {
        let message = noise.message(4);
        longest = longest.max(message.len());
        assert_eq!(keep(&message).as_deref(), Ok(message.as_slice()));
        let fields: Vec<_> = Fields::new(&message).map(Result::unwrap).collect();
        let covered: usize = fields.iter().map(|f| f.range.len()).sum();
        assert_eq!(covered, message.len());
    }
    assert!(longest > 100, "the noise made only tiny messages");
}

#[test]
fn a_cut_or_spoilt_message_is_an_error_or_a_message_never_a_panic() {
    let mut noise = Noise(42);
    for _ in 0..500 {
        let mut message = noise.message(3);
        for cut in 0..message.len() {
            if let Ok(bytes) = keep(&message[..cut]) {
                assert_eq!(bytes, &message[..cut]);
            }
        }
        if !message.is_empty() {
            let at = usize::try_from(noise.below(message.len() as u64)).unwrap();
            message[at] = u8::try_from(noise.below(256)).unwrap();
            let _ = keep(&message);
        }
    }
}

#[test]
fn a_replaced_field_leaves_its_neighbours_alone() {
    // Field 1 with an overlong tag and length, field 2, field 1 again, an unknown varint.
    let message = [
        0x8a, 0x80, 0x00, 0x81, 0x00, b'a', 0x12, 1, b'b', 0x0a, 1, b'c', 0xf8, 0x01, 0x80, 0x00,
    ];
    let edited = edit(&message, |field| {
        Ok::<_, WireError>(match field.number {
            2 => Edit::Replace(b"longer".to_vec()),
            _ => Edit::Keep,
        })
    })
    .unwrap();
    let mut expected = message[..6].to_vec();
    expected.extend(b"\x12\x06longer");
    expected.extend(&message[9..]);
    assert_eq!(edited, expected);
    assert_eq!(last(&message, 1).unwrap().unwrap().text(), Ok("c"));
    assert_eq!(last(&message, 3), Ok(None));
}

#[test]
fn a_removed_field_is_gone_and_a_nested_edit_fixes_the_lengths() {
    let mut inner = Vec::new();
    append(&mut inner, 1, b"x");
    append(&mut inner, 2, &[b'y'; 200]);
    let mut outer = Vec::new();
    append(&mut outer, 5, &inner);
    append(&mut outer, 6, b"z");
    let edited = edit(&outer, |field| {
        Ok::<_, WireError>(match field.number {
            5 => Edit::Replace(edit(field.payload()?, |f| {
                Ok::<_, WireError>(if f.number == 2 {
                    Edit::Remove
                } else {
                    Edit::Keep
                })
            })?),
            _ => Edit::Keep,
        })
    })
    .unwrap();
    assert_eq!(edited, b"\x2a\x03\x0a\x01x\x32\x01z");
}

#[test]
fn hostile_bytes_have_their_own_errors() {
    let mut deep = vec![0x0b; MAX_GROUP_DEPTH + 1];
    deep.extend(vec![0x0c; MAX_GROUP_DEPTH + 1]);
    let cases: [(&[u8], WireError); 11] = [
        (&[0x0a], WireError::Truncated),
        (&[0x0a, 5, 1], WireError::Truncated),
        (&[0x09, 1, 2, 3], WireError::Truncated),
        (
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            WireError::Truncated,
        ),
        (
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
            ],
            WireError::Varint,
        ),
        (&[0x80; 11], WireError::Varint),
        (&[0x02, 0], WireError::FieldNumber(0)),
        (&[0x0e], WireError::WireType(6)),
        (&[0x0c], WireError::Group),
        (&[0x0b, 0x14], WireError::Group),
        (&deep, WireError::Depth),
    ];
    for (bytes, error) in cases {
        assert_eq!(keep(bytes), Err(error), "{bytes:?}");
        assert_eq!(Fields::new(bytes).filter(Result::is_err).count(), 1);
    }
    let number = last(&[0x08, 1], 1).unwrap().unwrap();
    assert_eq!(number.payload(), Err(WireError::NotBytes(1)));
}

#[test]
fn map_entries_are_read_and_the_last_one_counts() {
    let mut message = Vec::new();
    append(&mut message, 7, &map_entry("a", "1"));
    append(&mut message, 7, &map_entry("b", ""));
    append(&mut message, 8, &map_entry("a", "other map"));
    append(&mut message, 7, &map_entry("a", "2"));
    append(&mut message, 7, b"\x12\x01v");
    assert_eq!(map_get(&message, 7, "a"), Ok(Some("2")));
    assert_eq!(map_get(&message, 7, "b"), Ok(Some("")));
    assert_eq!(map_get(&message, 7, ""), Ok(Some("v")));
    assert_eq!(map_get(&message, 7, "c"), Ok(None));
    append(&mut message, 7, b"\x0a\x01\xff");
    assert_eq!(map_get(&message, 7, "a"), Err(WireError::NotText(1)));
}
