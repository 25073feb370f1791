//! What a load consists of, without sending anything: when requests are due, which keys they name, how long things are and
//! what a value must look like. Everything follows from a seed.

pub mod arrivals;
pub mod keys;
pub mod mix;
pub mod popularity;
pub mod proof;
pub mod size;
