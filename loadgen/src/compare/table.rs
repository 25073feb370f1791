//! A report as Markdown that can be pasted as it is: a table for each scenario, and below them what it takes to measure
//! again. Writes only what the sheets say.

use super::sheet::{Bound, Column, EntrantResult, EventResult, Figure, GoalResult, Kind, Ratio, Spread, Verdict};
use super::{Report, Sheet};

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut out = report.scenarios.iter().map(scenario).collect::<String>();
    out += "Medians over the rounds (smallest..largest). A ratio is ours over the peer's within each round. CPU is that of the server's \
            processes, user and system. Where the load generator had less than 5 % of its time to spare it was the limit: throughput and \
            latency are no claims then, CPU time is. Where it had time and the servers were not busy either, the limit was the disk or what \
            else ran on the machine: measure again when it is quiet.\n\n";
    for server in report.scenarios.iter().flat_map(|sheet| sheet.servers.iter().map(move |server| (sheet, server))) {
        let (sheet, server) = server;
        out += &format!("- {}, {} ({}): `{}`\n", sheet.scenario.name(), server.name, server.version, server.command);
    }
    for left_out in &report.left_out {
        out += &format!("- not measured: {left_out}\n");
    }
    let machine = &report.machine;
    out += &format!(
        "\nKernel {}, {}, {} cores, commit {}; rounds: {} of {} s a measurement, seed {}: `{}`\n",
        machine.kernel,
        machine.cpu,
        machine.cores,
        machine.commit,
        report.rounds,
        report.seconds,
        report.seed,
        report.command
    );
    out
}

fn scenario(sheet: &Sheet) -> String {
    let mut out = format!("**{}**: {}\n\n| load | server |", sheet.scenario.name(), sheet.about);
    sheet.columns.iter().for_each(|column| out += &format!(" {} |", column.title));
    out += " verdict |\n|---|---|";
    out += &"--:|".repeat(sheet.columns.len());
    out += "---|\n";
    for event in &sheet.results {
        out += &rows(sheet.columns, event);
    }
    out + "\n"
}

fn rows(columns: &[Column], event: &EventResult) -> String {
    let entrants = event.entrants.iter().map(entrant_row);
    let ratios = event.ratios.iter().map(|ratio| ratio_row(columns, ratio));
    let titles = std::iter::once(event.title.as_str()).chain(std::iter::repeat(""));
    titles.zip(entrants.chain(ratios)).map(|(title, row)| format!("| {title} | {row} |\n")).collect()
}

fn entrant_row(entrant: &EntrantResult) -> String {
    let cells = entrant.figures.iter().map(|figure| spread(&figure.spread));
    let verdict = verdict(&entrant.verdict);
    cells.fold(entrant.name.clone(), |row, cell| row + " | " + &cell) + " | " + &verdict
}

fn ratio_row(columns: &[Column], ratio: &Ratio) -> String {
    let cells = columns.iter().map(|column| match ratio.figures.iter().find(|figure| figure.name == column.name) {
        Some(figure) => ratio_cell(column.kind, figure, &ratio.verdict),
        None => String::new(),
    });
    let verdict = match &ratio.goal {
        Some(goal) => format!("{}; {}", verdict(&ratio.verdict), goal_text(columns, goal)),
        None => verdict(&ratio.verdict),
    };
    cells.fold(format!("**{} / {}**", ratio.ours, ratio.peer), |row, cell| row + " | " + &cell) + " | " + &verdict
}

fn ratio_cell(kind: Kind, figure: &Figure, verdict: &Verdict) -> String {
    if !verdict.lets_claim(kind) {
        return "no claim".to_owned();
    }
    let Spread { median, min, max } = figure.spread;
    format!("**{median:.2}** ({min:.2}..{max:.2})")
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid => "valid".to_owned(),
        Verdict::GeneratorWasTheLimit { servers } => {
            format!("**invalid**: the generator was the limit with {}", servers.join(" and "))
        }
        Verdict::TooShort => "too short".to_owned(),
    }
}

fn goal_text(columns: &[Column], goal: &GoalResult) -> String {
    let title = columns.iter().find(|column| column.name == goal.figure).map_or(goal.figure, |column| column.title);
    let bound = match goal.bound {
        Bound::AtMost(bound) => format!("at most {bound}"),
        Bound::AtLeast(bound) => format!("at least {bound}"),
    };
    let reached = match goal.reached {
        Some(true) => "reached",
        Some(false) => "MISSED",
        None => "not judged",
    };
    format!("goal {title} {bound}: {reached}")
}

fn spread(spread: &Spread) -> String {
    let Spread { median, min, max } = *spread;
    if min.total_cmp(&max).is_eq() {
        number(median)
    } else {
        format!("{} ({}..{})", number(median), number(min), number(max))
    }
}

/// Three digits at least, thousands apart.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size < 10.0 => 2,
        size if size < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let digits = text.find('.').unwrap_or(text.len());
    let mut out = String::new();
    for (place, character) in text.char_indices() {
        let behind = digits.saturating_sub(place);
        if place > 0 && behind > 0 && behind.is_multiple_of(3) && out.ends_with(|last: char| last.is_ascii_digit()) {
            out.push(',');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sheet::{Goal, ServerDescription};
    use super::super::{Scenario, measure};
    use super::*;
    use crate::machine::Machine;

    fn report(generator: f64, short: bool) -> Report {
        let columns = &measure::COLUMNS;
        let server = |name: &str, peer| ServerDescription {
            name: name.to_owned(),
            peer,
            command: format!("{name} -p {{port}}"),
            version: "1.2.3".to_owned(),
        };
        let servers = vec![server("memcached", true), server("no log", false)];
        let peer = [[100_000.0, 300.0, 450.0, 7.0, 1.0, 60.0], [120_000.0, 290.0, 440.0, 8.0, 1.0, 60.0]];
        let ours = [[150_000.0, 200.0, 225.0, 3.5, 1.0, generator], [180_000.0, 200.0, 220.0, 4.0, 1.0, generator]];
        let entrants = servers.iter().zip([peer, ours]);
        let entrants = entrants
            .map(|(server, rounds)| EntrantResult::of(columns, server, &rounds.map(|round| round.to_vec()), short))
            .collect();
        let goal = Goal {
            ours: "no log".to_owned(),
            peer: "memcached".to_owned(),
            figure: measure::CPU_US,
            bound: Bound::AtMost(0.82),
        };
        let results = vec![EventResult::of(columns, "get, 32 connections", entrants, &[goal], short)];
        let (kernel, cpu, commit) = ("6.1".to_owned(), "A CPU".to_owned(), "abc1234".to_owned());
        Report {
            machine: Machine { kernel, cpu, cores: 2, commit },
            command: "loadgen compare requests".to_owned(),
            rounds: 2,
            seconds: 2.0,
            seed: 1,
            left_out: vec!["durable: redis is not installed".to_owned()],
            scenarios: vec![Sheet {
                scenario: Scenario::Requests,
                about: "Where.".to_owned(),
                columns,
                servers,
                results,
            }],
        }
    }

    #[test]
    fn the_report_is_a_table_and_what_it_takes_to_measure_again() {
        let text = markdown(&report(80.0, false));
        let begin = "\
**requests**: Where.

| load | server | op/s | p50, us | p99, us | server CPU, us/op | cores busy | generator busy, % | verdict |
|---|---|--:|--:|--:|--:|--:|--:|---|
| get, 32 connections | memcached | 110,000 (100,000..120,000) | 295 (290..300) | 445 (440..450) | 7.50 (7.00..8.00) | 1.00 | 60.0 | valid |
|  | no log | 165,000 (150,000..180,000) | 200 | 222 (220..225) | 3.75 (3.50..4.00) | 1.00 | 80.0 | valid |
|  | **no log / memcached** | **1.50** (1.50..1.50) | **0.68** (0.67..0.69) | **0.50** (0.50..0.50) | **0.50** (0.50..0.50) |  |  | valid; goal server CPU, us/op at most 0.82: reached |
";
        assert!(text.starts_with(begin), "{text}");
        for said in [
            "- requests, memcached (1.2.3): `memcached -p {port}`",
            "- not measured: durable: redis is not installed",
            "Kernel 6.1, A CPU, 2 cores, commit abc1234; rounds: 2 of 2 s a measurement, seed 1: `loadgen compare requests`",
        ] {
            assert!(text.contains(said), "{text}");
        }
        let columns = text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches('|').count());
        assert!(columns.clone().count() == 5 && columns.clone().all(|count| count == 10), "{text}");
    }

    #[test]
    fn a_busy_generator_leaves_no_claim_but_that_of_cpu_time() {
        let text = markdown(&report(99.0, false));
        let row = "|  | **no log / memcached** | no claim | no claim | no claim | **0.50** (0.50..0.50) |  |  | **invalid**: the generator \
                   was the limit with no log; goal server CPU, us/op at most 0.82: reached |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| 1.00 | 60.0 | valid |"), "the peer's own figures stand: {text}");
    }

    #[test]
    fn a_short_run_has_figures_and_no_ratio() {
        let text = markdown(&report(99.0, true));
        assert!(text.contains("| no claim | no claim | no claim | no claim |  |  | too short; goal"), "{text}");
        assert!(text.contains("at most 0.82: not judged |"), "{text}");
    }

    #[test]
    fn the_json_says_the_same() {
        let json = serde_json::to_value(report(99.0, false)).expect("serializes");
        let event = &json["scenarios"][0]["results"][0];
        assert_eq!(json["scenarios"][0]["scenario"], "requests");
        assert_eq!(event["entrants"][0]["figures"][0]["rounds"], serde_json::json!([100_000.0, 120_000.0]));
        assert_eq!(event["ratios"][0]["verdict"], "generator_was_the_limit");
        assert_eq!(event["ratios"][0]["servers"], serde_json::json!(["no log"]));
        assert_eq!(event["ratios"][0]["goal"]["reached"], true);
        assert_eq!(event["ratios"][0]["goal"]["bound"]["at_most"], 0.82);
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_apart() {
        for (value, text) in [
            (0.5, "0.50"),
            (9.876, "9.88"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.0, "1,234"),
            (123_456.7, "123,457"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
            (-123.0, "-123"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
