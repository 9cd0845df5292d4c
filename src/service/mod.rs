//! The embedded Actions cache service.
