//! What of an index a build can use, and what it costs buildkitd to read that.
//!
//! An index comes from anybody who may write to a scope. BuildKit builds a structure of its own for
//! each part of it, many times as large as the text: `{}` in a list of chains is 3 bytes and costs it
//! 600.

use std::collections::HashSet;

use super::{CacheConfig, IndexError, Record, layer_order};

/// The most memory that buildkitd may need for an index, by the estimates below: 10,000 results that stand
/// on 50 layers each are just below it, and a builder survives a few such indexes at once.
const MAX_COST: u64 = 512 << 20;

/// Bytes that BuildKit allocates for each part, measured on v0.34.2 with `ParseConfig` and
/// `NewCacheKeyStorage` over 100,000 to 300,000 parts of a kind, and chains of 1,000 and 3,000 layers.
const RECORD_COST: u64 = 1_000;
const LINK_COST: u64 = 2_500;
const LAYER_COST: u64 = 600;
/// A result that is a layer with its parents, and each layer of that chain: BuildKit makes a provider
/// for every layer of every result.
const RESULT_COST: u64 = 750;
const RESULT_LAYER_COST: u64 = 900;
/// A result that names its layers, and each of them.
const CHAIN_COST: u64 = 600;
const CHAIN_LAYER_COST: u64 = 450;

impl CacheConfig {
    /// The index without what no build can use: results without layers, parts that are said twice,
    /// and records that lead to no result. Its places must have been checked.
    #[must_use]
    pub fn usable(mut self) -> Self {
        for record in &mut self.records {
            drop_empty_and_repeated(record);
        }
        let leads = leading_to_results(&self.records);
        if leads.iter().all(|leads| *leads) {
            return self;
        }
        let mut places = Vec::with_capacity(leads.len());
        let mut next = 0;
        for leads in &leads {
            places.push(next);
            next += u32::from(*leads);
        }
        let mut at = leads.iter();
        self.records.retain(|_| at.next() == Some(&true));
        for link in self
            .records
            .iter_mut()
            .flat_map(|r| &mut r.inputs)
            .flatten()
        {
            // What a record that leads to a result stands upon does so, too.
            link.link = places[link.link as usize];
        }
        self
    }

    /// An error if buildkitd would need too much memory for it.
    pub(crate) fn check_cost(&self) -> Result<(), IndexError> {
        let cost = self.cost()?;
        if cost > MAX_COST {
            return Err(IndexError::TooCostly {
                cost,
                limit: MAX_COST,
            });
        }
        Ok(())
    }

    /// About how much memory it costs buildkitd.
    fn cost(&self) -> Result<u64, IndexError> {
        let mut depths = vec![0_u64; self.layers.len()];
        for at in layer_order(self)? {
            let parent = usize::try_from(self.layers[at].parent).ok();
            depths[at] = 1 + parent.map_or(0, |parent| depths[parent]);
        }
        let records = self.records.iter().map(|record| {
            let links = record.inputs.iter().map(Vec::len).sum::<usize>() as u64;
            let results = record.results.iter().map(|result| {
                RESULT_COST + RESULT_LAYER_COST.saturating_mul(depths[result.layer as usize])
            });
            let chains = record.chains.iter().map(|chain| {
                CHAIN_COST + CHAIN_LAYER_COST.saturating_mul(chain.layers.len() as u64)
            });
            let parts = results.chain(chains).fold(0, u64::saturating_add);
            parts.saturating_add(RECORD_COST + LINK_COST * links)
        });
        let layers = LAYER_COST * self.layers.len() as u64;
        Ok(records.fold(layers, u64::saturating_add))
    }
}

fn drop_empty_and_repeated(record: &mut Record) {
    let mut seen = HashSet::new();
    record.results.retain(|result| seen.insert(result.layer));
    let mut seen = HashSet::new();
    (record.chains).retain(|chain| !chain.layers.is_empty() && seen.insert(chain.layers.clone()));
    for input in &mut record.inputs {
        let mut seen = HashSet::new();
        input.retain(|link| seen.insert((link.link, link.selector.clone())));
    }
}

/// The records that have a result, and all that these stand upon.
fn leading_to_results(records: &[Record]) -> Vec<bool> {
    let mut leads = vec![false; records.len()];
    let mut open = Vec::new();
    for (at, record) in records.iter().enumerate() {
        if !(record.results.is_empty() && record.chains.is_empty()) {
            leads[at] = true;
            open.push(at);
        }
    }
    while let Some(at) = open.pop() {
        for link in records[at].inputs.iter().flatten() {
            let below = link.link as usize;
            if !std::mem::replace(&mut leads[below], true) {
                open.push(below);
            }
        }
    }
    leads
}

#[cfg(test)]
mod tests {
    use crate::index_format::{self, IndexError};

    const LAYERS: &str = r#""layers":[{"blob":"sha256:0000000000000000000000000000000000000000000000000000000000000000","parent":-1}]"#;

    fn usable(records: &str) -> String {
        let json = format!("{{{LAYERS},\"records\":{records}}}");
        let config = index_format::parse(json.as_bytes()).unwrap().usable();
        config.check().unwrap();
        let json = String::from_utf8(config.to_json()).unwrap();
        let records = json.split_once("\"records\":").map_or("", |(_, r)| r);
        records
            .trim_end_matches('}')
            .replace(r#","createdAt":"0001-01-01T00:00:00Z""#, "")
    }

    #[test]
    fn what_no_build_can_use_is_dropped() {
        for (written, usable_part) in [
            // As BuildKit writes it: it stays, with its order.
            (
                r#"[{"layers":[{"layer":0}],"digest":"a"},{"layers":[{"layer":0}],"digest":"b","inputs":[[{"link":0}]]}]"#,
                r#"[{"layers":[{"layer":0}],"digest":"a"},{"layers":[{"layer":0}],"digest":"b","inputs":[[{"link":0}]]}]"#,
            ),
            // No result, and nothing that has one stands upon it.
            (r#"[{},{"digest":"a","chains":[{},{}]}]"#, ""),
            // A key without a result that another one needs; places follow.
            (
                r#"[{"digest":"x"},{"digest":"key"},{"chains":[{"layers":[0]},{"layers":[0]},{}],"digest":"b","inputs":[[{"link":1},{"link":1}]]}]"#,
                r#"[{"digest":"key"},{"chains":[{"layers":[0]}],"digest":"b","inputs":[[{"link":0}]]}]"#,
            ),
        ] {
            let left = usable(written);
            let expected = usable_part.trim_end_matches('}');
            assert_eq!(left, expected.trim_end_matches('}'), "{written}");
        }
    }

    fn deep(count: i64) -> String {
        let layer = |at: i64| format!(r#"{{"blob":"sha256:{at:064x}","parent":{}}}"#, at - 1);
        let record = |at: i64| format!(r#"{{"layers":[{{"layer":{at}}}],"digest":"{at}"}}"#);
        let list =
            |part: &dyn Fn(i64) -> String| (0..count).map(part).collect::<Vec<_>>().join(",");
        format!(
            r#"{{"layers":[{}],"records":[{}]}}"#,
            list(&layer),
            list(&record)
        )
    }

    #[test]
    fn an_index_that_would_sink_buildkitd_is_refused() {
        let check = |json: String| {
            index_format::parse(json.as_bytes())
                .unwrap()
                .usable()
                .check_cost()
        };
        assert!(check(deep(100)).is_ok());
        // 2000 results with 1000 layers each on the average: 1.8 GB.
        let error = check(deep(2_000)).unwrap_err();
        assert!(matches!(error, IndexError::TooCostly { .. }), "{error}");
        assert!(error.to_string().contains("MB of memory"), "{error}");
        let records = r#"{"digest":"x","layers":[{"layer":0}]},"#.repeat(300_000);
        let many = format!(
            r#"{{{LAYERS},"records":[{}]}}"#,
            records.trim_end_matches(',')
        );
        assert!(check(many).is_err());
    }
}
