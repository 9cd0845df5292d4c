//! Why a connection could not be made, told by the types of the causes and never by their text.

use std::{error::Error as StdError, io};

use super::{NoConnection, resolve::Unresolved};

/// What kept a connection from being made, and the message of the operating system, the resolver or
/// the TLS library. `None` if that is not what failed, or if it is a failure that tells nothing of
/// the next attempt, such as a reset.
pub(super) fn cause(error: &reqwest::Error) -> Option<(NoConnection, String)> {
    if !error.is_connect() {
        return None;
    }
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(known) = known(cause) {
            return Some(known);
        }
        next = cause.source();
    }
    None
}

fn known(cause: &(dyn StdError + 'static)) -> Option<(NoConnection, String)> {
    if let Some(unresolved) = cause.downcast_ref::<Unresolved>() {
        return Some((NoConnection::UnknownHost, unresolved.to_string()));
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some((NoConnection::Tls, describe_tls(tls)));
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // An error within an error is no source of it.
    let inner = io.get_ref().map(|inner| inner as &(dyn StdError + 'static));
    if let Some(inner) = inner {
        return known(inner);
    }
    let unreachable = matches!(
        io.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    );
    unreachable.then(|| (NoConnection::Refused, io.to_string()))
}

fn describe_tls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidMessage(_) => {
            format!("{error}: what listens there speaks no TLS; should the URL begin with http://?")
        }
        _ => error.to_string(),
    }
}
