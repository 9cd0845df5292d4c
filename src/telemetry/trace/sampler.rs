//! Which of the traces that the gateway begins itself are recorded: `OTEL_TRACES_SAMPLER`.

use super::context::TraceContext;

/// Which spans are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// What a client says of its own trace counts.
    pub follows_parent: bool,
    /// Of the others, this part is recorded: from 0 to 1.
    pub ratio: f64,
}

impl Default for Sampler {
    /// `parentbased_always_on`, as OpenTelemetry has it.
    fn default() -> Self {
        Self {
            follows_parent: true,
            ratio: 1.0,
        }
    }
}

impl Sampler {
    /// The sampler with one of OpenTelemetry's names, and its argument.
    pub fn from_name(name: &str, ratio: f64) -> Option<Self> {
        let (follows_parent, name) = match name.strip_prefix("parentbased_") {
            Some(name) => (true, name),
            None => (false, name),
        };
        let ratio = match name {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" if (0.0..=1.0).contains(&ratio) => ratio,
            _ => return None,
        };
        Some(Self {
            follows_parent,
            ratio,
        })
    }

    /// Whether the spans of a trace are recorded whose context a client has sent.
    pub(super) fn records(self, client: TraceContext) -> bool {
        if self.follows_parent {
            return client.sampled;
        }
        self.takes(client)
    }

    /// Whether the trace of this root is recorded.
    pub(super) fn takes(self, root: TraceContext) -> bool {
        // All services of one trace come to the same answer: its lower half decides.
        #[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        let chance = root.trace.get() as u64 >> 1;
        #[allow(clippy::cast_precision_loss, reason = "a ratio needs no more digits")]
        let chance = chance as f64 / (u64::MAX >> 1) as f64;
        chance < self.ratio || self.ratio >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_opentelemetry() {
        assert_eq!(
            Sampler::from_name("parentbased_always_on", 0.5),
            Some(Sampler::default())
        );
        let off = Sampler::from_name("always_off", 1.0).unwrap();
        assert_eq!((off.follows_parent, off.ratio), (false, 0.0));
        let some = Sampler::from_name("parentbased_traceidratio", 0.25).unwrap();
        assert_eq!((some.follows_parent, some.ratio), (true, 0.25));
        for (name, ratio) in [("traceidratio", 1.5), ("jaeger_remote", 1.0), ("", 1.0)] {
            assert_eq!(Sampler::from_name(name, ratio), None, "{name}");
        }
    }

    #[test]
    fn about_as_many_roots_are_taken_as_were_asked_for() {
        let taken = |name, ratio| {
            let sampler = Sampler::from_name(name, ratio).unwrap();
            let roots = (0..2000).map(|_| TraceContext::root(true));
            roots.filter(|root| sampler.takes(*root)).count()
        };
        assert_eq!(taken("always_on", 0.0), 2000);
        assert_eq!(taken("always_off", 1.0), 0);
        assert!((300..700).contains(&taken("traceidratio", 0.25)));
    }

    #[test]
    fn what_a_client_says_counts_where_the_parent_is_followed() {
        let client = |sampled| TraceContext::root(sampled);
        let follows = Sampler::from_name("parentbased_always_off", 1.0).unwrap();
        assert!(follows.records(client(true)));
        assert!(!follows.records(client(false)));
        let own = Sampler::from_name("always_on", 1.0).unwrap();
        assert!(own.records(client(false)));
    }
}
