//! Requests that no client sends. Each is a valid one with exactly one thing wrong, so that nothing
//! but that can be what it is refused for; or a valid one with bytes changed at random.

mod api;
mod blob;
mod request;

use rand::{RngExt as _, rngs::StdRng};

use self::{
    api::{lookup, reservation, rest},
    request::{Request, bad_http},
};

/// Longer than any key may be.
const LONG: usize = 513;

/// What the requests are aimed at.
pub struct Target {
    pub token: String,
    /// Path and query of a committed entry of seven bytes.
    pub read: String,
    /// Path and query of an open upload of v2, and its key.
    pub write: String,
    pub write_key: String,
    /// The id of an open upload of v1.
    pub id: i64,
}

fn pick<'a, T: ?Sized>(rng: &mut StdRng, from: &[&'a T]) -> &'a T {
    from[rng.random_range(0..from.len())]
}

/// Text of a length that somebody may have taken for a limit.
fn long(rng: &mut StdRng) -> String {
    let len = [LONG, 1024, 4096, 20_000][rng.random_range(0..4)];
    pick(rng, &["k", "é", "\u{10000}"]).repeat(len)
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

const V1: &str = "/_apis/artifactcache/";
const V2: &str = "/twirp/github.actions.results.api.v1.CacheService/";
const REST: &str = "/repos/local/cache/actions/caches";
const METHODS: [&str; 3] = [
    "CreateCacheEntry",
    "FinalizeCacheEntryUpload",
    "GetCacheEntryDownloadURL",
];

impl Target {
    fn signed_in(&self, request: Request) -> Request {
        request.header("authorization", format!("Bearer {}", self.token))
    }

    /// A request that must be refused with a status of 4xx.
    pub fn refused(&self, rng: &mut StdRng) -> Request {
        match rng.random_range(0..10) {
            0 => self.signed_in(lookup(rng)),
            1 => self.signed_in(reservation(rng)),
            2 => self.signed_in(self.part(rng)),
            3 => self.signed_in(self.commit(rng)),
            4 => self.signed_in(self.twirp(rng)),
            5 => self.blob_read(rng),
            6 => self.blob_write(rng),
            7 => self.signed_in(rest(rng)),
            8 => self.stranger(rng),
            _ => self.signed_in(bad_http(rng)),
        }
    }

    /// A valid request with some bytes changed: it may well still be valid.
    pub fn mutated(&self, rng: &mut StdRng) -> Request {
        let valid = self.valid();
        let mut request = valid[rng.random_range(0..valid.len())].clone();
        for _ in 0..rng.random_range(1..6) {
            let fields = 3 + 2 * request.headers.len();
            let bytes = match rng.random_range(0..fields) {
                0 => &mut request.method,
                1 => &mut request.path,
                2 => &mut request.body,
                n if n % 2 == 1 => &mut request.headers[(n - 3) / 2].0,
                n => &mut request.headers[(n - 3) / 2].1,
            };
            mutate(bytes, rng);
        }
        request
    }

    /// One of everything.
    fn valid(&self) -> Vec<Request> {
        let range = |request: Request| request.header("content-range", "bytes 0-6/*");
        let key = format!(r#"{{"key":"{}","version":"v"}}"#, self.write_key);
        let mut all = vec![
            self.signed_in(Request::new("GET", format!("{V1}cache?keys=a,b&version=v"))),
            self.signed_in(Request::new("POST", format!("{V1}caches")).json(key.clone())),
            self.signed_in(range(self.v1("PATCH"))).body("content"),
            self.signed_in(self.v1("POST").json(r#"{"size":7000}"#)),
            Request::new("GET", &*self.read).header("range", "bytes=0-3"),
            Request::new("PUT", format!("{}&comp=block&blockid=AAAA", self.write)).body("c"),
            Request::new("PUT", format!("{}&comp=blocklist", self.write)).body(LIST),
            self.signed_in(Request::new(
                "GET",
                format!("{REST}?per_page=3&sort=size_in_bytes"),
            )),
        ];
        for method in METHODS {
            let call = Request::new("POST", format!("{V2}{method}"));
            all.push(self.signed_in(call.clone().json(key.clone())));
            let protobuf = call.header("content-type", "application/protobuf");
            all.push(self.signed_in(protobuf.body(b"\x0a\x00\x12\x01k\x1a\x01v".to_vec())));
        }
        all
    }

    fn v1(&self, method: &str) -> Request {
        Request::new(method, format!("{V1}caches/{}", self.id))
    }

    /// Nobody that the service knows.
    fn stranger(&self, rng: &mut StdRng) -> Request {
        let (head, rest) = self.token.split_once('.').unwrap();
        let (claims, _) = rest.split_once('.').unwrap();
        // {"alg":"none"}
        let none = format!("Bearer eyJhbGciOiJub25lIn0.{claims}.");
        let unsigned = format!("Bearer {head}.{claims}.");
        let garbage = format!("Bearer {}", long(rng));
        let tokens: [&[u8]; 9] = [
            b"",
            b"Bearer",
            b"Bearer ",
            b"Basic abc",
            b"Bearer a.b.c",
            b"Bearer \xff\xfe",
            none.as_bytes(),
            unsigned.as_bytes(),
            garbage.as_bytes(),
        ];
        let mut request = self
            .valid()
            .swap_remove([0, 1, 2, 3, 7, 8, 9][rng.random_range(0..7)]);
        request.headers.retain(|(name, _)| name != b"authorization");
        let token = pick(rng, &tokens);
        request.header("authorization", token)
    }
}

const LIST: &str = "<BlockList><Latest>AAAA</Latest></BlockList>";

fn mutate(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    let at = rng.random_range(0..=bytes.len());
    match rng.random_range(0..4) {
        0 => bytes.insert(at, rng.random()),
        1 if at < bytes.len() => bytes[at] = rng.random(),
        2 if at < bytes.len() => drop(bytes.remove(at)),
        _ => {
            let piece = bytes[at..].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}
