use std::time::Duration;

use tokio::{sync::mpsc::Receiver, time::Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::*;
use crate::{
    proto::trace::{Span, any_value::Value, status::StatusCode},
    telemetry::Metrics,
};

const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn tracer(collected: bool) -> (Tracer, Receiver<EndedSpan>, Metrics) {
    let metrics = Metrics::default();
    let (tracer, spans) = Tracer::new(Sampler::default(), collected, metrics.spans().clone());
    (tracer, spans, metrics)
}

fn ended(spans: &mut Receiver<EndedSpan>) -> Vec<EndedSpan> {
    std::iter::from_fn(|| spans.try_recv().ok()).collect()
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a Value> {
    let found = span
        .attributes
        .iter()
        .find(|attribute| attribute.key == key)?;
    found.value.as_ref()?.value.as_ref()
}

#[test]
fn spans_stand_under_those_of_the_client() {
    let (tracer, mut spans, _) = tracer(false);
    let build = tracer.build(Some(CLIENT), "the-ref");
    let export = build.parent().export("app");
    let url = Url::parse("https://cache.example/twirp/Lookup?secret=1").unwrap();
    let mut call = export.parent().call("lookup", 3, &url);
    call.fail("throttled");
    // A call may end after its export has.
    drop((export, call, build));
    let ended = ended(&mut spans);
    let names: Vec<_> = ended.iter().map(|ended| ended.span.name.as_str()).collect();
    assert_eq!(
        names,
        ["cache export", "cache lookup", "buildkit-gha build"]
    );
    assert!(ended.iter().all(|ended| ended.of_client));
    let [export, call, build] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert!(build.flushes && !call.flushes);
    let client = 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes();
    assert_eq!(build.span.parent_span_id, client);
    assert_eq!(export.span.parent_span_id, build.span.span_id);
    assert_eq!(call.span.parent_span_id, export.span.span_id);
    assert_eq!(call.span.trace_id, build.span.trace_id);
    assert!(call.span.start_time_unix_nano <= call.span.end_time_unix_nano);
    let text = |value: &str| Value::StringValue(value.to_owned());
    assert_eq!(attribute(&build.span, "build.ref"), Some(&text("the-ref")));
    assert_eq!(
        attribute(&export.span, "buildkit_gha.scope"),
        Some(&text("app"))
    );
    assert_eq!(
        attribute(&call.span, "server.address"),
        Some(&text("cache.example"))
    );
    assert_eq!(
        attribute(&call.span, "server.port"),
        Some(&Value::IntValue(443))
    );
    let resent = attribute(&call.span, "http.request.resend_count");
    assert_eq!(resent, Some(&Value::IntValue(2)));
    let status = call.span.status.as_ref().unwrap();
    assert_eq!(
        (status.code, status.message.as_str()),
        (StatusCode::Error.into(), "throttled")
    );
    assert!(!format!("{ended:?}").contains("secret"));
}

#[test]
fn nothing_is_recorded_where_nobody_traces() {
    let (tracer, mut spans, _) = tracer(false);
    for client in [None, Some(UNSAMPLED), Some("nonsense")] {
        let build = tracer.build(client, "the-ref");
        assert!(!build.is_recorded(), "{client:?}");
        let mut import = build.parent().import("app");
        import.set("never", || -> String { panic!("nobody wants the value") });
    }
    assert!(
        !Tracer::default()
            .build(Some(CLIENT), "the-ref")
            .is_recorded()
    );
    assert_eq!(ended(&mut spans), []);
}

#[test]
fn a_collector_gets_traces_that_no_client_has_begun() {
    let (tracer, mut spans, _) = tracer(true);
    drop(tracer.build(None, "one").parent().import("app"));
    assert!(!tracer.build(Some(UNSAMPLED), "two").is_recorded());
    let ended = ended(&mut spans);
    let [import, build] = &ended[..] else {
        panic!("{ended:?}");
    };
    assert_eq!((build.of_client, import.of_client), (false, false));
    assert!(build.span.parent_span_id.is_empty());
    assert_eq!(import.span.parent_span_id, build.span.span_id);
}

#[test]
fn a_connection_belongs_to_the_trace_of_its_first_call() {
    let (tracer, mut spans, _) = tracer(true);
    let untraced = ConnectionTrace::new(&tracer, "unix");
    untraced.called(None);
    drop(untraced);
    let connection = ConnectionTrace::new(&tracer, "unix");
    connection.called(None);
    connection.called(Some(CLIENT));
    connection.called(Some(
        "00-11111111111111111111111111111111-00f067aa0ba902b7-01",
    ));
    drop(connection);
    let ended = ended(&mut spans);
    let [connection] = &ended[..] else {
        panic!("{ended:?}");
    };
    let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();
    assert_eq!(connection.span.trace_id, trace);
    assert_eq!(connection.span.name, "buildkit-gha connection");
}

#[test]
fn a_build_has_a_bounded_number_of_spans() {
    let (tracer, mut spans, metrics) = tracer(false);
    let build = tracer.build(Some(CLIENT), "the-ref");
    for _ in 0..span::MAX_SPANS + 5 {
        drop(build.parent().write());
    }
    drop(build);
    let ended = ended(&mut spans);
    assert_eq!(ended.len(), span::MAX_SPANS);
    assert!(
        ended.last().unwrap().flushes,
        "the build itself is among them"
    );
    let dropped = "buildkit_gha_trace_spans_total{destination=\"buildkitd\",outcome=\"dropped\"} 6";
    assert!(metrics.render().contains(dropped), "{}", metrics.render());
}

#[tokio::test(start_paused = true)]
async fn nobody_who_looks_elsewhere_loses_a_span() {
    let (tracer, spans, _) = tracer(false);
    let mut spans = Batches::new(spans);
    let build = tracer.build(Some(CLIENT), "the-ref");
    drop(build.parent().write());
    let moment = Duration::from_millis(1);
    assert!(tokio::time::timeout(moment, spans.next()).await.is_err());
    drop(build);
    let end = CancellationToken::new();
    end.cancel();
    assert_eq!(spans.next_until(&end).await.unwrap().len(), 2);
    assert_eq!(spans.next_until(&end).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_build_waits_for_nothing() {
    let (tracer, spans, _) = tracer(false);
    let mut spans = Batches::new(spans);
    let build = tracer.build(Some(CLIENT), "the-ref");
    let begun = Instant::now();
    drop(build.parent().write());
    assert_eq!(spans.next().await.unwrap().len(), 1);
    assert_eq!(begun.elapsed(), Duration::from_millis(500));
    let begun = Instant::now();
    drop((build.parent().write(), build));
    assert_eq!(spans.next().await.unwrap().len(), 2);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(tracer);
    assert_eq!(spans.next().await, None);
}
