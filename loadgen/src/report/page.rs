//! The page: everything a reader needs to judge a run, in one file that asks for nothing from anywhere and runs no script.
//! Written as XML that HTML's rules read alike.

use std::time::{SystemTime, UNIX_EPOCH};

use super::columns::{self, Column, QUANTILES};
use super::markup::Markup;
use super::plot::Plot;
use super::scale::{self, exact};
use super::{Addition, ROWS_SHOWN, Table, figures, style};
use crate::machine::Machine;
use crate::recording::{Recording, Verdict};

/// Rows of the table of intervals, and steps of the lines over time, at most about.
pub const COLUMNS_MAX: usize = 400;
/// The percentiles of the table.
const PERCENTILES: [(f64, &str); 9] = [
    (0.0, "min"),
    (0.5, "50 %"),
    (0.75, "75 %"),
    (0.9, "90 %"),
    (0.99, "99 %"),
    (0.999, "99.9 %"),
    (0.9999, "99.99 %"),
    (0.99999, "99.999 %"),
    (1.0, "max"),
];

/// The whole page.
pub fn page(recording: &Recording, addition: &Addition) -> String {
    let columns = columns::columns(recording, COLUMNS_MAX);
    let mut out = Markup::default();
    out.open("html", &[("lang", "en")]);
    head(recording, &mut out);
    out.open("body", &[]);
    out.open("main", &[]);
    heading(recording, &mut out);
    verdict(&recording.verdict, &mut out);
    headline(recording, addition, &mut out);
    if let Some(closeup) = &addition.closeup {
        section(&closeup.plots(), &mut out);
    }
    for table in &addition.tables {
        in_section(&mut out, |out| draw_table(table, out));
    }
    section(&[figures::throughput(&columns, &recording.marks), figures::latency(&columns, &recording.marks)], &mut out);
    percentiles(recording, &mut out);
    if !recording.marks.is_empty() {
        in_section(&mut out, |out| draw_table(&marks(recording), out));
    }
    in_section(&mut out, |out| conditions(recording, out));
    in_section(&mut out, |out| draw_table(&intervals(&columns), out));
    out.close("main");
    out.close("body");
    out.close("html");
    format!("<!DOCTYPE html>\n{}\n", out.finish())
}

fn head(recording: &Recording, out: &mut Markup) {
    out.open("head", &[]);
    out.empty("meta", &[("charset", "utf-8")]);
    out.empty("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    out.element("title", &[], &recording.title);
    // an empty icon of its own, or a browser would ask the page's server for one
    out.empty("link", &[("rel", "icon"), ("href", "data:,")]);
    out.style(&style::of_page());
    out.style(&style::of_drawings());
    out.close("head");
    out.line();
}

fn heading(recording: &Recording, out: &mut Markup) {
    out.element("h1", &[], &recording.title);
    out.element("p", &[("class", "soft")], &format!("{}. {}", date(recording.began), machine(&recording.machine)));
}

/// The machine in a sentence.
pub fn machine(machine: &Machine) -> String {
    let commit = if machine.commit.is_empty() { String::new() } else { format!(", commit {}", machine.commit) };
    format!("{}, {} cores, Linux {}{commit}", machine.cpu, machine.cores, machine.kernel)
}

fn verdict(verdict: &Verdict, out: &mut Markup) {
    match verdict {
        Verdict::Valid => {
            out.open("section", &[("class", "verdict")]);
            out.open("p", &[]);
            out.element("strong", &[], "Valid.");
            out.words(" The load was sent as it was asked for: the figures are the servers'.");
            out.close("p");
        }
        Verdict::Invalid { reasons } => {
            out.open("section", &[("class", "verdict invalid")]);
            out.open("p", &[]);
            out.element("strong", &[], "Invalid.");
            out.words(" The load generator itself was the limit:");
            out.close("p");
            out.open("ul", &[]);
            reasons.iter().for_each(|reason| out.element("li", &[], reason));
            out.close("ul");
        }
    }
    out.close("section");
}

/// The few figures that everybody looks for first.
fn headline(recording: &Recording, addition: &Addition, out: &mut Markup) {
    let sum = |of: fn(&crate::recording::Interval) -> u64| recording.intervals.iter().map(of).sum::<u64>();
    let requests = sum(|interval| interval.requests);
    let seconds = recording.intervals.last().map_or(0.0, |last| (last.start + last.length).as_secs_f64());
    let rate = if seconds > 0.0 { requests as f64 / seconds } else { 0.0 };
    let at = |quantile| latency_of(recording, quantile);
    let general = [
        ("answered", exact(requests)),
        ("per second", scale::count(rate)),
        ("p50", at(0.5)),
        ("p99", at(0.99)),
        ("p99.9", at(0.999)),
        ("max", at(1.0)),
        ("errors", exact(sum(|interval| interval.errors))),
        ("unknown outcome", exact(sum(|interval| interval.unknown))),
    ];
    let added = addition.headline.iter().map(|(name, value)| (name.as_str(), value.clone()));
    out.open("section", &[("class", "figures")]);
    for (name, value) in added.chain(general) {
        out.open("div", &[]);
        out.element("dt", &[], name);
        out.element("dd", &[], &value);
        out.close("div");
    }
    out.close("section");
    out.line();
}

fn latency_of(recording: &Recording, quantile: f64) -> String {
    let latencies = &recording.latencies;
    if latencies.is_empty() {
        "–".to_owned()
    } else {
        scale::time(latencies.value_at_quantile(quantile) as f64 / 1e9)
    }
}

fn section(plots: &[Plot], out: &mut Markup) {
    in_section(out, |out| plots.iter().for_each(|plot| plot.draw_alone(out)));
}

fn in_section(out: &mut Markup, content: impl FnOnce(&mut Markup)) {
    out.open("section", &[]);
    content(out);
    out.close("section");
    out.line();
}

fn percentiles(recording: &Recording, out: &mut Markup) {
    let Some(plot) = figures::percentiles(&recording.latencies) else { return };
    let count = recording.latencies.len() as f64;
    // a percentile that less than one request exceeds says nothing that the maximum does not
    let told = PERCENTILES.iter().filter(|(quantile, _)| *quantile == 1.0 || (1.0 - quantile) * count >= 1.0);
    let rows = told.map(|(quantile, name)| {
        let ns = recording.latencies.value_at_quantile(*quantile);
        vec![(*name).to_owned(), scale::time(ns as f64 / 1e9), exact(ns)]
    });
    let head = ["percentile", "latency", "ns"].map(ToOwned::to_owned).to_vec();
    let table = Table { caption: "Latency".to_owned(), head, rows: rows.collect(), words: false };
    in_section(out, |out| {
        plot.draw_alone(out);
        draw_table(&table, out);
    });
}

fn marks(recording: &Recording) -> Table {
    let rows = recording.marks.iter().map(|mark| vec![format!("{:.3} s", mark.at.as_secs_f64()), mark.label.clone()]);
    let head = ["time", "what happened"].map(ToOwned::to_owned).to_vec();
    Table { caption: "What happened meanwhile".to_owned(), head, rows: rows.collect(), words: true }
}

fn conditions(recording: &Recording, out: &mut Markup) {
    out.element("h2", &[], "How it was made");
    out.element("pre", &[], &recording.command);
    out.open("table", &[]);
    for (name, value) in &recording.parameters {
        out.open("tr", &[]);
        out.element("td", &[], name);
        out.element("td", &[("class", "words")], value);
        out.close("tr");
    }
    out.close("table");
}

fn intervals(columns: &[Column]) -> Table {
    let names = QUANTILES.iter().map(|(_, name)| *name);
    let head =
        ["from", "to", "answers", "per second", "errors", "unknown"].into_iter().chain(names).chain(["max", "leader"]);
    let row = |column: &Column| {
        let counts = [column.requests, column.errors, column.unknown].map(exact);
        let times = [column.start, column.end].map(|time| format!("{time:.3} s"));
        let latency = match &column.latency {
            Some(latency) => latency.quantiles.into_iter().chain([latency.max]).map(scale::time).collect(),
            None => vec!["–".to_owned(); QUANTILES.len() + 1],
        };
        let [answers, errors, unknown] = counts;
        let middle = [answers, exact(column.rate().round() as u64), errors, unknown];
        let leader = column.leader.clone().unwrap_or_else(|| "–".to_owned());
        times.into_iter().chain(middle).chain(latency).chain([leader]).collect()
    };
    let caption = "The numbers behind the lines over time".to_owned();
    Table {
        caption,
        head: head.map(ToOwned::to_owned).collect(),
        rows: columns.iter().map(row).collect(),
        words: false,
    }
}

/// A long table is folded: its caption is what a reader opens it by.
fn draw_table(table: &Table, out: &mut Markup) {
    let folded = table.rows.len() > ROWS_SHOWN;
    if folded {
        out.open("details", &[]);
        out.element("summary", &[], &table.caption);
    }
    out.open("div", &[("class", "scroll")]);
    out.open("table", &[("class", if table.words { "words" } else { "numbers" })]);
    if !folded {
        out.element("caption", &[], &table.caption);
    }
    out.open("thead", &[]);
    out.open("tr", &[]);
    table.head.iter().for_each(|name| out.element("th", &[("scope", "col")], name));
    out.close("tr");
    out.close("thead");
    out.open("tbody", &[]);
    for row in &table.rows {
        out.open("tr", &[]);
        row.iter().for_each(|cell| out.element("td", &[], cell));
        out.close("tr");
    }
    out.close("tbody");
    out.close("table");
    out.close("div");
    if folded {
        out.close("details");
    }
    out.line();
}

/// Date and time of day in UTC. From days to a date as Howard Hinnant's `civil_from_days` does it.
pub fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}
