//! The gateway on buildkitd's socket.
