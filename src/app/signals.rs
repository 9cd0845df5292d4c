//! Signals of the process, and what of them goes on to buildkitd.

use rustix::process::Signal;
use tokio::signal::unix::SignalKind;

use crate::{gateway::supervise::ChildSignals, lifecycle::Signals};

/// Signals that buildkitd may get. The first two ask for the end and come to it last, see
/// [`super::lifecycle`]; the others go to it as they are.
pub(super) const FORWARDED: [(SignalKind, Signal); 6] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// Runs `work` to its end, and `on_signal` for every signal that comes meanwhile.
pub(super) async fn run_with_signals<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
    on_signal: impl Fn(SignalKind),
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            kind = signals.next() => on_signal(kind),
        }
    }
}

/// Passes a signal of this process on to buildkitd.
pub(super) fn forward_signal(child: ChildSignals, kind: SignalKind) {
    tracing::info!(
        signal = kind.as_raw_value(),
        "passing a signal on to buildkitd"
    );
    for (_, signal) in FORWARDED.iter().filter(|(known, _)| *known == kind) {
        child.signal(*signal);
    }
}
