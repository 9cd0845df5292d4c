//! `grpc.health.v1` of the gateway: for itself, and for what is behind it.

use bytes::Bytes;
use h2::{client::ResponseFuture, server::SendResponse};
use http::{HeaderMap, Request, Response};

use crate::support::{Fixture, frame, messages, next_message, read_all};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// A message with the field `status`.
const SERVING: &str = "\x08\x01";
const NOT_SERVING: &str = "\x08\x02";
const SERVICE_UNKNOWN: &str = "\x08\x03";

/// A message with the field `service`.
const QUESTION: &str = "\x0a\x04name";

fn ask(fixture: &mut Fixture, path: &str) -> ResponseFuture {
    let request = Request::post(format!("http://client.example{path}"));
    let request = request.header("te", "trailers").body(()).unwrap();
    let (response, mut send) = fixture.client.send_request(request, false).unwrap();
    send.send_data(frame(QUESTION), true).unwrap();
    response
}

/// What buildkitd is asked; `None` is a service that it does not have.
async fn answer(fixture: &mut Fixture, status: Option<&str>) {
    let (request, mut respond) = fixture.upstream.call().await;
    assert_eq!(request.uri().path(), CHECK);
    let question = read_all(&mut request.into_body()).await.unwrap();
    assert_eq!(
        question,
        frame(QUESTION),
        "it is asked for the same service"
    );
    reply(&mut respond, status);
}

fn reply(respond: &mut SendResponse<Bytes>, status: Option<&str>) {
    let mut back = respond.send_response(Response::new(()), false).unwrap();
    let code = if let Some(status) = status {
        back.send_data(frame(status), false).unwrap();
        "0"
    } else {
        "5"
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    back.send_trailers(trailers).unwrap();
}

/// The messages of a response, and gRPC's status.
async fn outcome(response: ResponseFuture) -> (Vec<String>, String) {
    let (head, mut body) = response.await.unwrap().into_parts();
    let read = messages(&read_all(&mut body).await.unwrap());
    let trailers = body.trailers().await.unwrap().unwrap_or(head.headers);
    let status = trailers["grpc-status"].to_str().unwrap().to_owned();
    (read, status)
}

async fn check(fixture: &mut Fixture, behind: Option<&str>) -> (Vec<String>, String) {
    let response = ask(fixture, CHECK);
    answer(fixture, behind).await;
    outcome(response).await
}

#[tokio::test]
async fn the_gateway_serves_if_buildkitd_serves_and_builds_are_taken() {
    let mut fixture = Fixture::start().await;
    let said = |status: &str| (vec![status.to_owned()], "0".to_owned());
    assert_eq!(check(&mut fixture, Some(SERVING)).await, said(SERVING));
    assert_eq!(
        check(&mut fixture, Some(NOT_SERVING)).await,
        said(NOT_SERVING)
    );
    assert_eq!(check(&mut fixture, None).await, (vec![], "5".to_owned()));
    fixture.probe.close();
    assert_eq!(check(&mut fixture, Some(SERVING)).await, said(NOT_SERVING));
}

#[tokio::test]
async fn without_buildkitd_it_does_not_serve() {
    let mut fixture = Fixture::start().await;
    fixture.upstream.leave();
    let (said, status) = outcome(ask(&mut fixture, CHECK)).await;
    assert_eq!((said, status.as_str()), (vec![NOT_SERVING.to_owned()], "0"));
}

#[tokio::test]
async fn who_watches_hears_of_every_change_until_the_gateway_ends() {
    let mut fixture = Fixture::start().await;
    let response = ask(&mut fixture, WATCH);
    answer(&mut fixture, Some(SERVING)).await;
    let mut body = response.await.unwrap().into_body();
    assert_eq!(next_message(&mut body).await, SERVING);
    // What is the same is not said again.
    answer(&mut fixture, Some(SERVING)).await;
    answer(&mut fixture, None).await;
    assert_eq!(next_message(&mut body).await, SERVICE_UNKNOWN);
    fixture.upstream.leave();
    assert_eq!(next_message(&mut body).await, NOT_SERVING);
    fixture.tasks.shutdown().cancel();
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
}
