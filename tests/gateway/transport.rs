//! The gateway's transport between HTTP/2 peers that see every frame's meaning: metadata, bodies,
//! half-close, trailers and resets, and the three calls that an interceptor changes.

use crate::support::{self, Fixture, frame, messages, read_all};
use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Request, Response};

const PASS: &str = "/moby.buildkit.v1.Control/ListWorkers";
const SOLVE: &str = "/moby.buildkit.v1.Control/Solve";
const LLB_SOLVE: &str = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
const STATUS: &str = "/moby.buildkit.v1.Control/Status";

fn request(path: &str) -> Request<()> {
    let uri = format!("http://client.example{path}");
    let request = Request::post(uri).header("te", "trailers");
    let request = request.header("x-many", "1").header("x-many", "2");
    request.body(()).unwrap()
}

fn trailers(status: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-status-details-bin", "CAUSBG9vcHM".parse().unwrap());
    trailers
}

#[tokio::test]
async fn a_call_passes_with_metadata_half_close_and_trailers() {
    passes(PASS).await;
}

#[tokio::test]
async fn a_call_that_nobody_here_knows_passes_all_the_same() {
    passes("/moby.buildkit.v1.Control/SolveLater").await;
    passes("/moby.buildkit.v9.Control/Solve").await;
    passes("/later.Service/Method").await;
}

async fn passes(path: &str) {
    let mut fixture = Fixture::start().await;
    let (response, mut send) = fixture.client.send_request(request(path), false).unwrap();
    let (request, mut respond) = fixture.upstream.call().await;
    assert_eq!(request.uri().to_string(), format!("http://localhost{path}"));
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers().get_all("x-many").iter().count(), 2);

    // The response begins before the request has ended.
    let mut back = respond.send_response(Response::new(()), false).unwrap();
    let (_, mut body) = response.await.unwrap().into_parts();
    let large: Bytes = (0..=u8::MAX).cycle().take(3_000_000).collect();
    let sending = support::send_all(&mut send, large.clone());
    let mut received = request.into_body();
    let (uploaded, got) = tokio::join!(sending, read_all(&mut received));
    uploaded.unwrap();
    assert_eq!(got.unwrap(), large);

    // A second direction, after the first has ended.
    back.send_data(Bytes::from_static(b"answer"), false)
        .unwrap();
    back.send_trailers(trailers("0")).unwrap();
    assert_eq!(read_all(&mut body).await.unwrap(), "answer");
    assert_eq!(body.trailers().await.unwrap().unwrap(), trailers("0"));
}

#[tokio::test]
async fn a_response_of_trailers_only_stays_one() {
    let mut fixture = Fixture::start().await;
    // The request has not ended, so buildkitd's server adds a reset without an error.
    let (response, _send) = fixture.client.send_request(request(PASS), false).unwrap();
    let (received, mut respond) = fixture.upstream.call().await;
    let mut only = Response::new(());
    *only.headers_mut() = trailers("12");
    respond.send_response(only, true).unwrap();
    drop((received, respond));
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(response.body().is_end_stream());
}

#[tokio::test]
async fn resets_keep_their_codes_in_both_directions() {
    let mut fixture = Fixture::start().await;
    let (_response, mut send) = fixture.client.send_request(request(PASS), false).unwrap();
    let (received, _respond) = fixture.upstream.call().await;
    send.send_reset(Reason::CANCEL);
    let error = read_all(&mut received.into_body()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));

    // After the request has ended, and with a response under way.
    let (response, mut send) = fixture.client.send_request(request(PASS), true).unwrap();
    let (_received, mut respond) = fixture.upstream.call().await;
    let mut back = respond.send_response(Response::new(()), false).unwrap();
    let _response = response.await.unwrap();
    send.send_reset(Reason::INTERNAL_ERROR);
    let reason = std::future::poll_fn(|cx| back.poll_reset(cx))
        .await
        .unwrap();
    assert_eq!(reason, Reason::INTERNAL_ERROR);

    let (response, _send) = fixture.client.send_request(request(PASS), true).unwrap();
    let (_received, mut respond) = fixture.upstream.call().await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let error = response.await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_unavailable_in_words() {
    let mut fixture = Fixture::start().await;
    let path = fixture.upstream.leave();
    let (response, _) = fixture.client.send_request(request(PASS), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    let words = response.headers()["grpc-message"].to_str().unwrap();
    assert!(words.contains(&path.display().to_string()), "{words}");
}

#[tokio::test]
async fn a_solve_is_changed_both_ways() {
    let mut fixture = Fixture::start().await;
    let (response, mut send) = fixture.client.send_request(request(SOLVE), false).unwrap();
    // Cut inside the prefix: a message comes in any pieces.
    let whole = frame("solve me");
    send.send_data(whole.slice(..3), false).unwrap();
    send.send_data(whole.slice(3..), true).unwrap();
    let (received, mut respond) = fixture.upstream.call().await;
    let body = read_all(&mut received.into_body()).await.unwrap();
    assert_eq!(messages(&body), ["solve me, changed"]);

    let mut back = respond.send_response(Response::new(()), false).unwrap();
    back.send_data(frame("solved"), false).unwrap();
    back.send_trailers(trailers("0")).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(
        messages(&read_all(&mut body).await.unwrap()),
        ["solved, edited"]
    );
    assert_eq!(body.trailers().await.unwrap().unwrap(), trailers("0"));
    assert_eq!(fixture.probe.event().await, "finished");
}

#[tokio::test]
async fn a_solve_that_fails_drops_its_guard() {
    let mut fixture = Fixture::start().await;
    let (response, mut send) = fixture.client.send_request(request(SOLVE), false).unwrap();
    send.send_data(frame("solve me"), true).unwrap();
    let (_received, mut respond) = fixture.upstream.call().await;
    let mut only = Response::new(());
    *only.headers_mut() = trailers("2");
    respond.send_response(only, true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status-details-bin"], "CAUSBG9vcHM");
    assert_eq!(fixture.probe.event().await, "dropped");
}

#[tokio::test]
async fn a_held_call_ends_with_its_client() {
    let mut fixture = Fixture::start().await;
    let mut held = request(LLB_SOLVE);
    let build = "the-build".parse().unwrap();
    held.headers_mut()
        .insert("buildkit-controlapi-buildid", build);
    let (_response, mut send) = fixture.client.send_request(held, false).unwrap();
    send.send_data(frame("hold"), true).unwrap();
    assert_eq!(fixture.probe.event().await, "holding for the-build");
    send.send_reset(Reason::CANCEL);
    assert_eq!(fixture.probe.event().await, "let go");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_words() {
    let mut fixture = Fixture::start().await;
    for (prefix, code, words) in [
        ([0, 2, 0, 0, 0], "8", "longer than the limit"),
        ([1, 0, 0, 0, 1], "12", "compressed"),
    ] {
        let (response, mut send) = fixture.client.send_request(request(SOLVE), false).unwrap();
        send.send_data(Bytes::copy_from_slice(&prefix), false)
            .unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["grpc-status"], code);
        let message = response.headers()["grpc-message"].to_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_status_stream_is_edited_and_added_to() {
    let mut fixture = Fixture::start().await;
    let (response, mut send) = fixture.client.send_request(request(STATUS), false).unwrap();
    send.send_data(frame("\x0a\x03ref"), true).unwrap();
    let (_received, mut respond) = fixture.upstream.call().await;
    assert_eq!(fixture.probe.event().await, "status of ref");
    let mut back = respond.send_response(Response::new(()), false).unwrap();
    let mut body = response.await.unwrap().into_body();

    fixture.probe.inject("ours").await;
    assert_eq!(support::next_message(&mut body).await, "ours");
    back.send_data(frame("theirs"), false).unwrap();
    assert_eq!(support::next_message(&mut body).await, "theirs, edited");
    back.send_trailers(trailers("0")).unwrap();
    assert_eq!(support::next_message(&mut body).await, "last");
    assert_eq!(body.trailers().await.unwrap().unwrap(), trailers("0"));
}

#[tokio::test]
async fn no_task_outlives_its_client() {
    let mut fixture = Fixture::start().await;
    let (_response, send) = fixture.client.send_request(request(PASS), false).unwrap();
    let call = fixture.upstream.call().await;
    assert!(fixture.tasks.count() > 0);
    drop(send);
    fixture.hang_up();
    drop(call);
    fixture
        .tasks
        .drain(std::time::Duration::from_secs(10))
        .await;
    assert_eq!(fixture.tasks.count(), 0);
}
