//! What a run is like: how many servers and clients, how long machines wait, which faults happen and how long they last. Drawn
//! per seed, or made for a purpose.

use ringstore::cluster::{Lengths, Timing};
use ringstore::time::Duration;

use crate::dice::Dice;
use crate::world::Fault;

/// Something that stays wrong for longer than anybody's patience, with everything else in order: the others must come to
/// terms with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The others hear the leader, it hears nobody, and the coordinator neither hears it nor is heard by it (R23).
    DeafLeader,
    /// The leader hears everyone and nobody hears it.
    MuteLeader,
    LeaderCutOff,
    FollowerCutOff,
    /// Neither reads nor writes need it.
    CoordinatorGone,
}

impl Standing {
    const ALL: [Self; 5] =
        [Self::DeafLeader, Self::MuteLeader, Self::LeaderCutOff, Self::FollowerCutOff, Self::CoordinatorGone];
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    pub servers: usize,
    pub min_insync: u8,
    pub clients: usize,
    /// Clients that only read.
    pub readers: usize,
    pub keys: u8,
    /// Longest time between two commands of a client.
    pub think: Duration,
    /// How long faults happen.
    pub faulty: Duration,
    /// Longest time between two faults.
    pub between: Duration,
    /// Kinds that happen.
    pub faults: Vec<Fault>,
    /// A fast disk and a good network from the start.
    pub calm: bool,
    /// Every clock goes as fast or as slow as any may.
    pub extreme_clocks: bool,
    pub strict_reads: bool,
    /// How often a read is stopped between two of its steps.
    pub read_stall: f64,
    pub clients_stopped: bool,
    /// How long the machines wait for what.
    pub timing: Timing,
    /// Shortest and longest time that a fault lasts.
    pub lasts: (Duration, Duration),
    /// Shortest and longest time in milliseconds until a process is started again.
    pub restarts: (u64, u64),
    pub standing: Option<Standing>,
}

/// Leases that outlast every patience, so that only the rules about them keep reads right.
pub fn long_leases() -> Timing {
    let usual = Timing::default();
    Timing {
        lease: Lengths::always(Duration::from_millis(1000)),
        silence: Duration::from_millis(160),
        leader_silence: Lengths { longest: Duration::from_millis(150), ..usual.leader_silence },
        // reads that overlap with many others say little about order, and much is to be searched for it
        patience: Duration::from_millis(100),
        ..usual
    }
}

fn timing(dice: &mut Dice) -> Timing {
    match dice.below(10) {
        0 | 1 => long_leases(),
        2 | 3 => Timing::impatient(),
        // any proportion of the two kinds of patience
        4 => {
            let usual = Timing::default();
            let mut between = |least, most| Duration::from_millis(dice.between(least, most));
            let (longest, calm) = (between(160, 800), between(80, 400));
            Timing {
                lease: Lengths { calm, longest },
                silence: between(60, 600),
                leader_silence: Lengths { longest: between(60, 600), ..usual.leader_silence },
                ..usual
            }
        }
        _ => Timing::default(),
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Self {
        // not the run's own dice: a plan that is changed by hand leaves the rest as it was
        let mut dice = Dice::new(seed ^ 0x0005_EED0);
        let servers = 2 + dice.below(3) + usize::from(dice.chance(0.05));
        let share = *dice.pick(&[0.15, 0.3, 0.5]);
        let mut faults: Vec<Fault> = Fault::ALL.into_iter().filter(|_| dice.chance(share)).collect();
        if faults.is_empty() {
            faults.push(*dice.pick(&Fault::ALL));
        }
        Self {
            servers,
            min_insync: if dice.chance(0.3) { 1 } else { 2 },
            clients: servers + dice.below(servers + 1),
            readers: dice.below(servers + 1),
            keys: 1 + dice.below(4) as u8,
            think: Duration::from_millis(dice.between(20, 120)),
            faulty: Duration::from_millis(dice.between(1500, 5000)),
            between: Duration::from_millis(dice.skewed(150, 2000)),
            faults,
            calm: dice.chance(0.15),
            extreme_clocks: dice.chance(0.3),
            strict_reads: dice.chance(0.2),
            read_stall: if dice.chance(0.3) { 0.05 } else { 0.0 },
            clients_stopped: false,
            timing: timing(&mut dice),
            lasts: (Duration::from_millis(1), Duration::from_millis(2500)),
            restarts: if dice.chance(0.3) { (1, 60) } else { (1, 3000) },
            standing: dice.chance(0.1).then(|| *dice.pick(&Standing::ALL)),
        }
    }

    /// Nothing happens but what a script says.
    #[cfg(test)]
    pub fn script(servers: usize) -> Self {
        Self {
            servers,
            min_insync: 2.min(servers as u8),
            clients: 0,
            readers: 0,
            keys: 4,
            faults: Vec::new(),
            calm: true,
            extreme_clocks: false,
            strict_reads: false,
            read_stall: 0.0,
            clients_stopped: true,
            timing: Timing::default(),
            standing: None,
            ..Self::draw(0)
        }
    }
}
