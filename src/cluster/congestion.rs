//! How much may be under way to one receiver so that the network between takes it: CUBIC (RFC 9438) with the periods of
//! recovery and the persistent congestion of RFC 9002, section 7; never more than what a receiver's socket holds. Owns one window and what is in flight within it; is told
//! what was sent, acked and lost, and never finds that out itself. Integers only: the same everywhere.
//!
//! ```text
//! window   slow start, doubles each round trip        W(t) = C (t - K)^3 + W_max
//!    |            /| loss: to 7/10            ______/
//!    |          /  |                ___-----''  W_max is reached after K
//!    |        /    |_______----''''
//!    +--------------------------------------------------------- time
//! ```

use crate::config;
use crate::time::{Duration, Time};

/// Windows begin with so many datagrams and never fall below so few (RFC 9002, 7.2).
const INITIAL_DATAGRAMS: u64 = 10;
const MINIMUM_DATAGRAMS: u64 = 2;

/// What is left of a window after a loss, in tenths (RFC 9438, 4.6).
const BETA_TENTHS: u64 = 7;

/// Growth of a Reno-like window that is as fair as Reno with this beta: 3 (1 - beta) / (1 + beta) (RFC 9438, 4.3).
const RENO_ALPHA: (u64, u64) = (9, 17);

/// Loss of everything over so many probe timeouts is persistent congestion (RFC 9002, 7.6.1).
pub const PERSISTENT_TIMEOUTS: u64 = 3;

/// A stretch of growth without loss.
#[derive(Clone, Copy, Debug)]
struct Growth {
    /// When it began; time without anything to send is left out.
    began: Time,
    /// Nanoseconds from there to where the curve is at `Congestion::most` again.
    k: u64,
    /// What Reno would have, in bytes.
    reno: u64,
    /// What a whole byte of `reno` lacks: numerator over the window.
    rest: u64,
}

/// See the module. Invariant: the window is never below the minimum.
#[derive(Clone, Debug)]
pub struct Congestion {
    datagram: u64,
    window: u64,
    /// Below this the window doubles each round trip; no bound before the first loss.
    threshold: u64,
    in_flight: u64,
    /// What was sent at this instant or before was sent into a window that has been cut since.
    recovery: Option<Time>,
    /// The window before the last loss, and the peak that the curve heads for (W_max).
    before: u64,
    most: u64,
    growth: Option<Growth>,
    /// When something was last acked.
    acked: Time,
}

impl Congestion {
    /// Of a path that carries datagrams of so many bytes.
    #[must_use]
    pub fn new(datagram: u64) -> Self {
        assert!(datagram > 0, "a datagram carries something");
        Self {
            datagram,
            window: INITIAL_DATAGRAMS * datagram,
            threshold: u64::MAX,
            in_flight: 0,
            recovery: None,
            before: 0,
            most: 0,
            growth: None,
            acked: Time(0),
        }
    }

    /// Bytes that may be in flight.
    #[must_use]
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// Bytes that are.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether something may be sent; the last of it may go over the window.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.in_flight < self.window
    }

    /// Whether the window doubles each round trip.
    #[must_use]
    pub const fn in_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// So many bytes left.
    pub const fn on_sent(&mut self, bytes: u64) {
        self.in_flight += bytes;
    }

    /// So many bytes are no longer under way and nothing is known of them.
    pub fn on_forgotten(&mut self, bytes: u64) {
        self.in_flight = self.in_flight.checked_sub(bytes).expect("it was sent");
    }

    /// So many bytes arrived, the newest of them sent at `sent`.
    pub fn on_acked(&mut self, now: Time, bytes: u64, sent: Time, round_trip: Duration) {
        let used = self.in_flight;
        self.on_forgotten(bytes);
        let idle = now.since(std::mem::replace(&mut self.acked, now));
        if self.recovery.is_some_and(|began| sent <= began) {
            return;
        }
        if self.in_slow_start() {
            // RFC 9002, 7.8: who does not use the window learns nothing about a larger one
            if 2 * used >= self.window {
                self.window = (self.window + bytes).min(config::CONGESTION_BYTES_MAX);
            }
            return;
        }
        if used + self.datagram >= self.window {
            self.grow(now, bytes, round_trip);
        } else if let Some(growth) = &mut self.growth {
            growth.began = growth.began.after(idle);
        }
    }

    /// Congestion avoidance: along the curve, or as Reno where that is faster (RFC 9438, 4.3 to 4.5).
    fn grow(&mut self, now: Time, bytes: u64, round_trip: Duration) {
        let Self { datagram, window, before, .. } = *self;
        let mut growth = self.growth.unwrap_or_else(|| {
            self.most = self.most.max(window);
            Growth { began: now, k: time_over(self.most - window, datagram), reno: window, rest: 0 }
        });
        let (numerator, denominator) = if growth.reno < before { RENO_ALPHA } else { (1, 1) };
        let gained = growth.rest + bytes * datagram * numerator / denominator;
        growth.reno += gained / window;
        growth.rest = gained % window;
        let since = now.since(growth.began).0;
        if curve(since, growth.k, self.most, datagram) < growth.reno {
            self.window = self.window.max(growth.reno);
        } else {
            let target = curve(since + round_trip.0, growth.k, self.most, datagram).clamp(window, window + window / 2);
            self.window += (target - window) * bytes / window;
        }
        self.window = self.window.min(config::CONGESTION_BYTES_MAX);
        self.growth = Some(growth);
    }

    /// So many bytes are lost, the newest of them sent at `sent`. A window is cut once for all that was sent into it.
    pub fn on_lost(&mut self, now: Time, bytes: u64, sent: Time) {
        self.on_forgotten(bytes);
        if self.recovery.is_some_and(|began| sent <= began) {
            return;
        }
        self.recovery = Some(now);
        // fast convergence: a window that did not reach its last peak makes room for others (RFC 9438, 4.7)
        let short = self.window < self.most;
        self.most = if short { self.window * (10 + BETA_TENTHS) / 20 } else { self.window };
        self.before = self.window;
        self.window = (self.window * BETA_TENTHS / 10).max(self.minimum());
        self.threshold = self.window;
        self.growth = None;
    }

    /// Everything was lost for so long that nothing is known of the path any more (RFC 9002, 7.6).
    pub const fn on_persistent(&mut self) {
        self.window = self.minimum();
        self.recovery = None;
        self.growth = None;
    }

    const fn minimum(&self) -> u64 {
        MINIMUM_DATAGRAMS * self.datagram
    }

    /// What must hold.
    pub fn check_invariants(&self) {
        assert!(self.window >= self.minimum(), "two datagrams always fit");
    }
}

/// C in datagrams for a second cubed (RFC 9438, 4.1): 0.4.
const C: (u128, u128) = (4, 10);

const NANOS_CUBED: u128 = 1_000_000_000_000_000_000_000_000_000;

/// Nanoseconds in which the curve rises by so many bytes from its plateau: the cube root of bytes / C.
fn time_over(bytes: u64, datagram: u64) -> u64 {
    // in microseconds, so that the cube stays within bounds
    let cubed = u128::from(bytes) * C.1 * (NANOS_CUBED / 1_000_000_000) / (C.0 * u128::from(datagram));
    let (mut low, mut high) = (0_u128, 1 << 42);
    while low + 1 < high {
        let middle = u128::midpoint(low, high);
        if middle * middle * middle <= cubed { low = middle } else { high = middle }
    }
    low as u64 * 1000
}

/// The curve's height in bytes, `since` nanoseconds after its beginning.
fn curve(since: u64, k: u64, most: u64, datagram: u64) -> u64 {
    let micros = u128::from(since.abs_diff(k) / 1000).min(1 << 32);
    let height = C.0 * u128::from(datagram) * micros * micros * micros / (C.1 * (NANOS_CUBED / 1_000_000_000));
    let height = u64::try_from(height).unwrap_or(u64::MAX);
    if since < k { most.saturating_sub(height) } else { most.saturating_add(height) }
}

#[cfg(test)]
mod tests;
