//! containerd's filter syntax, by which List and `ListStatuses` choose.
//!
//! A filter is a comma-separated list of selectors, all of which must hold; of several filters
//! one must hold, and no filter at all chooses everything.
//!
//! ```text
//! labels."containerd.io/gc.root"          the field is there
//! digest==sha256:…                        it is equal
//! labels.kind!=layer                      it is not equal, or not there
//! labels.name~=/^layer-[0-9]+$/           it matches a regular expression
//! ```
//!
//! The parts of a field path are letters, digits and `_`, or quoted with `"`. A value ends at a
//! comma or a space, or is quoted: with `"`, and after `~=` also with `/` or `|`. Inside quotes
//! Go's escapes `\a \b \f \n \r \t \v \\ \xHH \uHHHH \UHHHHHHHH` and the escaped quote are
//! understood (not the octal ones). A field that does not exist compares as the empty string,
//! except with `==`.

use std::{iter::Peekable, str::Chars};

use regex::{Regex, RegexBuilder};

use super::host::Error;

/// Most patterns of one request, and bytes of each once it is compiled: a few letters can ask for
/// megabytes, and clients send one or two patterns of some kilobytes.
const MAX_PATTERNS: usize = 16;
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A set of filters, of which one must match.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Empty matches everything.
    any: Vec<Vec<Selector>>,
}

#[derive(Debug, Clone)]
struct Selector {
    path: Vec<String>,
    condition: Condition,
}

#[derive(Debug, Clone)]
enum Condition {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

impl Filter {
    /// Parses all filters of a request.
    pub fn parse(filters: &[String]) -> Result<Self, Error> {
        let mut patterns = 0;
        let any = filters.iter().map(|text| {
            selectors(text, &mut patterns)
                .map_err(|reason| Error::InvalidArgument(format!("filter {text:?}: {reason}")))
        });
        Ok(Self {
            any: any.collect::<Result<_, _>>()?,
        })
    }

    /// True if something whose fields are found with `field` is chosen.
    pub fn matches(&self, field: impl Fn(&[String]) -> Option<String>) -> bool {
        let holds = |selector: &Selector| selector.condition.holds(field(&selector.path));
        self.any.is_empty() || self.any.iter().any(|all| all.iter().all(holds))
    }
}

impl Condition {
    fn holds(&self, value: Option<String>) -> bool {
        match self {
            Self::Present => value.is_some(),
            Self::Equal(wanted) => value.as_ref() == Some(wanted),
            Self::NotEqual(unwanted) => value.unwrap_or_default() != *unwanted,
            Self::Matches(pattern) => pattern.is_match(&value.unwrap_or_default()),
        }
    }
}

/// Why a text is no filter.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error("{0:?} where a comma or the end should be")]
    Trailing(char),
    #[error("{0:?} is not one of ==, != and ~=")]
    Operator(String),
    #[error("more than {MAX_PATTERNS} patterns")]
    TooManyPatterns,
    #[error(transparent)]
    Pattern(#[from] regex::Error),
    #[error("a field name is missing")]
    NoField,
    #[error("a value is missing after the operator")]
    NoValue,
    #[error("a quote is not closed")]
    OpenQuote,
    #[error("the last character escapes nothing")]
    OpenEscape,
    #[error("\\{0} is not an escape")]
    Escape(char),
    #[error("{0:?} is not the hexadecimal number of a character")]
    CodePoint(String),
}

type Parsed<T> = Result<T, FilterError>;

/// One filter; an empty one has no selectors and so matches everything.
fn selectors(text: &str, patterns: &mut usize) -> Parsed<Vec<Selector>> {
    let mut parser = Parser {
        text: text.chars().peekable(),
        patterns,
    };
    let mut selectors = Vec::new();
    if text.is_empty() {
        return Ok(selectors);
    }
    loop {
        selectors.push(parser.selector()?);
        match parser.next_visible() {
            None => return Ok(selectors),
            Some(',') => {}
            Some(other) => return Err(FilterError::Trailing(other)),
        }
    }
}

/// Reads from left to right, one character ahead.
struct Parser<'a> {
    text: Peekable<Chars<'a>>,
    /// How many patterns the request had so far.
    patterns: &'a mut usize,
}

impl Parser<'_> {
    fn selector(&mut self) -> Parsed<Selector> {
        let path = self.path()?;
        let condition = match self.peek_visible() {
            None | Some(',') => Condition::Present,
            Some(_) => {
                let operator: String = self.take_while(|c| matches!(c, '=' | '!' | '~'));
                match operator.as_str() {
                    "==" => Condition::Equal(self.value(&['"'])?),
                    "!=" => Condition::NotEqual(self.value(&['"'])?),
                    "~=" => {
                        let pattern = self.value(&['"', '/', '|'])?;
                        Condition::Matches(self.pattern(&pattern)?)
                    }
                    _ => return Err(FilterError::Operator(operator)),
                }
            }
        };
        Ok(Selector { path, condition })
    }

    fn pattern(&mut self, text: &str) -> Parsed<Regex> {
        *self.patterns += 1;
        if *self.patterns > MAX_PATTERNS {
            return Err(FilterError::TooManyPatterns);
        }
        let pattern = RegexBuilder::new(text)
            .size_limit(MAX_PATTERN_BYTES)
            .build();
        Ok(pattern?)
    }

    fn path(&mut self) -> Parsed<Vec<String>> {
        let mut path = Vec::new();
        loop {
            let part = if self.peek_visible() == Some('"') {
                self.quoted()?
            } else {
                self.take_while(|c| c.is_ascii_alphanumeric() || c == '_')
            };
            if part.is_empty() {
                return Err(FilterError::NoField);
            }
            path.push(part);
            if self.peek_visible() != Some('.') {
                return Ok(path);
            }
            self.text.next();
        }
    }

    fn value(&mut self, quotes: &[char]) -> Parsed<String> {
        match self.peek_visible() {
            Some(quote) if quotes.contains(&quote) => self.quoted(),
            None | Some(',') => Err(FilterError::NoValue),
            Some(_) => Ok(self.take_while(|c| c != ',' && !c.is_whitespace())),
        }
    }

    /// From one quote to the next of its kind.
    fn quoted(&mut self) -> Parsed<String> {
        let quote = self.text.next().ok_or(FilterError::OpenQuote)?;
        let mut text = String::new();
        loop {
            match self.text.next().ok_or(FilterError::OpenQuote)? {
                '\\' => text.push(self.escaped(quote)?),
                '\n' => return Err(FilterError::OpenQuote),
                end if end == quote => return Ok(text),
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self, quote: char) -> Parsed<char> {
        let escape = self.text.next().ok_or(FilterError::OpenEscape)?;
        Ok(match escape {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            same if same == quote || same == '\\' => same,
            other => return Err(FilterError::Escape(other)),
        })
    }

    fn code_point(&mut self, digits: usize) -> Parsed<char> {
        let hex: String = self.text.by_ref().take(digits).collect();
        (hex.len() == digits)
            .then(|| u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32))
            .flatten()
            .ok_or(FilterError::CodePoint(hex))
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        std::iter::from_fn(|| self.text.next_if(|c| keep(*c))).collect()
    }

    /// The next character that is not white space, without taking it.
    fn peek_visible(&mut self) -> Option<char> {
        while self.text.next_if(|c| c.is_whitespace()).is_some() {}
        self.text.peek().copied()
    }

    /// The same, and takes it.
    fn next_visible(&mut self) -> Option<char> {
        self.peek_visible()?;
        self.text.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields as a service has them: a name, and labels.
    fn field(path: &[String]) -> Option<String> {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        match path[..] {
            ["name"] => Some("layer-12".to_owned()),
            ["labels", "containerd.io/gc.root"] => Some("now, or \"later\"".to_owned()),
            ["labels", "kind"] => Some("layer".to_owned()),
            _ => None,
        }
    }

    fn matches(filters: &[&str]) -> bool {
        let filters: Vec<_> = filters.iter().map(|text| (*text).to_owned()).collect();
        Filter::parse(&filters)
            .expect("a good filter")
            .matches(field)
    }

    #[test]
    fn selectors_test_one_field() {
        for yes in [
            "",
            "name",
            " name ",
            "name==layer-12",
            "name == layer-12",
            "name!=other",
            "missing!=anything",
            "name~=^layer-[0-9]+$",
            "name~=/^layer-\\\\d{2,}$/",
            "name~=|r-12|",
            "missing~=^$",
            "labels.kind==\"l\\x61y\\u0065r\"",
            "labels.\"containerd.io/gc.root\"",
            "labels.\"containerd.io/gc.root\"==\"now, or \\\"later\\\"\"",
        ] {
            assert!(matches(&[yes]), "{yes}");
        }
        for no in [
            "missing",
            "labels",
            "name==layer",
            "name!=layer-12",
            "missing==\"\"",
            "name~=^12",
        ] {
            assert!(!matches(&[no]), "{no}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        let parse = |text: &str| Filter::parse(&[text.to_owned()]);
        assert!(parse(&["name~=a"; MAX_PATTERNS].join(",")).is_ok());
        assert!(parse(&["name~=a"; MAX_PATTERNS + 1].join(",")).is_err());
        assert!(parse(r"name~=/\\pL{9}/").is_ok());
        assert!(parse(r"name~=/\\pL{900}/").is_err());
        let many = vec!["name~=a".to_owned(); MAX_PATTERNS + 1];
        assert!(Filter::parse(&many).is_err(), "over all filters");
    }

    #[test]
    fn commas_are_and_filters_are_or() {
        assert!(matches(&[]));
        assert!(matches(&["name==layer-12,labels.kind==layer"]));
        assert!(!matches(&["name==layer-12, labels.kind==config"]));
        assert!(matches(&["missing", "name,labels.kind~=lay"]));
        assert!(!matches(&["missing", "name,labels.other"]));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in [
            ",",
            "name,",
            "name=layer",
            "name===layer",
            "name==",
            "name==,labels",
            "name==a b",
            "name.",
            ".name",
            "la-bels",
            "name==\"open",
            "name==\"\\q\"",
            "name==\"\\u12\"",
            "name==\"\\ud800\"",
            "name~=(",
        ] {
            let refused = Filter::parse(&[bad.to_owned()]);
            assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{bad}");
        }
    }
}
