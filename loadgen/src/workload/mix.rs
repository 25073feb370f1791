//! What a load asks for, and in which proportion.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// get of one key.
    Get,
    /// One get of so many keys.
    MultiGet(u16),
    /// set.
    Set,
    /// delete.
    Delete,
    /// incr by 1 of a counter, which lives under a key of its own.
    Incr,
    /// gets, then cas of what it found: one request, from when the gets was due to the answer to the cas.
    Cas,
    /// touch without expiry.
    Touch,
    /// `mg`: the meta command's get.
    MetaGet,
    /// `ms`: the meta command's set.
    MetaSet,
    /// `md`: the meta command's delete.
    MetaDelete,
    /// `ma`: the meta command's incr.
    MetaIncr,
    /// set of a counter to where it begins, when counters are filled in.
    SetCounter,
}

/// Names on the command line; multiget has an argument and is not among them.
const NAMES: [(&str, Operation); 10] = [
    ("get", Operation::Get),
    ("set", Operation::Set),
    ("delete", Operation::Delete),
    ("incr", Operation::Incr),
    ("cas", Operation::Cas),
    ("touch", Operation::Touch),
    ("mg", Operation::MetaGet),
    ("ms", Operation::MetaSet),
    ("md", Operation::MetaDelete),
    ("ma", Operation::MetaIncr),
];

/// Most keys of one get.
const MULTIGET_KEYS_MAX: u16 = 1000;

impl Operation {
    /// Keys that one request names.
    pub const fn keys(self) -> u16 {
        if let Self::MultiGet(keys) = self { keys } else { 1 }
    }

    /// Whether it works on counters rather than on values.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Incr | Self::MetaIncr | Self::SetCounter)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, NAMES.iter().find(|(_, operation)| operation == self)) {
            (Self::MultiGet(keys), _) => write!(f, "multiget:{keys}"),
            (_, Some((name, _))) => f.write_str(name),
            (_, None) => f.write_str("set of a counter"),
        }
    }
}

/// Operations and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// With the weight of all up to and with it.
    parts: Vec<(Operation, u32)>,
}

impl Mix {
    /// Nothing but this.
    pub fn only(operation: Operation) -> Self {
        Self { parts: vec![(operation, 1)] }
    }

    /// What to ask next.
    #[inline]
    pub fn draw(&self, rng: &mut impl Rng) -> Operation {
        if let [(operation, _)] = self.parts[..] {
            return operation;
        }
        let total = self.parts[self.parts.len() - 1].1;
        let ticket = rng.random_range(0..total);
        self.parts[self.parts.partition_point(|(_, below)| *below <= ticket)].0
    }

    /// The operations.
    pub fn operations(&self) -> impl Iterator<Item = Operation> {
        self.parts.iter().map(|(operation, _)| *operation)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = 0;
        for (place, (operation, total)) in self.parts.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{operation}={}", total - before)?;
            before = *total;
        }
        Ok(())
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // a single part may leave out its weight, and of multiget the number behind `=` is then that of the keys
        if let Some(keys) = text.strip_prefix("multiget=").filter(|keys| !keys.contains(',')) {
            return Ok(Self::only(multiget(keys)?));
        }
        let (mut parts, mut total) = (Vec::new(), 0_u32);
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight: u32 =
                weight.parse().ok().filter(|weight| (1..=1_000_000).contains(weight)).ok_or_else(|| {
                    format!("`{weight}` is no weight: give a whole number from 1 up, as in get=90,set=10")
                })?;
            total = total.checked_add(weight).ok_or("the weights are too large")?;
            parts.push((operation(name)?, total));
        }
        Ok(Self { parts })
    }
}

fn operation(name: &str) -> Result<Operation, String> {
    if let Some(keys) = name.strip_prefix("multiget:") {
        return multiget(keys);
    }
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found.map(|(_, operation)| *operation).ok_or_else(|| {
        let names = NAMES.map(|(name, _)| name).join(", ");
        format!("`{name}` is none of {names}, multiget=KEYS or, in a mix, multiget:KEYS=WEIGHT")
    })
}

fn multiget(keys: &str) -> Result<Operation, String> {
    match keys.parse() {
        Ok(keys @ 1..=MULTIGET_KEYS_MAX) => Ok(Operation::MultiGet(keys)),
        _ => Err(format!("multiget takes 1 to {MULTIGET_KEYS_MAX} keys")),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;

    #[test]
    fn mixes_are_read_from_the_command_line_and_told_again() {
        assert_eq!("get".parse(), Ok(Mix::only(Operation::Get)));
        assert_eq!("multiget=100".parse(), Ok(Mix::only(Operation::MultiGet(100))));
        let text = "get=90,set=9,multiget:5=1,ma=2";
        assert_eq!(text.parse::<Mix>().expect("a mix").to_string(), text);
        assert_eq!("get,set".parse::<Mix>().expect("a mix").to_string(), "get=1,set=1");
        for wrong in ["", "gets", "get=0", "get=x", "get=1,", "multiget", "multiget=0", "multiget=1001", "multiget:x=1"]
        {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_draw_follows_the_weights() {
        let mix: Mix = "get=70,set=20,delete=10".parse().expect("a mix");
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut counts = [0_i32; 3];
        for _ in 0..10_000 {
            let place = match mix.draw(&mut rng) {
                Operation::Get => 0,
                Operation::Set => 1,
                _ => 2,
            };
            counts[place] += 1;
        }
        for (count, expected) in counts.iter().zip([7000, 2000, 1000]) {
            assert!((count - expected).abs() < 150, "{counts:?}");
        }
    }
}
