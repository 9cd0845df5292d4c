//! Keys and version, byte for byte as stock BuildKit writes them
//! (seen in cache/remotecache/gha of BuildKit v0.32.2).

use crate::digest::Digest;

/// Longest key that the Actions cache accepts, in characters.
pub const MAX_KEY_CHARS: usize = 512;

/// Most keys of one lookup: what the clients of GitHub enforce is ten, plus the primary key.
pub const MAX_LOOKUP_KEYS: usize = 11;

/// The text whose sha256 is the version of every entry that BuildKit writes.
const VERSION_SEED: &str = "|go-actionscache-1.0";

/// What every blob key begins with.
pub const BLOB_PREFIX: &str = "buildkit-blob-1-";

/// How many hex digits of the scope's hash stand in an index key.
const SCOPE_HASH_CHARS: usize = 8;

/// The version of every entry that BuildKit writes: 64 hex digits.
pub fn version() -> String {
    Digest::sha256(VERSION_SEED).hex()
}

/// The key of a layer blob: `buildkit-blob-1-sha256:<hex>`.
pub fn blob(digest: &Digest) -> String {
    format!("{BLOB_PREFIX}{digest}")
}

/// The digest that a blob key names, if the key is one (a signature's key is none).
pub fn blob_digest(key: &str) -> Option<Digest> {
    key.strip_prefix(BLOB_PREFIX)?.parse().ok()
}

/// The keys of one layer blob: `<key>`, and `<key>#<n>` for what takes the place of an entry that
/// cannot be used. Stock finds the numbered ones too where the plain one is not there, since it
/// looks keys up as prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobKey(Digest);

impl BlobKey {
    /// The keys of this blob.
    pub fn new(digest: Digest) -> Self {
        Self(digest)
    }

    /// The blob that an entry with this key is of.
    pub fn parse_digest(key: &str) -> Option<Digest> {
        let plain = key.split('#').next()?;
        let digest = blob_digest(plain)?;
        Self(digest).number(key).map(|_| digest)
    }

    /// The key of the `n`-th entry; the plain one is number 0.
    pub fn entry(self, n: u64) -> String {
        let plain = blob(&self.0);
        match n {
            0 => plain,
            n => format!("{plain}#{n}"),
        }
    }

    /// The number of `key`, if it is an entry of this blob: a signature's key is none.
    pub fn number(self, key: &str) -> Option<u64> {
        let number = match key.strip_prefix(&self.entry(0))? {
            "" => 0,
            rest => rest.strip_prefix('#')?.parse().ok()?,
        };
        // Leading zeros and signs are no keys of ours.
        (self.entry(number) == key).then_some(number)
    }

    /// What to look up, in this order: what took an entry's place is newer than the entry.
    pub fn preference(self) -> [String; 2] {
        let plain = self.entry(0);
        [format!("{plain}#"), plain]
    }
}

/// The keys of one cache-config index: numbered entries `<base>#<n>` of which the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IndexKey(String);

impl IndexKey {
    /// The index of the cache scope `scope` (the `scope` attribute) in a GitHub scope such as
    /// `refs/heads/main`. A signed or verified cache has its own name space.
    pub fn new(scope: &str, github_scope: &str, signed: bool) -> Self {
        let hash = &Digest::sha256(github_scope).hex()[..SCOPE_HASH_CHARS];
        let suffix = if signed { "-sig" } else { "" };
        Self(format!("index-{scope}-1-{hash}{suffix}"))
    }

    /// The key without a number. As a prefix it would also match a signed sibling (`-sig#n`).
    pub fn base(&self) -> &str {
        &self.0
    }

    /// The prefix that matches the numbered entries of this index and of no other.
    pub fn prefix(&self) -> String {
        format!("{}#", self.0)
    }

    /// The key of the `n`-th entry.
    pub fn entry(&self, n: u64) -> String {
        format!("{}#{n}", self.0)
    }

    /// The number in `key`, if it is an entry of this index.
    pub fn number(&self, key: &str) -> Option<u64> {
        key.strip_prefix(&self.0)?.strip_prefix('#')?.parse().ok()
    }
}

/// What the key of an index says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IndexName {
    /// The attribute `scope`.
    pub scope: String,
    /// The key without its number: entries of one index share it.
    pub base: String,
    /// The number.
    pub number: u64,
    /// Of a signed or verified cache.
    pub signed: bool,
}

impl IndexName {
    /// What all of an index's keys begin with.
    pub const PREFIX: &str = "index-";

    /// Reads `index-<scope>-1-<8 hex digits>[-sig]#<n>`. Other programs may use keys that begin alike.
    pub fn parse(key: &str) -> Option<Self> {
        let (base, number) = key.rsplit_once('#')?;
        let plain = base.strip_suffix("-sig");
        let (scope, hash) = plain.unwrap_or(base).rsplit_once("-1-")?;
        let is_hash = hash.len() == SCOPE_HASH_CHARS && hash.bytes().all(|b| b.is_ascii_hexdigit());
        Some(Self {
            scope: scope
                .strip_prefix(Self::PREFIX)
                .filter(|_| is_hash)?
                .to_owned(),
            base: base.to_owned(),
            number: number.parse().ok()?,
            signed: plain.is_some(),
        })
    }
}

/// The digest of the index whose signature an entry with this key is.
pub fn signed_digest(key: &str) -> Option<Digest> {
    let key = key.split('#').next()?.strip_suffix("-sig")?;
    blob_digest(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_indexes_name_their_scope() {
        for (scope, signed) in [
            ("app", false),
            ("a-1-b", true),
            ("", false),
            ("x-sig", true),
        ] {
            let key = IndexKey::new(scope, "refs/heads/main", signed);
            let name = IndexName::parse(&key.entry(7)).unwrap();
            assert_eq!((name.scope.as_str(), name.number), (scope, 7));
            assert_eq!((name.signed, name.base.as_str()), (signed, key.base()));
        }
        for other in [
            "index-app-1-f921bd05",
            "index-app#1",
            "index-a-1-xyz#1",
            "npm-1-f921bd05#1",
        ] {
            assert_eq!(IndexName::parse(other), None, "{other}");
        }
        let digest = Digest::sha256("index");
        assert_eq!(
            signed_digest(&format!("{}-sig", blob(&digest))),
            Some(digest)
        );
        assert_eq!(signed_digest(&blob(&digest)), None);
    }

    #[test]
    fn version_is_the_one_that_stock_sends() {
        assert_eq!(
            version(),
            "693bb7016429d80366022f036f84856888c9f13e00145f5f6f4dce303a38d6f2"
        );
    }

    #[test]
    fn index_keys_carry_scope_hash_and_number() {
        let key = IndexKey::new("buildkit", "refs/heads/main", false);
        assert_eq!(key.base(), "index-buildkit-1-f921bd05");
        assert_eq!(key.number(&key.entry(12)), Some(12));
        let signed = IndexKey::new("buildkit", "refs/heads/main", true);
        assert_eq!(key.number(&signed.entry(12)), None);
    }

    #[test]
    fn blob_keys_name_their_digest() {
        let digest = Digest::sha256("layer");
        assert_eq!(blob_digest(&blob(&digest)), Some(digest));
        assert_eq!(blob_digest(&format!("{}-sig", blob(&digest))), None);
    }

    #[test]
    fn replacements_of_a_blob_are_numbered_and_nothing_else_is_one() {
        let keys = BlobKey::new(Digest::sha256("layer"));
        let plain = blob(&Digest::sha256("layer"));
        for number in [0, 1, 12, u64::MAX] {
            assert_eq!(keys.number(&keys.entry(number)), Some(number));
            assert_eq!(BlobKey::parse_digest(&keys.entry(number)), Some(keys.0));
        }
        assert_eq!(keys.entry(0), plain);
        for rest in [
            "-sig", "-sig#1", "#", "#0", "#01", "#+1", "#1x", "#1-sig", "x",
        ] {
            assert_eq!(keys.number(&format!("{plain}{rest}")), None, "{rest}");
            assert_eq!(
                BlobKey::parse_digest(&format!("{plain}{rest}")),
                None,
                "{rest}"
            );
        }
        assert_eq!(keys.number(&blob(&Digest::sha256("other"))), None);
        assert_eq!(keys.preference(), [format!("{plain}#"), plain]);
    }
}
