//! The wire editor: an edit changes only what it names, and unknown bytes survive.

use buildkit_gha::wire::{Edit, Field, Fields, WireError, append, edit, last, map_get};

/// The first byte chooses the edit, the second the field it is for; the rest is the message.
pub fn body(data: &[u8]) {
    let Some(([choice, number], message)) = data.split_first_chunk() else {
        return;
    };
    let number = u32::from(*number);
    let kept = edit::<WireError>(message, |_| Ok(Edit::Keep));
    let Ok(fields) = Fields::new(message).collect::<Result<Vec<_>, _>>() else {
        assert!(kept.is_err(), "what cannot be walked cannot be edited");
        return;
    };
    assert_eq!(kept.as_deref(), Ok(message), "nothing is named");
    finds_what_is_there(message, number, &fields);
    edits_what_is_named(message, number, &chosen(*choice), &fields);
}

fn chosen(choice: u8) -> Edit {
    let payload = vec![choice; usize::from(choice)];
    match choice % 4 {
        0 => Edit::Remove,
        1 => Edit::Replace(payload),
        2 => Edit::Spread(vec![payload, Vec::new()]),
        _ => Edit::Spread(Vec::new()),
    }
}

fn finds_what_is_there(message: &[u8], number: u32, fields: &[Field<'_>]) {
    let expected = fields.iter().rfind(|field| field.number == number);
    assert_eq!(
        last(message, number).as_ref().map(Option::as_ref),
        Ok(expected)
    );
    // Whether it is a map depends on the message; it must only not panic.
    let _ = map_get(message, number, "key");
}

fn edits_what_is_named(message: &[u8], number: u32, chosen: &Edit, fields: &[Field<'_>]) {
    let mut expected = Vec::new();
    for field in fields {
        match chosen {
            _ if field.number != number => expected.extend(&message[field.range.clone()]),
            Edit::Keep | Edit::Remove => {}
            Edit::Replace(payload) => append(&mut expected, number, payload),
            Edit::Spread(payloads) => {
                for payload in payloads {
                    append(&mut expected, number, payload);
                }
            }
        }
    }
    let decide = |field: &Field<'_>| {
        Ok::<_, WireError>(if field.number == number {
            chosen.clone()
        } else {
            Edit::Keep
        })
    };
    assert_eq!(edit(message, decide).as_ref(), Ok(&expected));
    let walked = Fields::new(&expected).collect::<Result<Vec<_>, _>>();
    assert!(walked.is_ok(), "what was edited can be walked");
}
