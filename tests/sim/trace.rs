//! What happened, line by line, for whoever replays a seed.

use std::fmt::Write as _;

use ringstore::time::Time;

/// Lines that are printed at once or not made at all.
pub struct Trace {
    on: bool,
    start: Time,
}

impl Trace {
    pub const fn new(on: bool, start: Time) -> Self {
        Self { on, start }
    }

    /// A line: when, who, what. `what` is only made when somebody reads it.
    pub fn line(&self, now: Time, who: &str, what: impl FnOnce() -> String) {
        if self.on {
            println!("{}", self.format(now, who, &what()));
        }
    }

    fn format(&self, now: Time, who: &str, what: &str) -> String {
        let micros = now.since(self.start).0 / 1000;
        let mut line = String::new();
        write!(line, "{:>5}.{:03} ms  {who:<11} {what}", micros / 1000, micros % 1000).expect("a string");
        line
    }
}

/// The name of a place in lines: the coordinator is 0.
pub fn name(place: usize) -> String {
    if place == 0 { "coordinator".into() } else { format!("server {place}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_who_and_what() {
        let trace = Trace::new(true, Time(1_000_000_000));
        let line = trace.format(Time(1_012_345_678), &name(2), "crashes");
        assert_eq!(line, "   12.345 ms  server 2    crashes");
        assert_eq!(name(0), "coordinator");
    }

    #[test]
    fn a_silent_trace_makes_no_text() {
        Trace::new(false, Time(0)).line(Time(1), "x", || unreachable!("nobody reads it"));
    }
}
