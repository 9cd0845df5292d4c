//! Lanes with paused time: who is let through, when, and in what order.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::*;

const LIMIT: Duration = Duration::from_mins(1);

fn unlimited() -> Lane {
    Lane::new(Budgets::default(), false)
}

fn refusal(seconds: u64) -> Refusal {
    Refusal {
        asked: Some(Duration::from_secs(seconds)),
        jitter: 0.0,
        words: "slow down".to_owned(),
    }
}

async fn pass(lane: &Lane, call: Call, weight: u64) -> Duration {
    let start = Instant::now();
    let weight = Priority::new(weight);
    let made = lane.pass(call, &weight, None, |_, _| ()).await.unwrap();
    made - start
}

#[tokio::test(start_paused = true)]
async fn githubs_budgets_hold_on_its_hosts_and_nowhere_else() {
    let governor = Governor::default();
    let subject = Digest::of("token");
    let lane = |url: &str| governor.lane(&url.parse().unwrap(), subject);
    let github = lane("https://results-receiver.actions.githubusercontent.com/");
    let other = lane("https://actions.githubusercontent.com.example/");
    for (lane, budget) in [(github, true), (other, false)] {
        let start = Instant::now();
        let mut callers: FuturesUnordered<_> =
            (0..300).map(|_| pass(&lane, Call::Reserve, 0)).collect();
        let mut in_first_minute = 0;
        while let Some(waited) = callers.next().await {
            in_first_minute += usize::from(waited <= LIMIT);
        }
        // Ten are kept for what goes first.
        assert_eq!(in_first_minute, if budget { 190 } else { 300 });
        assert_eq!(start.elapsed() > LIMIT, budget);
        // Lookups have a budget of their own.
        assert_eq!(pass(&lane, Call::Lookup, 0).await, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn one_host_and_token_share_a_lane_and_strangers_do_not() {
    let governor = Governor::default();
    let (one, other) = (Digest::of("one"), Digest::of("other"));
    let url = |text: &str| text.parse::<Url>().unwrap();
    let lane = governor.lane(&url("http://h:1/a/"), one);
    assert!(Arc::ptr_eq(
        &lane,
        &governor.lane(&url("http://h:1/b"), one)
    ));
    lane.refused(Call::Reserve, Instant::now(), refusal(30));
    for stranger in [
        governor.lane(&url("http://h:1/a/"), other),
        governor.lane(&url("http://h:2/a/"), one),
    ] {
        assert_eq!(pass(&stranger, Call::Reserve, 0).await, Duration::ZERO);
    }
    assert_eq!(pass(&lane, Call::Lookup, 0).await, Duration::ZERO);
    assert_eq!(pass(&lane, Call::Reserve, 0).await, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_many_come_back_one_by_one_and_all_of_them() {
    let lane = unlimited();
    lane.refused(Call::Lookup, Instant::now(), refusal(5));
    let mut callers: FuturesUnordered<_> = (0..200).map(|_| pass(&lane, Call::Lookup, 0)).collect();
    let mut waits = Vec::new();
    while let Some(waited) = callers.next().await {
        lane.served(Call::Lookup, Instant::now());
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
async fn the_largest_goes_first_as_weights_are_when_the_turn_comes() {
    let lane = unlimited();
    lane.refused(Call::Reserve, Instant::now(), refusal(5));
    let weights = [3, 1, 2, 2, 0].map(Priority::new);
    let order = AtomicUsize::new(0);
    let callers = weights.iter().map(|weight| async {
        lane.pass(Call::Reserve, weight, None, |_, _| ())
            .await
            .unwrap();
        order.fetch_add(1, Ordering::SeqCst)
    });
    let change = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        weights[4].set(9);
        usize::MAX
    };
    let (order, _) = tokio::join!(futures_util::future::join_all(callers), change);
    assert_eq!(order, [1, 4, 2, 3, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_past_the_deadline_is_not_begun_and_says_why() {
    let lane = unlimited();
    let start = Instant::now();
    lane.refused(Call::Reserve, start, refusal(60));
    let weight = Priority::first();
    let deadline = Some(start + Duration::from_secs(20));
    let waiting = |_, _: &str| panic!("no wait is shown that is not begun");
    let outcome = lane.pass(Call::Reserve, &weight, deadline, waiting).await;
    let expected = TooLate {
        wait: LIMIT,
        reason: "the service said: slow down".to_owned(),
    };
    assert_eq!((outcome, start.elapsed()), (Err(expected), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_holds_nobody_up() {
    let lane = unlimited();
    lane.refused(Call::Reserve, Instant::now(), refusal(5));
    let weight = Priority::first();
    let head = lane.pass(Call::Reserve, &weight, None, |_, _| ());
    let patient = pass(&lane, Call::Reserve, 0);
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
    let lane = unlimited();
    lane.refused(Call::Reserve, Instant::now(), refusal(5));
    let shown = AtomicUsize::new(0);
    let weight = Priority::default();
    let waits = lane.pass(Call::Reserve, &weight, None, |wait, why| {
        assert_eq!(wait, Duration::from_secs(5));
        assert!(why.contains("slow down"), "{why}");
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

fn budget(creations: u32) -> Lane {
    let budgets = Budgets {
        creations: PerMinute::Calls(creations),
        ..Budgets::default()
    };
    Lane::new(budgets, false)
}

/// An export whose time does not hold all of its layers.
#[tokio::test(start_paused = true)]
async fn the_largest_are_served_and_who_cannot_be_is_told_as_soon_as_that_is_known() {
    let lane = budget(20);
    let start = Instant::now();
    let deadline = Some(start + LIMIT + Duration::from_secs(30));
    let callers = (0..60_u64).map(|size| {
        let (lane, weight) = (&lane, Priority::new(size));
        async move {
            let served = lane.pass(Call::Reserve, &weight, deadline, |_, _| ()).await;
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
    let lane = budget(20);
    for _ in 0..19 {
        assert_eq!(pass(&lane, Call::Reserve, 0).await, Duration::ZERO);
    }
    let first = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pass(&lane, Call::Reserve, u64::MAX).await
    };
    let (waited, index) = tokio::join!(pass(&lane, Call::Reserve, 7), first);
    assert!(waited > LIMIT && waited < LIMIT + Duration::from_secs(1));
    assert_eq!(index, Duration::ZERO);
}

/// A refusal that comes while callers wait is news for those whose time it takes.
#[tokio::test(start_paused = true)]
async fn who_waits_is_told_when_a_longer_pause_makes_it_too_late() {
    let lane = unlimited();
    let start = Instant::now();
    lane.refused(Call::Reserve, start, refusal(5));
    let deadline = Some(start + LIMIT);
    let weights = [1, 2, 3].map(Priority::new);
    let callers = weights.iter().map(|weight| async {
        let passed = lane.pass(Call::Reserve, weight, deadline, |_, _| ()).await;
        (passed.is_err(), start.elapsed())
    });
    let refused = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lane.refused(Call::Reserve, start, refusal(600));
    };
    let (outcomes, ()) = tokio::join!(futures_util::future::join_all(callers), refused);
    assert_eq!(outcomes, [(true, Duration::from_secs(5)); 3]);
}

#[tokio::test(start_paused = true)]
async fn the_limit_that_the_rest_api_tells_is_one_for_all_its_calls() {
    let lane = unlimited();
    let allowance = Allowance {
        left: 0,
        resets_in: LIMIT,
    };
    lane.told(Call::List, Instant::now(), allowance);
    assert_eq!(pass(&lane, Call::Lookup, 0).await, Duration::ZERO);
    assert_eq!(pass(&lane, Call::Delete, 0).await, LIMIT);
}
