//! The calls of v1, v2 and REST with one thing wrong.

use rand::{RngExt as _, rngs::StdRng};

use super::{METHODS, REST, Target, V1, V2, escaped, long, pick, request::Request};

impl Target {
    pub fn part(&self, rng: &mut StdRng) -> Request {
        if rng.random() {
            let range = [
                "",
                "bytes",
                "bytes 0-6",
                "bytes 6-0/*",
                "bytes -1-6/*",
                "bytes 0-6/6",
                "0-6/*",
                "bytes 0-18446744073709551615/*",
                "bytes 0-18446744073709551616/*",
                "bytes */7",
                "bytes 0-99999999999/*",
                "bytes +0-6/*",
                "bytes 0-6/*, 7-8/*",
                "bytes=0-6/*",
                "bytes 0-7/*",
                "bytes 0-5/*",
                "bytes 9223372036854775807-18446744073709551614/*",
            ];
            let range = pick(rng, &range);
            let part = self.v1("PATCH").header("content-range", range);
            return part.body("content");
        }
        let path = format!("{V1}caches/{}", bad_id(rng));
        let part = Request::new("PATCH", path).header("content-range", "bytes 0-6/*");
        part.body("content")
    }

    pub fn commit(&self, rng: &mut StdRng) -> Request {
        if rng.random() {
            let size = [
                "-1",
                "7.5",
                "\"7\"",
                "1e400",
                "18446744073709551616",
                "null",
                "[]",
                "9999",
            ];
            let body = format!(r#"{{"size":{}}}"#, pick(rng, &size));
            return self.v1("POST").json(body);
        }
        let path = format!("{V1}caches/{}", bad_id(rng));
        Request::new("POST", path).json(r#"{"size":7}"#)
    }

    pub fn twirp(&self, rng: &mut StdRng) -> Request {
        let call = Request::new("POST", format!("{V2}{}", pick(rng, &METHODS)));
        match rng.random_range(0..4) {
            0 => {
                let kind = ["text/plain", "", "application/jsonx", "multipart/form-data"];
                call.header("content-type", pick(rng, &kind)).body("{}")
            }
            1 => call.json(bad_json(rng)),
            2 => {
                let body: [&[u8]; 8] = [
                    b"\x12",
                    b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                    b"\x12\x05abc",
                    b"\x12\x02\xc3\x28\x1a\x01v",
                    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                    b"",
                    b"\x07",
                    b"\x12\x00\x1a\x01v",
                ];
                let protobuf = call.header("content-type", "application/protobuf");
                protobuf.body(pick(rng, &body))
            }
            _ => {
                let size = [
                    "-1",
                    "\"-1\"",
                    "7.5",
                    "\"x\"",
                    "9223372036854775808",
                    "9999",
                    "{}",
                ];
                let (key, size) = (&self.write_key, pick(rng, &size));
                let finalize = Request::new("POST", format!("{V2}{}", METHODS[1]));
                finalize.json(format!(
                    r#"{{"key":"{key}","version":"v","size_bytes":{size}}}"#
                ))
            }
        }
    }
}

pub fn lookup(rng: &mut StdRng) -> Request {
    let long = escaped(&long(rng));
    let query = [
        "",
        "?",
        "?keys=a",
        "?version=v",
        "?keys=&version=v",
        "?keys=a&version=",
        "?keys=a,&version=v",
        "?keys=a&keys=b&version=v",
        "?keys=1,2,3,4,5,6,7,8,9,10,11,12&version=v",
        &format!("?keys={long}&version=v"),
        &format!("?keys=a&version={long}"),
        "?keys=%F4%8F%BF%BF&version=v",
    ];
    Request::new("GET", format!("{V1}cache{}", pick(rng, &query)))
}

pub fn reservation(rng: &mut StdRng) -> Request {
    Request::new("POST", format!("{V1}caches")).json(bad_json(rng))
}

/// Neither a reservation nor a lookup, nor anything else.
fn bad_json(rng: &mut StdRng) -> Vec<u8> {
    let long = long(rng);
    let deep = "[".repeat(rng.random_range(100..100_000));
    let huge = format!(r#"{{"key":"{}","version":"v"}}"#, "k".repeat(300_000));
    let key = format!(r#"{{"key":"{long}","version":"v"}}"#);
    let version = format!(r#"{{"key":"k","version":"{long}"}}"#);
    let json: [&[u8]; 18] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"{}",
        b"\xff",
        b"{\"key\":\"\xff\"}",
        deep.as_bytes(),
        br#"{"key":"","version":"v"}"#,
        br#"{"key":7,"version":"v"}"#,
        br#"{"key":"a,b","version":"v"}"#,
        br#"{"key":"\ud800","version":"v"}"#,
        br#"{"key":"k","version":""}"#,
        key.as_bytes(),
        version.as_bytes(),
        huge.as_bytes(),
        br#"{"key":"k","key":"k","version":"v"}"#,
    ];
    pick(rng, &json).to_vec()
}

fn bad_id(rng: &mut StdRng) -> &'static str {
    let ids = [
        "x",
        "-1",
        "0",
        "1.5",
        "9223372036854775808",
        "9223372036854775807",
        "%00",
        "%ff",
        "1e3",
        "+",
        "..%2f..%2fsecret",
        "",
        "1/2",
    ];
    pick(rng, &ids)
}

pub fn rest(rng: &mut StdRng) -> Request {
    let requests = [
        ("GET", "/repos/local/other/actions/caches"),
        ("GET", "/repos/local/%2e%2e/actions/caches"),
        ("GET", "/repos/%ff/cache/actions/caches"),
        ("GET", "/repos/local/cache/actions/caches?per_page=x"),
        ("GET", "/repos/local/cache/actions/caches?per_page=-1"),
        ("GET", "/repos/local/cache/actions/caches?page=4294967296"),
        ("GET", "/repos/local/cache/actions/caches?sort=key"),
        ("GET", "/repos/local/cache/actions/caches?direction=up"),
        ("DELETE", REST),
        ("DELETE", "/repos/local/cache/actions/caches?key="),
        ("DELETE", "/repos/local/cache/actions/caches?key=nothing"),
        ("DELETE", "/repos/local/cache/actions/caches/x"),
        ("DELETE", "/repos/local/cache/actions/caches/1"),
        ("POST", REST),
    ];
    let (method, path) = requests[rng.random_range(0..requests.len())];
    Request::new(method, path)
}
