//! Which trace a span belongs to, as W3C Trace Context has it: the header `traceparent`.

use std::num::{NonZeroU64, NonZeroU128};

/// A span that others may be under, be it one of ours or a client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace: NonZeroU128,
    pub(super) span: NonZeroU64,
    /// Whether whoever began the trace wants its spans.
    pub(super) sampled: bool,
}

/// The parts of the header in version 00, and the lengths of them: version, trace, span, flags.
const LENGTHS: [usize; 4] = [2, 32, 16, 2];

/// The version that no header may have.
const INVALID_VERSION: &str = "ff";

/// The flag that says that spans are wanted.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// Reads `traceparent`. Later versions begin as this one does, and may go on.
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().splitn(LENGTHS.len() + 1, '-');
        let mut next = |length| {
            let part = parts.next().filter(|part: &&str| part.len() == length)?;
            let lower_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
            part.bytes().all(lower_hex).then_some(part)
        };
        let [version, trace, span, flags] = LENGTHS;
        let (version, trace) = (next(version)?, next(trace)?);
        let (span, flags) = (next(span)?, next(flags)?);
        if version == INVALID_VERSION || (version == "00" && parts.next().is_some()) {
            return None;
        }
        Some(Self {
            trace: NonZeroU128::new(u128::from_str_radix(trace, 16).ok()?)?,
            span: NonZeroU64::new(u64::from_str_radix(span, 16).ok()?)?,
            sampled: u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0,
        })
    }

    /// The root of a trace of ours.
    pub(super) fn root(sampled: bool) -> Self {
        Self {
            trace: random(),
            span: random_span(),
            sampled,
        }
    }

    /// A span under this one.
    pub(super) fn child(self) -> Self {
        Self {
            span: random_span(),
            ..self
        }
    }
}

fn random() -> NonZeroU128 {
    NonZeroU128::new(rand::random()).unwrap_or(NonZeroU128::MIN)
}

fn random_span() -> NonZeroU64 {
    NonZeroU64::new(rand::random()).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_header_is_read_as_the_standard_says() {
        let header = format!("00-{TRACE}-{SPAN}-01");
        let context = TraceContext::parse(&header).unwrap();
        assert_eq!(format!("{:032x}", context.trace), TRACE);
        assert_eq!(format!("{:016x}", context.span), SPAN);
        assert!(context.sampled);
        let unsampled = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-02")).unwrap();
        assert!(!unsampled.sampled);
        let later = format!("cc-{TRACE}-{SPAN}-01-what-comes-later");
        assert_eq!(TraceContext::parse(&later), Some(context));
    }

    #[test]
    fn what_is_no_header_is_none() {
        let zeros = "0".repeat(32);
        for header in [
            String::new(),
            "00".into(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}é-{SPAN}-01", &TRACE[2..]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
        ] {
            assert_eq!(TraceContext::parse(&header), None, "{header}");
        }
    }

    #[test]
    fn children_are_in_the_trace_of_their_parent() {
        let root = TraceContext::root(true);
        let child = root.child();
        assert_eq!((child.trace, child.sampled), (root.trace, true));
        assert_ne!(child.span, root.span);
        assert_ne!(TraceContext::root(true).trace, root.trace);
    }
}
