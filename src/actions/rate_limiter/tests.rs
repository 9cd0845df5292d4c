//! Rate limiters with paused time: who is let through, when, and in what order.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::*;
use crate::actions::PerMinute;
use crate::telemetry::WaitCause;

const LIMIT: Duration = Duration::from_mins(1);

fn unlimited() -> RateLimiter {
    RateLimiter::new(Budgets::default(), false)
}

fn refusal(seconds: u64) -> Refusal {
    Refusal {
        asked: Some(Duration::from_secs(seconds)),
        jitter: 0.0,
        message: "slow down".to_owned(),
    }
}

/// How long a call that saves so much waits.
async fn pass(limiter: &RateLimiter, call: Call, savings: u64) -> Duration {
    pass_with(limiter, call, &Priority::new(savings)).await
}

async fn pass_with(limiter: &RateLimiter, call: Call, priority: &Priority) -> Duration {
    let start = Instant::now();
    let admitted = limiter.acquire(call, priority, None, |_, _| ()).await;
    admitted.unwrap() - start
}

#[tokio::test(start_paused = true)]
async fn githubs_budgets_hold_on_its_hosts_and_nowhere_else() {
    let limiters = RateLimiters::default();
    let subject = Digest::sha256("token");
    let limiter = |url: &str| limiters.limiter(&url.parse().unwrap(), subject);
    let github = limiter("https://results-receiver.actions.githubusercontent.com/");
    let other = limiter("https://actions.githubusercontent.com.example/");
    for (limiter, budget) in [(github, true), (other, false)] {
        let start = Instant::now();
        let mut callers: FuturesUnordered<_> =
            (0..300).map(|_| pass(&limiter, Call::Reserve, 0)).collect();
        let mut in_first_minute = 0;
        while let Some(waited) = callers.next().await {
            in_first_minute += usize::from(waited <= LIMIT);
        }
        // Ten are kept for what goes first.
        assert_eq!(in_first_minute, if budget { 190 } else { 300 });
        assert_eq!(start.elapsed() > LIMIT, budget);
        // Lookups have a budget of their own.
        assert_eq!(pass(&limiter, Call::Lookup, 0).await, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn one_host_and_token_share_a_limiter_and_others_do_not() {
    let limiters = RateLimiters::default();
    let (one, other) = (Digest::sha256("one"), Digest::sha256("other"));
    let url = |text: &str| text.parse::<Url>().unwrap();
    let limiter = limiters.limiter(&url("http://h:1/a/"), one);
    assert!(Arc::ptr_eq(
        &limiter,
        &limiters.limiter(&url("http://h:1/b"), one)
    ));
    limiter.note_refused(Call::Reserve, Instant::now(), refusal(30));
    for unrelated in [
        limiters.limiter(&url("http://h:1/a/"), other),
        limiters.limiter(&url("http://h:2/a/"), one),
    ] {
        assert_eq!(pass(&unrelated, Call::Reserve, 0).await, Duration::ZERO);
    }
    assert_eq!(pass(&limiter, Call::Lookup, 0).await, Duration::ZERO);
    assert_eq!(
        pass(&limiter, Call::Reserve, 0).await,
        Duration::from_secs(30)
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_many_come_back_one_by_one_and_all_of_them() {
    let limiter = unlimited();
    limiter.note_refused(Call::Lookup, Instant::now(), refusal(5));
    let mut callers: FuturesUnordered<_> =
        (0..200).map(|_| pass(&limiter, Call::Lookup, 0)).collect();
    let mut waits = Vec::new();
    while let Some(waited) = callers.next().await {
        limiter.note_served(Call::Lookup, Instant::now());
        waits.push(waited);
    }
    assert_eq!(waits.len(), 200);
    assert_eq!(waits[0], Duration::from_secs(5));
    assert!(waits[1] > waits[0], "one success does not free everybody");
    assert!(
        waits[199] < Duration::from_secs(10),
        "nor does one refusal freeze: {:?}",
        waits[199]
    );
}

#[tokio::test(start_paused = true)]
async fn the_largest_goes_first_as_priorities_are_when_the_turn_comes() {
    let limiter = unlimited();
    limiter.note_refused(Call::Reserve, Instant::now(), refusal(5));
    let priorities = [3, 1, 2, 2, 0].map(Priority::new);
    let order = AtomicUsize::new(0);
    let callers = priorities.iter().map(|priority| async {
        limiter
            .acquire(Call::Reserve, priority, None, |_, _| ())
            .await
            .unwrap();
        order.fetch_add(1, Ordering::SeqCst)
    });
    let change = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        priorities[4].raise(9);
        usize::MAX
    };
    let (order, _) = tokio::join!(futures_util::future::join_all(callers), change);
    assert_eq!(order, [1, 4, 2, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_deadline_is_not_begun_and_says_why() {
    let limiter = unlimited();
    let start = Instant::now();
    limiter.note_refused(Call::Reserve, start, refusal(60));
    let priority = Priority::first();
    let deadline = Some(start + Duration::from_secs(20));
    let waiting = |_, _: &Reason| panic!("no wait is shown that is not begun");
    let outcome = limiter
        .acquire(Call::Reserve, &priority, deadline, waiting)
        .await;
    let expected = TooLate {
        wait: LIMIT,
        reason: Reason {
            cause: WaitCause::Refusal,
            words: "the service said: slow down".to_owned(),
        },
    };
    assert_eq!((outcome, start.elapsed()), (Err(expected), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_delays_no_other() {
    let limiter = unlimited();
    limiter.note_refused(Call::Reserve, Instant::now(), refusal(5));
    let priority = Priority::first();
    let head = limiter.acquire(Call::Reserve, &priority, None, |_, _| ());
    let patient = pass(&limiter, Call::Reserve, 0);
    let leaves = tokio::time::timeout(Duration::from_secs(2), head);
    let (left, waited) = tokio::join!(leaves, patient);
    assert!(left.is_err());
    assert_eq!(waited, Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_shown_while_it_lasts() {
    struct Shown<'a>(&'a AtomicUsize);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let limiter = unlimited();
    limiter.note_refused(Call::Reserve, Instant::now(), refusal(5));
    let shown = AtomicUsize::new(0);
    let priority = Priority::default();
    let waits = limiter.acquire(Call::Reserve, &priority, None, |wait, why| {
        assert_eq!(wait, Duration::from_secs(5));
        assert!(why.words.contains("slow down"), "{why:?}");
        shown.fetch_add(1, Ordering::SeqCst);
        Shown(&shown)
    });
    let looks = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shown.load(Ordering::SeqCst)
    };
    let (passed, meanwhile) = tokio::join!(waits, looks);
    assert!(passed.is_ok());
    assert_eq!((meanwhile, shown.load(Ordering::SeqCst)), (1, 0));
}

fn budget(creations: u32) -> RateLimiter {
    let budgets = Budgets {
        creations: PerMinute::Calls(creations),
        ..Budgets::default()
    };
    RateLimiter::new(budgets, false)
}

/// An export whose time does not hold all of its layers.
#[tokio::test(start_paused = true)]
async fn the_largest_are_served_and_who_cannot_be_is_told_as_soon_as_that_is_known() {
    let limiter = budget(20);
    let start = Instant::now();
    let deadline = Some(start + LIMIT + Duration::from_secs(30));
    let callers = (0..60_u64).map(|size| {
        let (limiter, priority) = (&limiter, Priority::new(size));
        async move {
            let served = limiter
                .acquire(Call::Reserve, &priority, deadline, |_, _| ())
                .await;
            (served.is_ok(), start.elapsed())
        }
    });
    let outcomes = futures_util::future::join_all(callers).await;
    for (size, (served, after)) in outcomes.into_iter().enumerate() {
        // The first come are served at once, whoever they are; a minute later the largest.
        assert_eq!(served, !(19..41).contains(&size), "{size}");
        let soon = Duration::from_secs(if size < 19 { 0 } else { 60 });
        assert!(
            after >= soon && after < soon + Duration::from_secs(1),
            "{size}: {after:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_first_passes_those_who_wait() {
    let limiter = budget(20);
    for _ in 0..19 {
        assert_eq!(pass(&limiter, Call::Reserve, 0).await, Duration::ZERO);
    }
    let first = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pass_with(&limiter, Call::Reserve, &Priority::first()).await
    };
    let (waited, index) = tokio::join!(pass(&limiter, Call::Reserve, 7), first);
    assert!(waited > LIMIT && waited < LIMIT + Duration::from_secs(1));
    assert_eq!(index, Duration::ZERO);
}

/// A refusal that comes while callers wait ends the waits that it makes too long.
#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_a_longer_pause_makes_it_too_late() {
    let limiter = unlimited();
    let start = Instant::now();
    limiter.note_refused(Call::Reserve, start, refusal(5));
    let deadline = Some(start + LIMIT);
    let priorities = [1, 2, 3].map(Priority::new);
    let callers = priorities.iter().map(|priority| async {
        let passed = limiter
            .acquire(Call::Reserve, priority, deadline, |_, _| ())
            .await;
        (passed.is_err(), start.elapsed())
    });
    let refused = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        limiter.note_refused(Call::Reserve, start, refusal(600));
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(callers), refused);
    assert_eq!(outcomes, [(true, Duration::from_secs(5)); 3]);
}

#[tokio::test(start_paused = true)]
async fn the_limit_that_the_rest_api_tells_is_one_for_all_its_calls() {
    let limiter = unlimited();
    let headers = RateLimitHeaders {
        remaining: 0,
        reset_after: LIMIT,
    };
    limiter.note_headers(Call::List, Instant::now(), headers);
    assert_eq!(pass(&limiter, Call::Lookup, 0).await, Duration::ZERO);
    assert_eq!(pass(&limiter, Call::Delete, 0).await, LIMIT);
}
