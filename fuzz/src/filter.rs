//! containerd's filters: any text is refused or chooses, and quoted text is taken as it is.

use std::fmt::Write as _;

use buildkit_gha::content::Filter;

/// A filter up to the first byte 0, and the value of the field `name` after it.
pub fn body(data: &[u8]) {
    let (filter, value) = super::split_at_mark(data, 0);
    let (Ok(filter), Ok(value)) = (std::str::from_utf8(filter), std::str::from_utf8(value)) else {
        return;
    };
    let field = |path: &[String]| (path == ["name"]).then(|| value.to_owned());
    if let Ok(parsed) = Filter::parse(&[filter.to_owned()]) {
        let chosen = parsed.matches(field);
        let twice = [filter.to_owned(), filter.to_owned()];
        let twice = Filter::parse(&twice).expect("either is a filter");
        assert_eq!(twice.matches(field), chosen);
        let never = [filter.to_owned(), "missing".to_owned()];
        let never = Filter::parse(&never).expect("either is a filter");
        assert_eq!(never.matches(field), chosen, "one of two must hold");
    }
    let quoted = quoted(value);
    for (filter, holds) in [
        (format!("name=={quoted}"), true),
        (format!("name!={quoted}"), false),
    ] {
        let parsed = Filter::parse(&[filter]).expect("a quoted value");
        assert_eq!(parsed.matches(field), holds, "{quoted}");
    }
}

/// As Go's `strconv.Quote`, as far as a reader must understand it.
fn quoted(value: &str) -> String {
    let mut quoted = "\"".to_owned();
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            other if other.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
