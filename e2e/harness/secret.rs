//! Looks for a secret in files, in every form that a program may give it without meaning to.

use std::{fmt::Write as _, fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE};
use memchr::memmem::Finder;

/// How much of what stands before a find is shown.
const SHOWN: usize = 200;

/// Something that must be nowhere.
pub struct Secret {
    forms: Vec<(&'static str, Finder<'static>)>,
}

impl Secret {
    /// A secret and its forms: as it is, in hex, percent-encoded, and in base64 wherever it may
    /// stand in what was encoded.
    pub fn new(value: &str) -> Self {
        let mut forms = vec![("raw", value.as_bytes().to_vec())];
        let mut percent = String::new();
        for byte in value.bytes() {
            write!(percent, "%{byte:02X}").expect("a string grows");
        }
        forms.push(("percent-encoded", percent.into_bytes()));
        forms.push(("hex", hex::encode(value).into_bytes()));
        forms.push(("hex", hex::encode_upper(value).into_bytes()));
        for before in 0..3 {
            let mut text = vec![0; before];
            text.extend_from_slice(value.as_bytes());
            // Characters that hold bits of what stands before or after it say nothing.
            let (from, bits) = ((before * 8).div_ceil(6), text.len() * 8);
            let inner = |text: String| text.as_bytes()[from..bits / 6].to_vec();
            forms.push(("base64", inner(BASE64_STANDARD.encode(&text))));
            forms.push(("base64", inner(BASE64_URL_SAFE.encode(&text))));
        }
        let finder = |(name, form): (_, Vec<u8>)| (name, Finder::new(&form).into_owned());
        Self {
            forms: forms.into_iter().map(finder).collect(),
        }
    }

    fn find(&self, content: &[u8]) -> Option<(&'static str, usize)> {
        let mut forms = self.forms.iter();
        forms.find_map(|(name, form)| Some((*name, form.find(content)?)))
    }
}

/// The files that hold the secret, each with the form and what stands before it.
pub fn files_with(dir: &Path, secret: &Secret) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("read a directory") {
        let entry = entry.expect("read a directory");
        let kind = entry.file_type().expect("the kind of a file");
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), secret));
        } else if kind.is_file() {
            let content = fs::read(entry.path()).expect("read a file");
            if let Some((form, at)) = secret.find(&content) {
                let before = String::from_utf8_lossy(&content[at.saturating_sub(SHOWN)..at]);
                found.push(format!("{} ({form}): …{before}", entry.path().display()));
            }
        }
    }
    found
}
