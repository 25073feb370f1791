//! The write path without a shell: forwarded writes as bytes, and replicas' data planes against each other. Every random test
//! prints its seed; `RINGSTORE_SEED` replays one.

mod cluster;
mod codec;
mod replica;

/// A reproducible source of numbers (splitmix64).
struct Rng(u64);

impl Rng {
    fn seeded(test: &str, default: u64) -> Self {
        let seed = std::env::var("RINGSTORE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(default);
        println!("{test}: RINGSTORE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
