//! What a load can be told on the command line, for `run` and `search` alike, and the plan that follows from it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::engine::{End, Endpoint, Pace, Plan, Shape, Target};
use crate::failure::Failure;
use crate::machine;
use crate::workload::keys::{KEY_BYTES_DEFAULT, Keys};
use crate::workload::mix::Mix;
use crate::workload::popularity::Popularity;
use crate::workload::proof::PROOF_BYTES;
use crate::workload::size::Size;

/// Requests in flight on a connection of an open loop unless told otherwise.
const OPEN_PIPELINE_DEFAULT: u32 = 16;
/// Length of an interval.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long answers are waited for at the end.
const DRAIN: Duration = Duration::from_secs(2);
/// Open files beside connections.
const OTHER_FILES: u64 = 100;

#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Connections, spread over servers and threads
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,
    /// Most requests in flight on a connection. In a closed loop they are sent together and all answered before the next
    /// ones; with --rate, what is due while a connection has this many waits, and its time counts [default: 1, with --rate 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: Option<u32>,
    /// What to ask: get, set, delete, incr, cas, touch, mg, ms, md, ma, multiget=KEYS; of several with weights, as in
    /// get=90,set=9,multiget:100=1
    #[arg(long, default_value = "get")]
    pub mix: Mix,
    /// Number of keys
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub keys: u32,
    /// Bytes of each key: N, MIN..MAX, lognormal=MEDIAN,SIGMA[,MAX]
    #[arg(long, value_name = "SIZE", default_value_t = Size::Fixed(KEY_BYTES_DEFAULT))]
    pub key_size: Size,
    /// Bytes of each value: N, MIN..MAX, lognormal=MEDIAN,SIGMA[,MAX]
    #[arg(long, value_name = "SIZE", default_value_t = Size::Fixed(100))]
    pub value_size: Size,
    /// Which keys: uniform, zipf[=EXPONENT], hotspot[=KEYS%:REQUESTS%], sequential
    #[arg(long, value_name = "NAME", default_value = "uniform")]
    pub distribution: Popularity,
    /// Store every key first
    #[arg(long)]
    pub fill: bool,
    /// Check that each value is of its key, whole, and no older than what this thread knows to have replaced it; a missing
    /// key is wrong too, unless the mix deletes. All values must be this program's; those drawn shorter than 24 bytes get 24
    #[arg(long)]
    pub verify: bool,
    /// Load threads, each with a tokio-uring runtime of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Core to pin the load threads to, several for several threads
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Seconds without an answer after which a connection is given up and its requests are of unknown outcome [default:
    /// none; with --lb 1]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// Decides the order of keys, the schedule and all sizes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct TargetArgs {
    /// Servers that hold the same keys, HOST:PORT, with commas between them
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub server: Vec<String>,
    /// The load balancer of a cluster, HOST:PORT: learns its servers from it, and again when a connection ends
    #[arg(long, value_name = "HOST:PORT")]
    pub lb: Option<String>,
    /// A server's unix socket
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
}

/// `2`, `0.5`, `2s` or `500ms`.
///
/// # Errors
/// When it is none of them.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let (number, scale) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * scale);
    let seconds = seconds.filter(|seconds| (0.0..=1e6).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds, as in 10, 0.5 or 500ms".to_owned())
}

impl LoadArgs {
    /// The plan for a load of this pace.
    ///
    /// # Errors
    /// When the options do not go together; the text says which.
    pub fn plan(&self, pace: Pace, end: End, warm_up: Duration) -> Result<Plan, Failure> {
        if self.verify && self.value_size.max() < PROOF_BYTES {
            return Err(Failure::new(format!(
                "--verify needs values of at least {PROOF_BYTES} bytes: raise --value-size"
            )));
        }
        let keys = Keys::new(self.keys, self.key_size).map_err(Failure::new)?;
        machine::allow_open_files(u64::from(self.connections) + OTHER_FILES)?;
        let pipeline = self.pipeline.unwrap_or(if pace == Pace::Closed { 1 } else { OPEN_PIPELINE_DEFAULT });
        Ok(Plan {
            target: self.target.resolve()?,
            shape: Shape {
                mix: self.mix.clone(),
                keys,
                popularity: self.distribution,
                value_size: self.value_size,
                value_bytes_min: if self.verify { PROOF_BYTES } else { 0 },
            },
            pace,
            end,
            warm_up,
            interval: INTERVAL,
            connections: self.connections as usize,
            pipeline: pipeline as usize,
            threads: self.threads.min(self.connections) as usize,
            cpus: self.cpu.clone(),
            drain: DRAIN,
            patience: self.timeout.or_else(|| self.target.lb.as_ref().map(|_| Duration::from_secs(1))),
            verify: self.verify,
            seed: self.seed,
        })
    }

    /// Names and values of what decides the load.
    pub fn parameters(&self, plan: &Plan) -> Vec<(String, String)> {
        let pace = match plan.pace {
            Pace::Closed => "closed loop".to_owned(),
            Pace::Open { rate, spacing } => format!("{rate} requests/s, {spacing:?}").to_lowercase(),
        };
        let pairs = [
            ("target", self.target.describe()),
            ("pace", pace),
            ("connections", self.connections.to_string()),
            ("pipeline", plan.pipeline.to_string()),
            ("mix", self.mix.to_string()),
            ("keys", self.keys.to_string()),
            ("key size", self.key_size.to_string()),
            ("value size", self.value_size.to_string()),
            ("distribution", format!("{:?}", self.distribution).to_lowercase()),
            ("verify", self.verify.to_string()),
            ("threads", plan.threads.to_string()),
            ("warm-up", format!("{:?}", plan.warm_up)),
            ("seed", self.seed.to_string()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

impl TargetArgs {
    fn resolve(&self) -> Result<Target, Failure> {
        if let Some(name) = &self.lb {
            return Ok(Target::Balancer(name.clone()));
        }
        if let Some(path) = &self.unix {
            return Ok(Target::Servers(vec![Endpoint::Unix(path.clone())]));
        }
        self.server.iter().map(|name| Endpoint::resolve(name)).collect::<Result<_, _>>().map(Target::Servers)
    }

    /// As it was typed.
    pub fn describe(&self) -> String {
        match (&self.lb, &self.unix) {
            (Some(name), _) => format!("load balancer {name}"),
            (_, Some(path)) => path.display().to_string(),
            _ => self.server.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        for (text, millis) in [("2", 2000), ("0.5", 500), ("2s", 2000), ("500ms", 500), ("0", 0)] {
            assert_eq!(parse_seconds(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "-1", "s", "1m", "1e9", "nan"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
