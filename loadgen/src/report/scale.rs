//! Axes: from values to shares of a length, the values that are marked on them, and how these are written.

/// An axis between two values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Equal steps are equal differences.
    Linear {
        /// At the beginning.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// Equal steps are equal ratios.
    Log {
        /// At the beginning, above 0.
        from: f64,
        /// At the end.
        to: f64,
    },
}

/// A marked value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where.
    pub value: f64,
    /// Whether it is named, and not only a line.
    pub named: bool,
}

impl Scale {
    /// From 0 to a round number that is at least `max` and nearest to it in about `steps` steps.
    pub fn linear_from_zero(max: f64, steps: usize) -> Self {
        let step = round_step(max.max(f64::MIN_POSITIVE) / steps as f64);
        Self::Linear { from: 0.0, to: (max / step).ceil().max(1.0) * step }
    }

    /// From a mantissa of 1, 2 or 5 at or below `min` to one at or above `max`; at least a decade.
    pub fn log_around(min: f64, max: f64) -> Self {
        assert!(min > 0.0 && max >= min, "no logarithm of {min}");
        let (from, mut to) = (round_down(min), round_up(max));
        if to / from < 10.0 {
            to = from * 10.0;
        }
        Self::Log { from, to }
    }

    /// Where a value stands: 0 at the beginning of the axis, 1 at its end. What lies beyond stands at the nearer end.
    pub fn share(self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(f64::MIN_POSITIVE) / from).ln() / (to / from).ln(),
        };
        share.clamp(0.0, 1.0)
    }

    /// The marked values: about `steps` of a linear axis; of a logarithmic one 1, 2 and 5 of each decade, of which the decades
    /// alone are named when there are many.
    pub fn ticks(self, steps: usize) -> Vec<Tick> {
        match self {
            Self::Linear { from, to } => {
                let step = round_step((to - from) / steps as f64);
                let first = (from / step - 1e-9).ceil() as i64;
                let last = (to / step + 1e-9).floor() as i64;
                (first..=last).map(|number| Tick { value: number as f64 * step, named: true }).collect()
            }
            Self::Log { from, to } => log_ticks(from, to, steps),
        }
    }
}

fn log_ticks(from: f64, to: f64, steps: usize) -> Vec<Tick> {
    let decades = (to / from).log10();
    let (first, last) = (from.log10().floor() as i32, to.log10().ceil() as i32);
    let candidates = (first..=last).flat_map(|exponent| [1.0, 2.0, 5.0].map(|m| (m, m * 10f64.powi(exponent))));
    let within = candidates.filter(|(_, value)| *value >= from * (1.0 - 1e-9) && *value <= to * (1.0 + 1e-9));
    let all_named = decades * 3.0 <= steps as f64;
    within.map(|(mantissa, value)| Tick { value, named: all_named || mantissa == 1.0 }).collect()
}

/// 1, 2 or 5 times a power of ten, at or above.
fn round_step(step: f64) -> f64 {
    round_up(step)
}

fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let mantissas = [1.0, 2.0, 5.0, 10.0];
    mantissas.map(|m| m * decade).into_iter().find(|round| *round >= value * (1.0 - 1e-9)).unwrap_or(decade * 10.0)
}

fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0, 1.0].map(|m| m * decade).into_iter().find(|round| *round <= value * (1.0 + 1e-9)).unwrap_or(decade)
}

/// A time in the unit that suits it, with three significant digits: `87 µs`, `1.25 ms`, `10 s`.
pub fn time(seconds: f64) -> String {
    let (factor, unit) = match seconds.abs() {
        0.0 => return "0".to_owned(),
        size if size < 0.999_5e-3 => (1e6, "µs"),
        size if size < 0.999_5 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    format!("{} {unit}", significant(seconds * factor))
}

/// A count or a rate, short: `950`, `12.5k`, `1.2M`.
pub fn count(value: f64) -> String {
    let (factor, unit) = match value.abs() {
        size if size < 999.5 => (1.0, ""),
        size if size < 999.5e3 => (1e3, "k"),
        _ => (1e6, "M"),
    };
    format!("{}{unit}", significant(value / factor))
}

/// Three significant digits at least, without zeros behind the point that say nothing.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count with its thousands apart: `1,234,567`.
pub fn exact(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3).map(|group| String::from_utf8_lossy(group).into_owned());
    let head = (first > 0).then(|| digits[..first].to_owned());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(scale: Scale, steps: usize) -> Vec<f64> {
        scale.ticks(steps).into_iter().map(|tick| (tick.value * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn a_linear_axis_ends_at_a_round_number() {
        let scale = Scale::linear_from_zero(9_400.0, 5);
        assert_eq!(scale, Scale::Linear { from: 0.0, to: 10_000.0 });
        assert_eq!(values(scale, 5), [0.0, 2_000.0, 4_000.0, 6_000.0, 8_000.0, 10_000.0]);
        assert_eq!(values(Scale::Linear { from: -0.1, to: 0.25 }, 4), [-0.1, 0.0, 0.1, 0.2]);
        assert_eq!((scale.share(2_500.0), scale.share(-1.0), scale.share(1e9)), (0.25, 0.0, 1.0));
    }

    #[test]
    fn a_logarithmic_axis_has_its_decades() {
        let scale = Scale::log_around(0.000_13, 0.034);
        assert_eq!(scale, Scale::Log { from: 0.000_1, to: 0.05 });
        let named = scale.ticks(6).into_iter().filter(|tick| tick.named).count();
        assert_eq!((scale.ticks(6).len(), named), (9, 3));
        assert!((scale.share(0.001) - 0.370_5).abs() < 0.001, "{}", scale.share(0.001));
        assert_eq!(Scale::log_around(3.0, 3.0), Scale::Log { from: 2.0, to: 20.0 });
    }

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        let times = [0.0, 87e-6, 0.999_9e-3, 1.25e-3, 0.100_4, 0.999_9, 1.5, 120.0].map(time);
        assert_eq!(times, ["0", "87 µs", "1 ms", "1.25 ms", "100 ms", "1 s", "1.5 s", "120 s"]);
        assert_eq!([0.0, 950.0, 12_480.0, 999_600.0].map(count), ["0", "950", "12.5k", "1M"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
    }
}
