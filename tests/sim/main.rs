//! The simulator: a whole cluster with its clients in one thread, from one seed. `RINGSTORE_SEED=N` replays one.

pub(crate) mod checks;
pub(crate) mod data;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod figures;
pub(crate) mod host;
pub(crate) mod linear;
pub(crate) mod mutants;
#[cfg(test)]
mod mutations;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod recovery;
pub(crate) mod request;
#[cfg(test)]
mod rot;
pub(crate) mod runs;
#[cfg(test)]
mod scripts;
pub(crate) mod time;
pub(crate) mod trace;
pub(crate) mod wire;
pub(crate) mod world;
