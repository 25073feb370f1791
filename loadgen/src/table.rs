//! Results as Markdown, or as JSON.

use serde::Serialize;

use crate::contest::{EntrantResult, EventResult, Results};
use crate::failure::{Failure, While};

/// What a server is to reach under a load, as a ratio of CPU time to the peer's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    None,
    /// This server does not take part.
    NotRun,
    AtMost(f64),
}

impl Goal {
    pub fn is_entrant(self) -> bool {
        self != Self::NotRun
    }
}

/// A line of the table: one server under one load, beside the peer.
#[derive(Debug, Serialize, PartialEq)]
struct Ratio {
    load: String,
    server: String,
    /// CPU time per request, medians.
    peer_us: f64,
    us: f64,
    cpu_ratio: f64,
    goal: Option<f64>,
    /// Requests per second, medians.
    peer_rate: f64,
    rate: f64,
    rate_ratio: f64,
}

/// Prints everything that was found.
pub fn print(results: &Results, json: bool, goal: impl Fn(usize, usize) -> Goal) -> Result<(), Failure> {
    if json {
        #[derive(Serialize)]
        struct Everything<'a> {
            #[serde(flatten)]
            results: &'a Results,
            ratios: Vec<Ratio>,
        }
        let everything = Everything { ratios: ratios(results, goal), results };
        println!("{}", serde_json::to_string_pretty(&everything).during("writing JSON")?);
    } else {
        print!("{}", markdown(results, goal));
    }
    Ok(())
}

fn markdown(results: &Results, goal: impl Fn(usize, usize) -> Goal) -> String {
    let mut out = heading(results);
    let peer = &results.servers[0].name;
    out +=
        &format!("\n| load | server | {peer} us/op | us/op | CPU ratio | goal | {peer} op/s | op/s | rate ratio |\n");
    out += "|---|---|--:|--:|--:|--:|--:|--:|--:|\n";
    for (event, result) in results.events.iter().enumerate() {
        let base = &result.entrants[0];
        for entrant in &result.entrants[1..] {
            out += &line(results, result, base, entrant, goal(event, entrant.server));
        }
    }
    out += "\nMedians, smallest and largest in brackets. us/op is CPU time of the server process; `%` is how busy it was.\n";
    out
}

fn heading(results: &Results) -> String {
    let machine = &results.machine;
    let mut out = format!(
        "Kernel {}, {}, {} cores, commit {}; {} rounds of {} s, seed {}.\n\n",
        machine.kernel, machine.cpu, machine.cores, machine.commit, results.rounds, results.seconds, results.seed
    );
    for server in &results.servers {
        out += &format!("- {} ({}): `{}`\n", server.name, server.version, server.command);
    }
    out
}

fn line(results: &Results, event: &EventResult, base: &EntrantResult, entrant: &EntrantResult, goal: Goal) -> String {
    let cost = |entrant: &EntrantResult| {
        let cpu = &entrant.cpu_us;
        format!("{:.2} ({:.2}-{:.2}) {:.0} %", cpu.median, cpu.min, cpu.max, entrant.busy * 100.0)
    };
    let ratio = entrant.cpu_us.median / base.cpu_us.median;
    let goal = match goal {
        Goal::AtMost(goal) => format!("{goal:.2} {}", if ratio <= goal { "reached" } else { "MISSED" }),
        Goal::None | Goal::NotRun => String::new(),
    };
    format!(
        "| {} | {} | {} | {} | {ratio:.2} | {goal} | {:.0} | {:.0} | {:.2} |\n",
        event.title,
        results.servers[entrant.server].name,
        cost(base),
        cost(entrant),
        base.rate.median,
        entrant.rate.median,
        entrant.rate.median / base.rate.median,
    )
}

fn ratios(results: &Results, goal: impl Fn(usize, usize) -> Goal) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for (place, event) in results.events.iter().enumerate() {
        let base = &event.entrants[0];
        for entrant in &event.entrants[1..] {
            ratios.push(Ratio {
                load: event.title.clone(),
                server: results.servers[entrant.server].name.clone(),
                peer_us: base.cpu_us.median,
                us: entrant.cpu_us.median,
                cpu_ratio: entrant.cpu_us.median / base.cpu_us.median,
                goal: if let Goal::AtMost(goal) = goal(place, entrant.server) { Some(goal) } else { None },
                peer_rate: base.rate.median,
                rate: entrant.rate.median,
                rate_ratio: entrant.rate.median / base.rate.median,
            });
        }
    }
    ratios
}
