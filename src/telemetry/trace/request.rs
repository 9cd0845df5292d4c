//! The message in which spans travel.

use super::span::{AttributeValue, EndedSpan};
use crate::proto::trace::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans,
    ScopeSpans,
};

/// What made the spans: OpenTelemetry's resource.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSource(Resource);

/// The name of the service where nothing else was said, and of what recorded the spans.
const NAME: &str = "buildkit-gha";

impl SpanSource {
    /// This program, with these attributes; `service.name` may be among them.
    pub fn new(attributes: impl IntoIterator<Item = (String, String)>) -> Self {
        let pair = |(key, value): (String, String)| KeyValue {
            key,
            value: Some(AnyValue {
                value: Some(AttributeValue::from(value).into_value()),
            }),
        };
        let mut all: Vec<_> = attributes.into_iter().collect();
        for (key, value) in [
            ("service.name", NAME),
            ("service.version", env!("CARGO_PKG_VERSION")),
        ] {
            if all.iter().all(|(known, _)| known != key) {
                all.push((key.to_owned(), value.to_owned()));
            }
        }
        Self(Resource {
            attributes: all.into_iter().map(pair).collect(),
        })
    }

    /// The message that hands these spans over.
    pub fn request<'a>(
        &self,
        spans: impl IntoIterator<Item = &'a EndedSpan>,
    ) -> ExportTraceServiceRequest {
        let spans = spans.into_iter().map(|ended| ended.span.clone());
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.0.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: NAME.to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans: spans.collect(),
                }],
            }],
        }
    }
}

impl Default for SpanSource {
    fn default() -> Self {
        Self::new([])
    }
}
