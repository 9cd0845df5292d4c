use tokio::time::advance;

use super::*;

const WAIT: Duration = Duration::from_millis(500);

fn failed(cause: NoConnection) -> Error {
    let origin = "http://cache.example".to_owned();
    let message = "Connection refused (os error 111)".to_owned();
    Error::new(Kind::Unreachable(cause), Call::Lookup, origin, message)
}

fn refused() -> Error {
    failed(NoConnection::Refused)
}

async fn is_free(origin: &CircuitBreaker, caller: &CallerHistory) -> bool {
    matches!(origin.admit(caller).await, Ok(Admission::Free))
}

async fn is_refused(origin: &CircuitBreaker, caller: &CallerHistory) -> bool {
    origin.admit(caller).await.is_err()
}

/// A client with nothing left to probe.
fn spent() -> CallerHistory {
    let caller = CallerHistory::default();
    assert!(caller.may_probe());
    caller
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_a_second_is_waited_for_and_a_dead_service_no_longer_than_two() {
    let (origin, caller) = (CircuitBreaker::default(), CallerHistory::default());
    let began = Instant::now();
    origin.note(Some(&refused()));
    // However many calls there are, all share one time.
    while let Some(wait) = origin.wait(&caller, Some(WAIT)) {
        assert!(is_free(&origin, &caller).await);
        advance(wait).await;
        origin.note(Some(&refused()));
    }
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took <= FIRST_GRACE,
        "{took:?}"
    );
    assert!(is_refused(&origin, &spent()).await);
    assert_eq!(origin.wait(&CallerHistory::default(), Some(WAIT)), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_not_tried_again() {
    for cause in [NoConnection::UnknownHost, NoConnection::Tls] {
        let origin = CircuitBreaker::default();
        origin.note(Some(&failed(cause)));
        assert_eq!(origin.wait(&CallerHistory::default(), Some(WAIT)), None);
        assert!(is_refused(&origin, &spent()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_build_that_has_reached_the_service_bears_more() {
    let (origin, caller) = (CircuitBreaker::default(), CallerHistory::default());
    origin.note(None);
    // Even a name that is unknown for a moment.
    origin.note(Some(&failed(NoConnection::UnknownHost)));
    advance(Duration::from_secs(5)).await;
    // One that is made now has never seen it alive.
    let late = spent();
    assert_eq!(origin.wait(&caller, Some(WAIT)), Some(WAIT));
    assert!(is_free(&origin, &caller).await);
    assert!(is_refused(&origin, &late).await);
    advance(Duration::from_secs(5)).await;
    assert_eq!(origin.wait(&caller, Some(WAIT)), None);
    assert!(caller.may_probe() && is_refused(&origin, &caller).await);
}

#[tokio::test(start_paused = true)]
async fn each_client_has_a_probe_now_and_then_and_all_wait_for_it() {
    let origin = CircuitBreaker::default();
    origin.note(Some(&failed(NoConnection::Tls)));
    let (one, other) = (CallerHistory::default(), CallerHistory::default());
    let Ok(Admission::Probe(guard, _)) = origin.admit(&one).await else {
        panic!("the first may probe")
    };
    let found = async {
        origin.note(Some(&failed(NoConnection::Tls)));
        origin.lock().probes += 1;
        drop(guard);
    };
    let (waited, ()) = futures_util::future::join(origin.admit(&other), found).await;
    assert!(waited.is_err(), "the other one's probe tells this one too");
    assert!(is_refused(&origin, &one).await);
    let Ok(Admission::Probe(..)) = origin.admit(&other).await else {
        panic!("it has its own yet")
    };
    assert!(is_refused(&origin, &other).await);
    advance(NEXT_PROBE).await;
    let Ok(Admission::Probe(..)) = origin.admit(&one).await else {
        panic!("and another after a while")
    };
}

#[tokio::test(start_paused = true)]
async fn an_answer_or_a_minute_ends_it() {
    let origin = CircuitBreaker::default();
    origin.note(Some(&failed(NoConnection::Tls)));
    assert!(is_refused(&origin, &spent()).await);
    let denied = Error {
        kind: Kind::Denied,
        ..refused()
    };
    origin.note(Some(&denied));
    assert!(is_free(&origin, &spent()).await);

    origin.note(Some(&failed(NoConnection::Tls)));
    let silent = Error {
        kind: Kind::Timeout,
        ..refused()
    };
    origin.note(Some(&silent));
    let margin = Duration::from_millis(1);
    advance(OUTAGE_TIME.saturating_sub(margin)).await;
    let newcomer = spent();
    assert!(is_refused(&origin, &newcomer).await);
    advance(margin).await;
    assert!(is_free(&origin, &newcomer).await);
}

#[test]
fn origins_are_bounded_and_those_with_an_outage_stay() {
    let breakers = CircuitBreakers::default();
    breakers.breaker("dead").note(Some(&refused()));
    for number in 0..2 * MAX_ORIGINS {
        breakers.breaker(&number.to_string()).note(None);
    }
    assert!(breakers.0.lock().len() <= MAX_ORIGINS);
    assert!(breakers.breaker("dead").lock().outage.is_some());
}
