//! `grpc.health.v1` on the gateway's socket, asked by curl: it serves where buildkitd behind it serves.

use rustix::process::Signal;

use crate::harness::{Daemon, Lab, SOON, command, run};

/// An empty request, as gRPC frames it: the health of all.
const ALL: &str = r"printf '\0\0\0\0\0'";

/// What an answer ends in: the field `status`, and its value.
const SERVING: [u8; 2] = [8, 1];
const NOT_SERVING: [u8; 2] = [8, 2];

/// The message of the answer, or what gRPC says in its place.
fn check(gateway: &Daemon) -> Result<Vec<u8>, String> {
    let lab = gateway.lab();
    let (answer, head) = (lab.path("answer"), lab.path("head"));
    let mut curl = command(lab, "sh");
    curl.arg("-c").arg(format!(
        "{ALL} | curl --silent --show-error --http2-prior-knowledge --unix-socket {} --data-binary @- \
         --header 'content-type: application/grpc' --header 'te: trailers' --dump-header {} --output {} \
         http://localhost/grpc.health.v1.Health/Check",
        gateway.socket().display(),
        head.display(),
        answer.display()
    ));
    run(lab, "curl", curl, SOON).ok("curl");
    let head = std::fs::read_to_string(head).expect("a head");
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    match std::fs::read(answer) {
        Ok(answer) if answer.len() == 7 => Ok(answer[5..].to_vec()),
        _ => Err(head),
    }
}

#[test]
fn the_gateway_serves_where_buildkitd_does() {
    let lab = Lab::new();
    let mut stock = Daemon::stock(&lab, "stock");
    let gateway = Daemon::in_front_of(&stock, "gateway", |_| ());
    assert_eq!(
        check(&stock),
        Ok(SERVING.to_vec()),
        "stock answers so itself"
    );
    assert_eq!(check(&gateway), Ok(SERVING.to_vec()));

    // It is there and says nothing.
    stock.process.signal(Signal::STOP);
    assert_eq!(check(&gateway), Ok(NOT_SERVING.to_vec()));
    stock.process.signal(Signal::CONT);
    assert_eq!(check(&gateway), Ok(SERVING.to_vec()));

    stock.process.stop();
    assert_eq!(check(&gateway), Ok(NOT_SERVING.to_vec()));
    drop(stock);
    let _again = Daemon::stock(&lab, "stock");
    assert_eq!(check(&gateway), Ok(SERVING.to_vec()));
}
