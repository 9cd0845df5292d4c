//! Attempts of a call: when each may be made, the waits between them, and the deadline over all.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Client, Deadline, Error, Kind, TokenError,
    config::WaitGuard,
    http::Call,
    rate_limiter::TooLate,
    retry::{self, Decision, Failed},
    throttle::Refusal,
};

impl Client {
    /// Makes attempts, each with a client that knows which one it is, until one succeeds,
    /// [`retry::decide`] gives up, or the deadline is there.
    pub(super) async fn retrying<T, F, Fut>(&self, call: Call, attempt: F) -> Result<T, Error>
    where
        F: Fn(Self) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        let mut attempts = 0;
        let mut last = None;
        loop {
            attempts += 1;
            let made = self.acquire(call, started).await?;
            // Calls are made within calls: boxed, their futures stay small.
            let outcome = self.in_time(Box::pin(attempt(self.nth(attempts)))).await;
            let outcome = outcome.ok_or_else(|| self.out_of_time(call, last.as_ref()))?;
            self.learn(call, made, outcome.as_ref().err());
            let error = match outcome {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let failed = Failed {
                attempt: attempts,
                elapsed: started.elapsed(),
                jitter: (self.config().jitter)(),
            };
            match self.decide(&error, failed) {
                Decision::Retry(wait) => self.wait(call, wait, &error).await?,
                // The rate_limiter, which has been told, says when.
                Decision::RetryWhenAdmitted => {}
                Decision::GiveUp => return Err(self.explained(error)),
            }
            last = Some(error);
        }
    }

    /// Decides what to do after a failure. While a service cannot be reached all calls to it share
    /// one time for attempts, unless this client ignores_outages.
    fn decide(&self, error: &Error, failed: Failed) -> Decision {
        let decision = retry::decide(&self.config().retry, &error.kind, failed);
        if self.ignores_outages() || !matches!(error.kind, Kind::Unreachable(_)) {
            return decision;
        }
        let wait = match decision {
            Decision::Retry(wait) => Some(wait),
            Decision::RetryWhenAdmitted | Decision::GiveUp => None,
        };
        let wait = (self.http().outages()).wait(&error.origin, self.caller(), wait);
        wait.map_or(Decision::GiveUp, Decision::Retry)
    }

    /// Waits for something, at most until the deadline.
    pub(super) async fn in_time<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.deadline() {
            Some(deadline) => deadline.bound(work).await,
            None => Some(work.await),
        }
    }

    pub(super) fn out_of_time(&self, call: Call, last: Option<&Error>) -> Error {
        let message = match last {
            Some(last) => format!(
                "the time for the whole operation is over; the last attempt failed: {}",
                last.message
            ),
            None => "no answer before the time for the whole operation was over".to_owned(),
        };
        self.error(call, Kind::Timeout, &message)
    }

    /// Waits until the service may be called, which is at once unless its budget is used up or it
    /// has refused a call of this kind.
    async fn acquire(&self, call: Call, started: Instant) -> Result<Instant, Error> {
        let patience = started.checked_add(self.config().retry.patience);
        let deadline = || match (self.deadline().map(Deadline::end), patience) {
            (Some(deadline), Some(patience)) => Some(deadline.min(patience)),
            (deadline, patience) => deadline.or(patience),
        };
        loop {
            let end = deadline();
            let waiting = |wait: Duration, why: &str| self.show(call, wait, why);
            let passed = self
                .limiter()
                .acquire(call, self.priority(), end, waiting)
                .await;
            let TooLate { wait, reason } = match passed {
                Ok(at) => return Ok(at),
                // Somebody with more time has joined meanwhile.
                Err(_) if deadline() > end => continue,
                Err(late) => late,
            };
            let left = end.map_or(Duration::ZERO, |end| {
                end.saturating_duration_since(Instant::now())
            });
            return Err(self.no_time_left(call, wait, left, &reason));
        }
    }

    /// Tells the rate limiter what the service said.
    fn learn(&self, call: Call, made: Instant, error: Option<&Error>) {
        let Some(error) = error else {
            return self.limiter().served(call, made);
        };
        // A call that looks something up on its way may fail with that lookup's error.
        if error.call != call.name() {
            return;
        }
        if let Kind::Throttled(asked) = error.kind {
            let refusal = Refusal {
                asked,
                jitter: (self.config().jitter)(),
                message: error.message.clone(),
            };
            self.limiter().refused(call, made, refusal);
        } else if !error.kind.outcome_unknown() && !matches!(error.kind, Kind::Unreachable(_)) {
            self.limiter().served(call, made);
        }
    }

    /// Adds what the token says of itself to a refusal, unless the service has said it.
    fn explained(&self, mut error: Error) -> Error {
        let expires = self.token().expires();
        let said = error.message.contains("expired");
        if error.kind == Kind::Denied && Timestamp::now() >= expires && !said {
            error.message = format!("{} ({})", error.message, TokenError::Expired(expires));
        }
        error
    }

    /// Waits before the next attempt, where people can see it.
    async fn wait(&self, call: Call, wait: Duration, reason: &Error) -> Result<(), Error> {
        let now = Instant::now();
        let failed = format!("the last attempt failed: {}", reason.message);
        if let Some(deadline) = self.deadline().map(Deadline::end)
            && now + wait > deadline
        {
            let left = deadline.saturating_duration_since(now);
            return Err(self.no_time_left(call, wait, left, &failed));
        }
        let _shown = self.show(call, wait, &failed);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn show(&self, call: Call, wait: Duration, why: &str) -> WaitGuard {
        tracing::info!(call = call.name(), ?wait, why, "waiting to try again");
        self.config().observer.waiting(call, wait, why)
    }

    fn no_time_left(&self, call: Call, wait: Duration, left: Duration, why: &str) -> Error {
        let message = format!(
            "the next attempt is due in {:.1} s, but only {:.1} s are left; {why}",
            wait.as_secs_f64(),
            left.as_secs_f64(),
        );
        self.error(call, Kind::Timeout, &message)
    }
}
