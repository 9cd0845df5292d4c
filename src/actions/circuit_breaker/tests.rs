use tokio::time::advance;

use super::*;

const WAIT: Duration = Duration::from_millis(500);

fn error(kind: Kind) -> Error {
    let origin = "http://cache.example".to_owned();
    let message = "Connection refused (os error 111)".to_owned();
    Error::new(kind, Call::Lookup, origin, message)
}

fn failed(cause: NoConnection) -> Error {
    error(Kind::Unreachable(cause))
}

fn refused() -> Error {
    failed(NoConnection::Refused)
}

async fn is_free(breaker: &CircuitBreaker, caller: &CallerHistory) -> bool {
    matches!(breaker.admit(caller).await, Ok(Admission::Free))
}

async fn is_refused(breaker: &CircuitBreaker, caller: &CallerHistory) -> bool {
    breaker.admit(caller).await.is_err()
}

/// A client with nothing left to probe.
fn spent() -> CallerHistory {
    let caller = CallerHistory::default();
    assert!(caller.may_probe());
    caller
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_a_second_is_waited_for_and_a_dead_service_no_longer_than_two() {
    let (breaker, caller) = (CircuitBreaker::default(), CallerHistory::default());
    let began = Instant::now();
    breaker.note(Some(&refused()));
    // However many calls there are, all share one time.
    while let Some(wait) = breaker.wait(&caller, Some(WAIT)) {
        assert!(is_free(&breaker, &caller).await);
        advance(wait).await;
        breaker.note(Some(&refused()));
    }
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took <= FIRST_GRACE,
        "{took:?}"
    );
    assert!(is_refused(&breaker, &spent()).await);
    assert_eq!(breaker.wait(&CallerHistory::default(), Some(WAIT)), None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_not_tried_again() {
    for cause in [NoConnection::UnknownHost, NoConnection::Tls] {
        let breaker = CircuitBreaker::default();
        breaker.note(Some(&failed(cause)));
        assert_eq!(breaker.wait(&CallerHistory::default(), Some(WAIT)), None);
        assert!(is_refused(&breaker, &spent()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_reached_the_service_retries_for_longer() {
    let (breaker, caller) = (CircuitBreaker::default(), CallerHistory::default());
    breaker.note(None);
    // Even a name that is unknown for a moment.
    breaker.note(Some(&failed(NoConnection::UnknownHost)));
    advance(Duration::from_secs(5)).await;
    // One that is made now has never seen it alive.
    let late = spent();
    assert_eq!(breaker.wait(&caller, Some(WAIT)), Some(WAIT));
    assert!(is_free(&breaker, &caller).await);
    assert!(is_refused(&breaker, &late).await);
    advance(Duration::from_secs(5)).await;
    assert_eq!(breaker.wait(&caller, Some(WAIT)), None);
    assert!(caller.may_probe() && is_refused(&breaker, &caller).await);
}

#[tokio::test(start_paused = true)]
async fn each_client_has_a_probe_now_and_then_and_all_wait_for_it() {
    let breaker = CircuitBreaker::default();
    breaker.note(Some(&failed(NoConnection::Tls)));
    let (one, other) = (CallerHistory::default(), CallerHistory::default());
    let Ok(Admission::Probe(guard, _)) = breaker.admit(&one).await else {
        panic!("the first may probe")
    };
    let found = async {
        breaker.note(Some(&failed(NoConnection::Tls)));
        breaker.lock().probes += 1;
        drop(guard);
    };
    let (waited, ()) = futures_util::future::join(breaker.admit(&other), found).await;
    assert!(waited.is_err(), "the other one's probe tells this one too");
    assert!(is_refused(&breaker, &one).await);
    let Ok(Admission::Probe(..)) = breaker.admit(&other).await else {
        panic!("it has its own yet")
    };
    assert!(is_refused(&breaker, &other).await);
    advance(NEXT_PROBE).await;
    let Ok(Admission::Probe(..)) = breaker.admit(&one).await else {
        panic!("and another after a while")
    };
}

#[tokio::test(start_paused = true)]
async fn an_answer_or_a_minute_ends_it() {
    let breaker = CircuitBreaker::default();
    breaker.note(Some(&failed(NoConnection::Tls)));
    assert!(is_refused(&breaker, &spent()).await);
    breaker.note(Some(&error(Kind::Denied)));
    assert!(is_free(&breaker, &spent()).await);

    breaker.note(Some(&failed(NoConnection::Tls)));
    breaker.note(Some(&error(Kind::Timeout)));
    let margin = Duration::from_millis(1);
    advance(OUTAGE_TIME.saturating_sub(margin)).await;
    let newcomer = spent();
    assert!(is_refused(&breaker, &newcomer).await);
    advance(margin).await;
    assert!(is_free(&breaker, &newcomer).await);
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
