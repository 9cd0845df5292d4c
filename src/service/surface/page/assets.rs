//! The files of the page.

use axum::http::HeaderValue;

use crate::digest::Digest;

/// One file.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    pub(super) content: &'static str,
}

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[$(Asset { name: $name, content: include_str!(concat!("files/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets![
    "index.html",
    "style.css",
    "app.js",
    "api.js",
    "confirm.js",
    "dom.js",
    "entries.js",
    "format.js",
    "health.js",
    "login.js",
    "repositories.js",
    "repository.js",
    "router.js",
    "search.js",
    "tree.js",
    "uploads.js",
    "icon.svg",
];

impl Asset {
    /// The file with this name; without one that of the page itself.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        let name = if name.is_empty() { "index.html" } else { name };
        ASSETS.iter().find(|asset| asset.name == name)
    }

    /// Tells its content from any other.
    pub(super) fn etag(&self) -> HeaderValue {
        let etag = format!("\"{}\"", Digest::sha256(self.content).hex());
        HeaderValue::from_str(&etag).expect("hex digits in quotes are a header")
    }

    /// What browsers take it for.
    pub(super) fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A file that is forgotten here is 404 for browsers.
    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/service/surface/page/files");
        let files = fs::read_dir(folder).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names.len(), ASSETS.len());
        for name in names {
            let asset = Asset::find(name.to_str().unwrap()).unwrap();
            assert_ne!(asset.content_type(), "text/plain; charset=utf-8");
        }
    }
}
