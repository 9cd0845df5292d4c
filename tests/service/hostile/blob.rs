//! Signed blob URLs with one thing wrong.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rand::{RngExt as _, rngs::StdRng};

use super::{Target, pick, request::Request};

impl Target {
    pub fn blob_read(&self, rng: &mut StdRng) -> Request {
        if rng.random() {
            let range = [
                "bytes=7-",
                "bytes=-0",
                "bytes=3-1",
                "bytes=",
                "bytes=-",
                "bytes=0-1,3-4",
                "0-3",
                "bytes=18446744073709551615-",
                "bytes=99999999999999999999-",
                "bytes=a-b",
                "bytes=+1-2",
                "lines=0-1",
                "bytes= 0-1",
                "bytes=0--1",
            ];
            let name = pick(rng, &["range", "x-ms-range"]);
            let range = pick(rng, &range);
            return Request::new("GET", &*self.read).header(name, range);
        }
        let (path, _) = self.read.split_once('?').unwrap();
        Request::new("GET", format!("{path}?{}", bad_grant(rng, &self.read)))
    }

    pub fn blob_write(&self, rng: &mut StdRng) -> Request {
        let put = |query: &str| Request::new("PUT", format!("{}{query}", self.write));
        match rng.random_range(0..4) {
            0 => {
                let long = BASE64_STANDARD.encode([7; 65]);
                let id = ["", "!", "%00", "AAA", "%ff%fe", "AAAA%0a", &long];
                let id = pick(rng, &id);
                put(&format!("&comp=block&blockid={id}")).body("content")
            }
            1 => {
                let list = [
                    "",
                    "{}",
                    "<BlockList>",
                    "</BlockList>",
                    "<BlockList><Latest>BBBB</Latest></BlockList>",
                    "<BlockList><Latest>AAAA</BlockList>",
                    "<BlockList><Latest><Latest></Latest></BlockList>",
                    "<?xml version=\"1.0\"",
                    "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><BlockList>&a;</BlockList>",
                    "<BlockList><Latest>&amp;</Latest></BlockList>",
                    "<BlockList>\0</BlockList>",
                    "\u{feff}",
                ];
                let many = "<BlockList>".to_owned() + &"<Latest>AAAA</Latest>".repeat(50_001);
                let list = if rng.random_range(0..50) == 0 {
                    many + "</BlockList>"
                } else {
                    pick(rng, &list).to_owned()
                };
                put("&comp=blocklist").body(list)
            }
            2 => {
                let length = [
                    "",
                    "transfer-encoding: chunked\r\n",
                    "content-length: 99999999999\r\n",
                    "content-length: 18446744073709551616\r\n",
                    "content-length: -1\r\n",
                    "content-length: x\r\n",
                    "content-length: 1\r\ncontent-length: 2\r\n",
                ];
                put("&comp=block&blockid=AAAA").length(pick(rng, &length))
            }
            _ => put(pick(
                rng,
                &["&comp=", "&comp=x", "&comp=block", "&comp=block&comp=block"],
            )),
        }
    }
}

fn bad_grant(rng: &mut StdRng, url: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let longer = query.replace("se=", "se=1");
    let query = [
        "",
        "se=1&sp=r",
        "se=x&sp=r&sig=x",
        "se=99999999999999999999&sp=r&sig=x",
        "se=1&sp=r&sig=%00",
        &longer,
        &query.replace("sp=r", "sp=w"),
        &query.replace("sp=r", "sp=rw"),
        &query.replace("sig=", "sig=A"),
        "se=-9223372036854775808&sp=r&sig=AAAA",
        &format!("{query}&{query}"),
    ];
    pick(rng, &query).to_owned()
}
