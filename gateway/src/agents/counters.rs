//! What is worth counting where agents connect. The engine shows the counts in `status`; nothing is decided by them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of the gateway. Every session adds to the same ones.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections taken.
    pub(super) connections: AtomicU64,
    /// Connections turned away because there were too many.
    pub(super) refused_full: AtomicU64,
    /// Hellos with a missing or wrong token.
    pub(super) refused_token: AtomicU64,
    /// Requests, and names in hellos, that the token shown does not allow.
    pub(super) refused_limits: AtomicU64,
    /// Sessions that ended because their token was taken back.
    pub(super) taken_back: AtomicU64,
    /// Sessions that ended because their token expired, and hellos with one that had.
    pub(super) expired: AtomicU64,
    /// Connections that sent no hello in time.
    pub(super) refused_silent: AtomicU64,
    /// Connections that had sent no hello when too many others came.
    pub(super) refused_crowd: AtomicU64,
    /// TLS handshakes that came to nothing.
    pub(super) refused_tls: AtomicU64,
    /// Attempts to take a connection that failed, for want of file descriptors for instance.
    pub(super) accept_errors: AtomicU64,
    /// Requests that could not be read or broke a rule of the session.
    pub(super) bad_requests: AtomicU64,
    /// Lines and frames over their bound.
    pub(super) too_long: AtomicU64,
    /// Lines and frames cut off by the end of the connection.
    pub(super) half_requests: AtomicU64,
    /// Sessions that ended with events nobody read in time.
    pub(super) unread: AtomicU64,
}

impl Counters {
    /// The counts under the names they have in `status`.
    #[must_use]
    pub fn snapshot(&self) -> [(&'static str, u64); 14] {
        [
            ("agents_connections", &self.connections),
            ("agents_refused_full", &self.refused_full),
            ("agents_refused_token", &self.refused_token),
            ("agents_refused_limits", &self.refused_limits),
            ("agents_taken_back", &self.taken_back),
            ("agents_expired", &self.expired),
            ("agents_refused_silent", &self.refused_silent),
            ("agents_refused_crowd", &self.refused_crowd),
            ("agents_refused_tls", &self.refused_tls),
            ("agents_accept_errors", &self.accept_errors),
            ("agents_bad_requests", &self.bad_requests),
            ("agents_too_long", &self.too_long),
            ("agents_half_requests", &self.half_requests),
            ("agents_unread", &self.unread),
        ]
        .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
