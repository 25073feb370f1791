//! The simulator: a whole cluster with its clients in one thread, from one seed. `RINGSTORE_SEED=N` replays one.

mod dice;
mod disk;
mod linear;
mod network;
mod time;
