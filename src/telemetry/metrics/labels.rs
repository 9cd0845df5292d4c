//! What the gateway's metrics are told apart by. The values are few and known: each is a time series.

use crate::telemetry::Labels;

/// The operations of remote calls, as labels have them; a test of `actions` holds that these are all.
pub const OPERATIONS: [&str; 9] = [
    "lookup",
    "reserve",
    "upload_part",
    "join_parts",
    "finish_upload",
    "download",
    "probe",
    "list",
    "delete",
];

/// A kind of value with a name for each.
macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $($(#[$value_doc:meta])* $value:ident => $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $kind {
            $($(#[$value_doc])* $value,)*
        }

        impl $kind {
            pub(super) const ALL: &'static [Self] = &[$(Self::$value,)*];

            /// As labels have it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }
    };
}

names! {
    /// How one attempt of a remote call ended.
    Outcome {
        /// The service did what was asked.
        Ok => "ok",
        /// The key is taken.
        Exists => "exists",
        /// The service takes no more calls for now.
        Throttled => "throttled",
        /// The service refused the token.
        Denied => "denied",
        /// There was no connection.
        Unreachable => "unreachable",
        /// The time was over.
        Timeout => "timeout",
        /// Anything else.
        Failed => "failed",
    }
}

names! {
    /// Why a call waits before it is made.
    WaitCause {
        /// The calls of this minute are used up, as they are known or were set.
        Budget => "budget",
        /// The service said beforehand that its own limit is used up.
        Quota => "quota",
        /// The service refused a call of this kind (429).
        Refusal => "refusal",
        /// The last attempt failed.
        Backoff => "backoff",
    }
}

names! {
    /// What was found in the cache.
    Hit {
        /// The index of a scope that a build imports from.
        Index => "index",
        /// A layer that a build imports.
        Layer => "layer",
        /// A layer that a build exports, which therefore is not sent.
        ExportedLayer => "exported_layer",
    }
}

names! {
    /// Why something that a build wanted to import is not used.
    Miss {
        /// There is no index in the scope.
        IndexAbsent => "absent",
        /// The index is not valid, or too large.
        IndexUnusable => "unusable",
        /// The index could not be read.
        IndexFailed => "failed",
        /// The layer is in the index and no longer in the cache.
        LayerGone => "gone",
        /// The layer is damaged in the cache.
        LayerDamaged => "damaged",
        /// The build has waited long enough for lookups.
        LayerLate => "late",
        /// There is no room to fetch the layer, which was to be verified.
        LayerNoRoom => "no_room",
        /// The layer could not be looked up or read.
        LayerFailed => "failed",
    }
}

names! {
    /// What a cache export came to.
    ExportEnd {
        /// The index was written.
        Written => "written",
        /// The index would say what the newest one says.
        Unchanged => "unchanged",
        /// There was nothing to name in an index.
        Nothing => "nothing",
        /// The index of a later build was there already.
        Superseded => "superseded",
        /// The build left before its end.
        Cancelled => "cancelled",
        /// The index could not be written.
        Failed => "failed",
    }
}

names! {
    /// How a build ended.
    BuildEnd {
        /// It succeeded.
        Ok => "ok",
        /// It failed.
        Failed => "failed",
        /// Its client left.
        Cancelled => "cancelled",
    }
}

names! {
    /// What became of a cache export of a build, whoever made it and whether or not it was begun.
    ExportOutcome {
        /// The index was written.
        Written => "written",
        /// The newest index says the same.
        Unchanged => "unchanged",
        /// There was nothing to write, nowhere to write, or a later export was first.
        Skipped => "skipped",
        /// The build left before its end.
        Cancelled => "cancelled",
        /// No index was written.
        Failed => "failed",
    }
}

names! {
    /// What became of a cache import of a build.
    ImportOutcome {
        /// An index was found.
        Found => "found",
        /// There is none.
        Absent => "absent",
        /// What was found cannot be used.
        Unusable => "unusable",
        /// None was found, and one at least could not be read.
        Failed => "failed",
        /// The build went on before it was known.
        Late => "late",
        /// The token may not read, or cannot be used.
        Skipped => "skipped",
    }
}

names! {
    /// Why an index does not name a layer of its build.
    LeftOut {
        /// The service could not be reached.
        Unreachable => "unreachable",
        /// The service refused the token.
        Denied => "denied",
        /// The service took no more calls.
        Throttled => "throttled",
        /// A call failed in another way.
        Failed => "failed",
        /// The time of the export was over.
        Late => "late",
        /// Nobody finishes the uploads that its keys are reserved for.
        Unfinished => "unfinished",
        /// The spool had no room for it, or failed.
        Spool => "spool",
        /// The build wrote it in part, not at all, or with other bytes than another build.
        NotWritten => "not_written",
        /// The export has too many layers.
        TooMany => "too_many",
        /// It builds on one that is left out.
        Below => "below",
    }
}

names! {
    /// Where spans are sent.
    SpanSink {
        /// The history of buildkitd.
        Buildkitd => "buildkitd",
        /// The collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names.
        Otlp => "otlp",
    }
}

names! {
    /// What became of spans.
    SpanEnd {
        /// They were taken.
        Sent => "sent",
        /// They were refused, or nobody answered.
        Failed => "failed",
        /// There was no room for them.
        Dropped => "dropped",
    }
}

impl Miss {
    const fn kind(self) -> Hit {
        match self {
            Self::IndexAbsent | Self::IndexUnusable | Self::IndexFailed => Hit::Index,
            Self::LayerGone
            | Self::LayerDamaged
            | Self::LayerLate
            | Self::LayerNoRoom
            | Self::LayerFailed => Hit::Layer,
        }
    }
}

/// One kind of remote call, and how an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RemoteCall {
    pub operation: Operation,
    pub outcome: Outcome,
}

impl Labels for RemoteCall {
    const NAMES: &'static [&'static str] = &["operation", "outcome"];

    fn values(&self) -> Vec<String> {
        vec![self.operation.0.to_owned(), self.outcome.name().to_owned()]
    }

    fn known() -> Vec<Self> {
        let calls = Operation::known().into_iter().flat_map(|operation| {
            let outcomes = Outcome::ALL.iter();
            outcomes.map(move |&outcome| Self { operation, outcome })
        });
        calls.collect()
    }
}

/// One kind of remote call, by its name as labels have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Operation(&'static str);

impl Operation {
    /// The operation of this name, which may be words for people.
    pub fn new(name: &'static str) -> Self {
        let letters = |name: &'static str| name.chars().map(|c| if c == ' ' { '_' } else { c });
        let known = OPERATIONS.into_iter();
        Self(
            known
                .into_iter()
                .find(|known| letters(name).eq(known.chars()))
                .unwrap_or(name),
        )
    }
}

impl Labels for Operation {
    const NAMES: &'static [&'static str] = &["operation"];

    fn values(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }

    fn known() -> Vec<Self> {
        OPERATIONS.into_iter().map(Self).collect()
    }
}

/// Labels of one name.
macro_rules! one_label {
    ($kind:ident, $name:literal) => {
        impl Labels for $kind {
            const NAMES: &'static [&'static str] = &[$name];

            fn values(&self) -> Vec<String> {
                vec![self.name().to_owned()]
            }

            fn known() -> Vec<Self> {
                Self::ALL.to_vec()
            }
        }
    };
}

one_label!(WaitCause, "cause");
one_label!(Hit, "kind");
one_label!(ExportEnd, "outcome");
one_label!(BuildEnd, "outcome");
one_label!(ExportOutcome, "outcome");
one_label!(ImportOutcome, "outcome");
one_label!(LeftOut, "cause");

impl Labels for Miss {
    const NAMES: &'static [&'static str] = &["kind", "reason"];

    fn values(&self) -> Vec<String> {
        vec![self.kind().name().to_owned(), self.name().to_owned()]
    }

    fn known() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

/// What became of spans, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Spans {
    pub sink: SpanSink,
    pub end: SpanEnd,
}

impl Labels for Spans {
    const NAMES: &'static [&'static str] = &["destination", "outcome"];

    fn values(&self) -> Vec<String> {
        vec![self.sink.name().to_owned(), self.end.name().to_owned()]
    }

    fn known() -> Vec<Self> {
        let ends = SpanSink::ALL.iter().flat_map(|&sink| {
            let ends = SpanEnd::ALL.iter();
            ends.map(move |&end| Self { sink, end })
        });
        ends.collect()
    }
}
