//! What every remote call goes through, and the only place where these layers are put together.
//!
//! From the outside in: **deadline** over all attempts, **retry**, **rate limiter**, **circuit
//! breaker**, **instrumentation**, **time limit** of one attempt, transport. Inside is an encoded
//! request, and outside a decoder for its response; neither knows of the layers.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::Instant;
use url::Url;

use super::{
    Call, ClientConfig, Deadline, Error, Hold, Kind, Priority, WaitGuard,
    circuit_breaker::CallerHistory,
    error::{Cause, Hint},
    http::Http,
    instrument::instrumented,
    rate_limit_headers::RateLimitHeaders,
    rate_limiter::{Observed, RateLimiter, TooLate},
    request::{Endpoint, Request},
    response::Response,
    retry::{self, Decision, Failed},
    throttle::Reason,
    time_limit::TimeLimit,
};
use crate::{
    digest::Digest,
    telemetry::{WaitCause, WaitTimer, trace::TraceSpan},
};

/// How calls to one service with one token are made. A clone shares all but the deadline, the
/// priority and the trust in what circuit breakers say.
#[derive(Clone)]
pub(super) struct CallPolicy {
    shared: Arc<Shared>,
    deadline: Option<Deadline>,
    priority: Priority,
    ignores_outages: bool,
}

struct Shared {
    http: Http,
    config: ClientConfig,
    service: Url,
    /// When the token ends, where that is known.
    expires: Option<Timestamp>,
    limiter: Arc<RateLimiter>,
    caller: CallerHistory,
}

impl CallPolicy {
    /// A policy without a deadline for calls to `service`, with a token of this `subject`.
    pub fn new(
        http: Http,
        config: ClientConfig,
        service: &Url,
        subject: Digest,
        expires: Option<Timestamp>,
    ) -> Self {
        let shared = Shared {
            limiter: http.rate_limiter(service, subject),
            http,
            config,
            service: service.clone(),
            expires,
            caller: CallerHistory::default(),
        };
        Self {
            shared: Arc::new(shared),
            deadline: None,
            priority: Priority::default(),
            ignores_outages: false,
        }
    }

    pub fn with_deadline(&self, deadline: Deadline) -> Self {
        Self {
            deadline: Some(deadline),
            ..self.clone()
        }
    }

    pub fn with_priority(&self, priority: Priority) -> Self {
        Self {
            priority,
            ..self.clone()
        }
    }

    pub fn ignoring_outages(&self) -> Self {
        Self {
            ignores_outages: true,
            ..self.clone()
        }
    }

    pub fn http(&self) -> &Http {
        &self.shared.http
    }

    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    pub fn limiter(&self) -> &RateLimiter {
        &self.shared.limiter
    }

    pub fn deadline(&self) -> Option<&Deadline> {
        self.deadline.as_ref()
    }

    /// An error that is not of an answer.
    pub fn error(&self, call: Call, kind: Kind, message: String) -> Error {
        let origin = self.shared.service.origin().ascii_serialization();
        Error::new(kind, call, origin, message)
    }

    /// Makes a call whose attempts are all the same request.
    pub async fn call<T, D, Fut>(&self, request: Request, decode: D) -> Result<T, Error>
    where
        D: Fn(Response) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let (request, decode) = (&request, &decode);
        self.retrying(request.call, |attempt| async move {
            attempt.exchange(request.clone(), decode).await
        })
        .await
    }

    /// Makes attempts until one succeeds, [`retry::decide`] gives up, or the deadline is there.
    pub async fn retrying<T, F, Fut>(&self, call: Call, attempt: F) -> Result<T, Error>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        let metrics = self.http().metrics();
        let mut number = 0;
        let mut after_doubt = false;
        let mut last = None;
        loop {
            number += 1;
            let next = Attempt {
                policy: self.clone(),
                number,
                after_doubt,
                admitted: self.admission(call, started).await?,
            };
            if number > 1 {
                metrics.retried(call.name());
            }
            // Calls are made within calls: boxed, their futures stay small.
            let outcome = self.in_time(Box::pin(attempt(next))).await;
            let error = match outcome {
                Some(Ok(value)) => return Ok(value),
                Some(Err(error)) => error,
                None => return Err(self.out_of_time(call, last)),
            };
            after_doubt |= error.kind.outcome_unknown();
            let failed = Failed {
                attempt: number,
                elapsed: started.elapsed(),
                jitter: (self.config().jitter)(),
            };
            match self.decide(&error, failed) {
                Decision::Retry(wait) => self.wait(call, wait, &error).await?,
                // The rate limiter, which has learnt of the refusal, says when.
                Decision::RetryWhenAdmitted => {}
                Decision::GiveUp => return Err(self.with_token_hint(error)),
            }
            last = Some(error);
        }
    }

    /// Decides what to do after a failure. While a service cannot be reached all calls to it share
    /// one time for attempts, unless outages are ignored.
    fn decide(&self, error: &Error, failed: Failed) -> Decision {
        let decision = retry::decide(&self.config().retry, &error.kind, failed);
        if self.ignores_outages || !matches!(error.kind, Kind::Unreachable(_)) {
            return decision;
        }
        let wait = match decision {
            Decision::Retry(wait) => Some(wait),
            Decision::RetryWhenAdmitted | Decision::GiveUp => None,
        };
        let breaker = self.http().circuit_breaker(&error.origin);
        let wait = breaker.wait(&self.shared.caller, wait);
        wait.map_or(Decision::GiveUp, Decision::Retry)
    }

    /// Waits for something, at most until the deadline.
    pub async fn in_time<F: Future>(&self, work: F) -> Option<F::Output> {
        match self.deadline() {
            Some(deadline) => deadline.bound(work).await,
            None => Some(work.await),
        }
    }

    /// The error of a call that the deadline has cut off, after an attempt that failed like `last`.
    pub fn out_of_time(&self, call: Call, last: Option<Error>) -> Error {
        let Some(last) = last else {
            let message = "no answer before the time for the whole operation was over";
            return self.error(call, Kind::Timeout, message.to_owned());
        };
        let message = format!(
            "the time for the whole operation is over; the last attempt failed: {}",
            last.description()
        );
        self.error(call, Kind::Timeout, message)
            .caused_by(Cause::LastAttempt(Box::new(last)))
    }

    /// Waits until the service may be called, which is at once unless its budget is used up or it
    /// has refused a call of this kind. When that was is the answer.
    async fn admission(&self, call: Call, started: Instant) -> Result<Instant, Error> {
        let latest = started.checked_add(self.config().retry.max_elapsed);
        let deadline = || match (self.deadline().map(Deadline::end), latest) {
            (Some(deadline), Some(latest)) => Some(deadline.min(latest)),
            (deadline, latest) => deadline.or(latest),
        };
        loop {
            let end = deadline();
            let limiter = self.limiter();
            let hold = Hold::RateLimit {
                github: limiter.is_github(),
            };
            let waiting = |wait: Duration, why: &Reason| {
                self.announce(call, hold, why.cause, wait, &why.words)
            };
            let admitted = limiter.acquire(call, &self.priority, end, waiting).await;
            let TooLate { wait, reason } = match admitted {
                Ok(at) => return Ok(at),
                // Somebody with more time has joined meanwhile.
                Err(_) if deadline() > end => continue,
                Err(late) => late,
            };
            let left = end.map_or(Duration::ZERO, |end| {
                end.saturating_duration_since(Instant::now())
            });
            return Err(self.no_time_left(call, wait, left, &reason.words));
        }
    }

    /// Adds what is known of the token to a refusal, unless the service has said it.
    fn with_token_hint(&self, error: Error) -> Error {
        if let Some(expires) = self.shared.expires
            && error.kind == Kind::Denied
            && Timestamp::now() >= expires
            && !error.names_expiry
        {
            return error.hinting(Hint::TokenExpired(expires));
        }
        error
    }

    /// Waits before the next attempt, where people can see it.
    async fn wait(&self, call: Call, wait: Duration, reason: &Error) -> Result<(), Error> {
        let now = Instant::now();
        let failed = format!("the last attempt failed: {}", reason.description());
        if let Some(deadline) = self.deadline().map(Deadline::end)
            && now + wait > deadline
        {
            let left = deadline.saturating_duration_since(now);
            return Err(self.no_time_left(call, wait, left, &failed));
        }
        let _shown = self.announce(call, Hold::Retry, WaitCause::Backoff, wait, &failed);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Shows a wait, and measures it, for as long as the answer is kept.
    fn announce(
        &self,
        call: Call,
        hold: Hold,
        cause: WaitCause,
        wait: Duration,
        why: &str,
    ) -> Wait {
        tracing::info!(call = call.name(), ?wait, why, "waiting to try again");
        Wait {
            _shown: self.config().observer.waiting(call, hold, wait, why),
            _measured: self.http().metrics().begin_wait(cause),
            _traced: self.config().trace.wait(call.name(), cause.name()),
        }
    }

    fn no_time_left(&self, call: Call, wait: Duration, left: Duration, why: &str) -> Error {
        let message = format!(
            "the next attempt is due in {:.1} s, but only {:.1} s are left; {why}",
            wait.as_secs_f64(),
            left.as_secs_f64(),
        );
        self.error(call, Kind::Timeout, message)
    }
}

/// A call that waits.
struct Wait {
    _shown: WaitGuard,
    _measured: WaitTimer,
    _traced: TraceSpan,
}

/// One attempt of a call, which the rate limiter has admitted.
pub(super) struct Attempt {
    policy: CallPolicy,
    /// From 1.
    number: u32,
    /// An earlier attempt may have done what it was asked although it failed.
    pub after_doubt: bool,
    admitted: Instant,
}

impl Attempt {
    /// Sends a request and decodes the response. The rate limiter learns here, and only here, what
    /// came of it.
    pub async fn exchange<T, D, Fut>(&self, request: Request, decode: D) -> Result<T, Error>
    where
        D: FnOnce(Response) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let (call, endpoint) = (request.call, request.endpoint);
        let mut headers = None;
        let outcome = match self.send(request).await {
            Ok(response) => {
                if endpoint == Endpoint::Api {
                    let found = RateLimitHeaders::parse(response.headers());
                    headers = found.map(|found| (Instant::now(), found));
                }
                decode(response).await
            }
            Err(error) => Err(error),
        };
        let observed = Observed {
            admitted: self.admitted,
            headers,
            error: outcome.as_ref().err(),
            jitter: (self.policy.config().jitter)(),
        };
        self.policy.limiter().update(call, &observed);
        outcome
    }

    /// Sends a request unless its origin is known not to be reachable.
    async fn send(&self, mut request: Request) -> Result<Response, Error> {
        let policy = &self.policy;
        let call = request.call;
        // What is sent again is no progress.
        if call == Call::UploadPart && self.number == 1 {
            request.last_activity = Some(Arc::clone(&policy.limiter().last_activity));
        }
        let limit = TimeLimit::for_attempt(policy.config(), call, self.number);
        let loses_tls = policy.loses_tls(&request);
        let origin = request.url.origin();
        let breaker = policy.http().circuit_breaker(&origin);
        let sending = instrumented(policy.http(), policy.config(), self.number, request, limit);
        let outcome = if policy.ignores_outages {
            breaker.send_anyway(sending).await
        } else {
            let caller = &policy.shared.caller;
            breaker.send(caller, call, &origin, sending).await
        };
        match outcome {
            Err(error) if loses_tls && is_ambiguous(&error.kind) => {
                Err(error.hinting(Hint::PlainUrl))
            }
            outcome => outcome,
        }
    }
}

impl CallPolicy {
    /// True if the service speaks https and a signed URL of it does not.
    fn loses_tls(&self, request: &Request) -> bool {
        request.endpoint == Endpoint::Blob
            && self.shared.service.scheme() == "https"
            && request.url.expose().scheme() == "http"
    }
}

/// True for what may have come of an answer by something else than the service.
fn is_ambiguous(kind: &Kind) -> bool {
    use Kind::{Incomplete, Protocol, Rejected, Timeout, Transport, Unreachable};
    matches!(
        kind,
        Unreachable(_) | Transport | Timeout | Incomplete | Rejected(_) | Protocol
    )
}
