//! A text as tokens.

/// One token. Literals are left out: no path stands in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or a keyword.
    Name(String),
    /// `::`.
    Colons,
    /// Any other character.
    Sign(char),
}

impl Token {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is this name.
    pub fn is(&self, name: &str) -> bool {
        self.name() == Some(name)
    }
}

/// The tokens of a text, without comments, texts, characters and lifetimes.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = text(rest) {
            length
        } else if let Some(length) = name(rest) {
            found.push(Token::Name(rest[..length].to_owned()));
            length
        } else if rest.starts_with("::") {
            found.push(Token::Colons);
            2
        } else {
            if !first.is_whitespace() {
                found.push(Token::Sign(first));
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of the name or number that a text begins with.
fn name(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(end.unwrap_or(text.len())).filter(|length| *length > 0)
}

/// The length of the literal or the lifetime that a text begins with.
fn text(source: &str) -> Option<usize> {
    let prefix = ["br", "b", "r"].iter().find(|prefix| {
        let literal = source.strip_prefix(**prefix);
        literal.is_some_and(|literal| literal.starts_with(['"', '#', '\'']))
    });
    let raw = prefix.is_some_and(|prefix| prefix.ends_with('r'));
    let start = prefix.map_or(0, |prefix| prefix.len());
    let body = &source[start..];
    if raw {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inside = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inside.find(&end).unwrap_or(inside.len());
        return Some(start + hashes + 1 + length + end.len());
    }
    let quote = body.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let inside = &body[1..];
    if quote == '\'' && !inside.starts_with('\\') {
        // A character is closed behind its one character; else it is a lifetime.
        let one = inside.chars().next()?.len_utf8();
        let closed = inside[one..].starts_with('\'');
        let length = if closed { one + 1 } else { name(inside)? };
        return Some(start + 1 + length);
    }
    let mut escaped = false;
    let end = inside.find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    Some(start + 1 + end.map_or(inside.len(), |end| end + 1))
}

/// The tokens without items that are compiled for tests alone, and the modules that are so declared.
pub fn without_tests(all: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < all.len() {
        let Some(inside) = attribute(all, at) else {
            kept.push(all[at].clone());
            at += 1;
            continue;
        };
        let words = &all[at + 2..inside];
        let for_tests = words.first().is_some_and(|word| word.is("cfg"))
            && words.iter().any(|word| word.is("test"))
            && !words.iter().any(|word| word.is("not"));
        let end = if for_tests {
            item_end(all, inside + 1)
        } else {
            inside + 1
        };
        if for_tests {
            modules.extend(declared(&all[inside + 1..end]));
        } else {
            kept.extend_from_slice(&all[at..end]);
        }
        at = end;
    }
    (kept, modules)
}

/// The place of the `]` of an attribute that begins here.
fn attribute(all: &[Token], at: usize) -> Option<usize> {
    if all[at] != Token::Sign('#') || all.get(at + 1) != Some(&Token::Sign('[')) {
        return None;
    }
    closing(all, at + 1)
}

/// The place of the bracket that closes the one here.
fn closing(all: &[Token], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    (at..all.len()).find(|index| {
        match all[*index] {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

/// Behind the item that begins here.
fn item_end(all: &[Token], mut at: usize) -> usize {
    while at < all.len() {
        match all[at] {
            Token::Sign(';') => return at + 1,
            Token::Sign('{') => {
                let end = closing(all, at).map_or(all.len(), |end| end + 1);
                // A group of a `use`, or the body of the item.
                if at > 0 && all[at - 1] == Token::Colons {
                    at = end;
                } else {
                    return end;
                }
            }
            Token::Sign('(' | '[') => at = closing(all, at).map_or(all.len(), |end| end + 1),
            _ => at += 1,
        }
    }
    at
}

/// The name in `mod name;`.
fn declared(item: &[Token]) -> Option<String> {
    let at = item.iter().position(|token| token.is("mod"))?;
    let ends = item.get(at + 2) == Some(&Token::Sign(';'));
    item.get(at + 1)?.name().filter(|_| ends).map(str::to_owned)
}
