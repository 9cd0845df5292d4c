//! The limits of every HTTP/2 connection, and the builders that carry them.
//!
//! All four ends are the `h2` crate itself, since no library above it lets us raise the budget
//! for small DATA frames.

use std::time::Duration;

use h2::{client, server};

/// What one stream may have in flight. It covers a fast loopback's bandwidth-delay product many
/// times over; 64 KiB would halve the speed of a layer.
const STREAM_WINDOW: u32 = 2 << 20;

/// What one connection may have in flight. h2 counts bytes against it until the receiver has
/// taken them, so streams whose receivers have stopped must leave room for the health checks that
/// keep a session alive: 64 of them would have to stop here, and no client opens as many.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// The header list that grpc-go accepts. Exclude patterns of a `.dockerignore` travel as metadata.
const MAX_HEADER_LIST: u32 = 16 << 20;

/// The header list that a server of Go's `net/http2` announces, as every session of a user's
/// client is. buildkitd must learn it from us: it then refuses one call with clear words, where
/// the client would end the whole connection.
const MAX_SESSION_HEADER_LIST: u32 = (1 << 20) + 320;

/// The largest frame that the user's session server may send, which is Go's `net/http2` and fills
/// it; grpc-go, everywhere else, sends 16 KiB whatever it is told. A frame size also divides
/// [`MAX_HEADER_LIST`] into the number of CONTINUATION frames that h2 tolerates: header lists of up
/// to some 300 KiB come through here, and longer ones come from buildkitd or to it only.
const SESSION_MAX_FRAME: u32 = 1 << 20;

/// What h2 may hold for small DATA frames that wait unread, in its own unit of (256 − length) per
/// frame. A build context of 100,000 small files fills its windows with messages of a dozen
/// bytes, and h2's default would end the connection; the windows bound the memory already, so
/// this is what they can hold of the smallest messages.
const DATA_FRAME_BUDGET: usize = (CONNECTION_WINDOW as usize / SMALLEST_MESSAGE) * 256;

/// A gRPC message is never smaller than its prefix.
const SMALLEST_MESSAGE: usize = 5;

/// How much of a stream may wait for the socket beyond flow control.
const SEND_BUFFER: usize = 1 << 20;

/// Streams that we reset are remembered for [`RESET_MEMORY`], because a peer may still send a
/// whole window on them; frames of a forgotten stream count as the peer's errors.
const REMEMBERED_RESETS: usize = 4096;

/// See [`REMEMBERED_RESETS`].
const RESET_MEMORY: Duration = Duration::from_secs(30);

/// A build that is cancelled resets all its calls at once, perhaps before we accepted them. h2's
/// default of 20 is meant for the open internet; whoever reaches this socket may run builds.
const UNACCEPTED_RESETS: usize = 4096;

/// Calls of one connection at a time, each of which is a task and a call to the other side. Clients
/// wait for one to end where they would have more; no build comes near it.
pub(super) const MAX_CALLS: u32 = 4096;

/// A server for buildkitd inside a session.
pub(crate) fn session_server() -> server::Builder {
    let mut builder = server();
    builder.max_header_list_size(MAX_SESSION_HEADER_LIST);
    builder
}

/// A server for the user's client outside.
pub(crate) fn server() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_concurrent_streams(MAX_CALLS)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(RESET_MEMORY)
        .max_pending_accept_reset_streams(UNACCEPTED_RESETS)
        // Counted over a connection's whole life, which here may be days of builds.
        .max_local_error_reset_streams(None);
    builder
}

/// A client toward the user's client inside a session.
pub(crate) fn session_client() -> client::Builder {
    let mut builder = client();
    builder.max_frame_size(SESSION_MAX_FRAME);
    builder
}

/// A client toward buildkitd outside.
pub(crate) fn client() -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(REMEMBERED_RESETS)
        .reset_stream_duration(RESET_MEMORY)
        .max_pending_accept_reset_streams(UNACCEPTED_RESETS)
        .max_local_error_reset_streams(None)
        .enable_push(false);
    builder
}
