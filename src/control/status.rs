//! `store status`: what the user sees of a survey, as a table or as JSON, and what the cluster survives. Pure.

use std::fmt::{self, Write};

use super::json;
use super::roster::Part;
use super::survey::{Said, Seen, Survey};

/// What the cluster can do now, and which failure it survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No server has joined.
    Empty,
    /// The leader does not answer, or does not serve yet.
    NoLeader,
    /// Fewer members than writes need.
    ReadOnly {
        /// Members.
        members: u64,
        /// How many are needed.
        needed: u64,
    },
    /// Gets and sets are served.
    Serves {
        /// So many servers may fail, and writes go on.
        losses: u64,
        /// Servers of which each has all that was acknowledged.
        copies: u64,
    },
}

impl Verdict {
    /// Of what was found. A member that does not answer is as good as lost already.
    #[must_use]
    pub fn of(survey: &Survey) -> Self {
        let (roster, members) =
            (&survey.roster, || survey.servers.iter().filter(|one| one.listed.part != Part::Outside));
        if members().next().is_none() {
            return Self::Empty;
        }
        let serves = |one: &Seen| one.said.as_ref().is_ok_and(|said| said.number("serving") == 1);
        if !members().any(|one| one.listed.part == Part::Leader && serves(one)) {
            return Self::NoLeader;
        }
        let (listed, copies) = (members().count() as u64, members().filter(|one| one.said.is_ok()).count() as u64);
        // writes stop when the configuration is too small; one that does not answer is still in it
        if listed < roster.min_insync {
            return Self::ReadOnly { members: listed, needed: roster.min_insync };
        }
        Self::Serves { losses: copies.saturating_sub(roster.min_insync.max(1)), copies }
    }

    /// Whether sets are taken.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        matches!(self, Self::Serves { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = |count: u64| if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
        match *self {
            Self::Empty => f.write_str("no server has joined yet: start one with store addsrv --lb HOST:PORT"),
            Self::NoLeader => f.write_str("no leader: gets and sets wait until one of the members leads"),
            Self::ReadOnly { members, needed } => write!(
                f,
                "read-only: {} and writes need {needed} (--min-insync): start another with store addsrv --lb HOST:PORT",
                if members == 1 { "1 member is left".to_owned() } else { format!("{members} members are left") }
            ),
            Self::Serves { losses: 0, copies: 0 | 1 } => f.write_str(
                "does not survive the loss of its only server: start another with store addsrv --lb HOST:PORT",
            ),
            Self::Serves { losses: 0, copies } => write!(
                f,
                "the loss of 1 server stops writes and loses nothing: there are {copies} copies; with one server more \
                 writes go on"
            ),
            Self::Serves { losses, copies } => write!(
                f,
                "survives the loss of {} and loses nothing while one of {copies} copies is left",
                servers(losses)
            ),
        }
    }
}

/// What a row shows of a server that answered.
struct Row {
    role: String,
    epoch: u64,
    commit: u64,
    lag: u64,
    items: u64,
    bytes: u64,
    connections: u64,
    uptime: u64,
}

impl Row {
    fn of(said: &Said, committed: u64) -> Self {
        let role = match said.word("role") {
            "leader" if said.number("serving") == 0 => "leader (not yet serving)".to_owned(),
            role => role.to_owned(),
        };
        Self {
            role,
            epoch: said.number("epoch"),
            commit: said.number("commit_index"),
            lag: committed.saturating_sub(said.number("applied_index")),
            items: said.count("curr_items"),
            bytes: said.count("bytes"),
            connections: said.count("curr_connections"),
            uptime: said.count("uptime"),
        }
    }
}

/// Up to which index any server knows the log to be committed.
fn committed(survey: &Survey) -> u64 {
    survey
        .servers
        .iter()
        .filter_map(|one| one.said.as_ref().ok())
        .map(|said| said.number("commit_index"))
        .max()
        .unwrap_or(0)
}

/// The table, what is to be noted of single servers, and the verdict.
#[must_use]
pub fn table(survey: &Survey) -> String {
    const HEAD: [&str; 10] = ["node", "address", "role", "epoch", "commit", "lag", "items", "bytes", "conns", "up"];
    let committed = committed(survey);
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for Seen { listed, said } in &survey.servers {
        let mut row = vec![listed.node.clone(), listed.contact.clients.to_string()];
        match said {
            Ok(said) => {
                let Row { role, epoch, commit, lag, items, bytes, connections, uptime } = Row::of(said, committed);
                let numbers = [epoch, commit, lag, items].map(|number| number.to_string());
                row.push(role);
                row.extend(numbers);
                row.extend([amount(bytes), connections.to_string(), span(uptime)]);
            }
            Err(_) => {
                row.push("unreachable".to_owned());
                row.extend(vec!["-".to_owned(); HEAD.len() - 3]);
            }
        }
        rows.push(row);
    }
    let mut out = String::new();
    let roster = &survey.roster;
    if let Some(cluster) = &roster.cluster {
        put(&mut out, format_args!("cluster {cluster}, epoch {}\n\n", roster.epoch));
        put_columns(&mut out, &rows);
        out.push('\n');
    }
    for note in notes(survey) {
        put(&mut out, format_args!("{note}\n"));
    }
    put(&mut out, format_args!("{}\n", Verdict::of(survey)));
    out
}

/// What an operator should know before `node` is made to lead by force: what it holds, and what others do.
#[must_use]
pub fn before_force(survey: &Survey, node: &str) -> String {
    let holds = |one: &Seen| match &one.said {
        Ok(said) => format!("holds the log up to index {} of epoch {}", said.number("end_index"), said.number("epoch")),
        Err(why) => format!("does not answer ({why})"),
    };
    let Some(one) = survey.servers.iter().find(|one| one.listed.node == node) else {
        return format!(
            "the load balancer knows of no server {node}: take a name from store status, all 16 digits of it."
        );
    };
    let mut text = format!("nothing is changed yet. {} {}", one.listed.contact.clients, holds(one));
    for other in survey.servers.iter().filter(|other| other.listed.node != node) {
        put(&mut text, format_args!("; {} {}", other.listed.contact.clients, holds(other)));
    }
    text + ". What it does not hold is lost when it leads: if the members are gone for good, say so with --confirmed."
}

/// What is out of the ordinary.
fn notes(survey: &Survey) -> Vec<String> {
    let mut notes = Vec::new();
    for Seen { listed, said } in &survey.servers {
        let (address, epoch) = (listed.contact.clients, survey.roster.epoch);
        match said {
            Err(why) => notes.push(format!("{address} is unreachable: {why}")),
            Ok(said) if said.word("doubt") != "none" => {
                notes.push(format!(
                    "{address} is in doubt ({}): it leads only when compared with the others",
                    said.word("doubt")
                ));
            }
            Ok(said) if said.word("role") == "alone" => {
                notes
                    .push(format!("{address} stands alone: something else listens where a server of this cluster was"));
            }
            Ok(said) if listed.part != Part::Outside && said.number("epoch") < epoch => {
                notes.push(format!("{address} is in epoch {}: it has not heard of {epoch} yet", said.number("epoch")));
            }
            Ok(_) => {}
        }
    }
    if survey.roster.forced > 0 {
        notes.push(format!(
            "in epoch {} an operator forced a leader: what others had acknowledged may be lost",
            survey.roster.forced
        ));
    }
    notes
}

/// Names to the left, numbers to the right.
fn put_columns(out: &mut String, rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            if column < 3 {
                put(&mut line, format_args!("{cell:<width$}  "));
            } else {
                put(&mut line, format_args!("{cell:>width$}  "));
            }
        }
        put(out, format_args!("{}\n", line.trim_end()));
    }
}

/// Bytes with three digits or so.
fn amount(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["k", "M", "G", "T", "P"];
    if bytes < 10_000 {
        return bytes.to_string();
    }
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1000, unit + 1);
    }
    format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Seconds in their two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all");
}

/// Everything in the table, and all that the servers say of their part, as one line of JSON.
#[must_use]
pub fn json(survey: &Survey) -> String {
    let (roster, verdict, committed) = (&survey.roster, Verdict::of(survey), committed(survey));
    let mut out = String::from("{");
    if let Some(cluster) = &roster.cluster {
        json::field(&mut out, "cluster", cluster.as_bytes());
        out.push(',');
    }
    let losses = if let Verdict::Serves { losses, .. } = verdict { losses } else { 0 };
    put(
        &mut out,
        format_args!(
            "\"epoch\":{},\"min_insync\":{},\"forced\":{},\"writable\":{},\"survives_losses\":{losses},",
            roster.epoch,
            roster.min_insync,
            roster.forced,
            verdict.is_writable()
        ),
    );
    json::field(&mut out, "verdict", verdict.to_string().as_bytes());
    out.push_str(",\"servers\":[");
    for (at, Seen { listed, said }) in survey.servers.iter().enumerate() {
        out.push_str(if at == 0 { "{" } else { ",{" });
        json::field(&mut out, "node", listed.node.as_bytes());
        put(
            &mut out,
            format_args!(
                ",\"address\":\"{}\",\"peer_address\":\"{}\",",
                listed.contact.clients, listed.contact.servers
            ),
        );
        match said {
            Ok(said) => put_said(&mut out, said, committed),
            Err(why) => {
                out.push_str("\"reachable\":false,\"role\":\"unreachable\",");
                json::field(&mut out, "reason", why.as_bytes());
            }
        }
        out.push('}');
    }
    out.push_str("]}\n");
    out
}

fn put_said(out: &mut String, said: &Said, committed: u64) {
    let Row { lag, items, bytes, connections, uptime, .. } = Row::of(said, committed);
    put(
        out,
        format_args!(
            "\"reachable\":true,\"lag\":{lag},\"items\":{items},\"bytes\":{bytes},\"connections\":{connections},\
             \"uptime_seconds\":{uptime}"
        ),
    );
    // the node's name and address stand there already
    for (name, value) in said.cluster.iter().filter(|(name, _)| !matches!(name.as_str(), "node" | "peer_address")) {
        out.push(',');
        // names and ids in hexadecimal may look like numbers
        let hexadecimal = matches!(name.as_str(), "cluster" | "leader" | "members" | "contacts" | "digest");
        if !hexadecimal && value.parse::<u64>().is_ok() {
            json::string(out, name);
            put(out, format_args!(":{value}"));
        } else {
            json::field(out, name, value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::control::json::Value;
    use crate::control::roster::{Listed, Roster};

    fn said(role: &str, commit: u64, applied: u64) -> Said {
        let pairs = |pairs: &[(&str, String)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        Said {
            general: pairs(&[
                ("curr_items", "12".to_owned()),
                ("bytes", "1234567".to_owned()),
                ("curr_connections", "3".to_owned()),
                ("uptime", "3725".to_owned()),
            ]),
            cluster: pairs(&[
                ("role", role.to_owned()),
                ("serving", u8::from(role == "leader").to_string()),
                ("epoch", "7".to_owned()),
                ("commit_index", commit.to_string()),
                ("applied_index", applied.to_string()),
                ("digest", "0000000000000012".to_owned()),
                ("doubt", "none".to_owned()),
            ]),
        }
    }

    fn seen(node: u64, part: Part, said: Result<Said, String>) -> Seen {
        let contact = format!("10.0.0.{node}:11211 10.0.0.{node}:12211").parse().expect("a contact");
        Seen { listed: Listed { node: format!("{node:016x}"), part, contact }, said }
    }

    fn survey(min_insync: u64, servers: Vec<Seen>) -> Survey {
        let listed = servers.iter().map(|one| one.listed.clone()).collect();
        let roster = Roster { cluster: Some("ab".to_owned()), epoch: 7, min_insync, forced: 0, servers: listed };
        Survey { roster, servers }
    }

    fn three() -> Vec<Seen> {
        vec![
            seen(1, Part::Leader, Ok(said("leader", 100, 100))),
            seen(2, Part::Follower, Ok(said("follower", 99, 98))),
            seen(3, Part::Follower, Ok(said("follower", 100, 100))),
        ]
    }

    #[test]
    fn a_table_has_all_that_is_asked_for() {
        let expected = "\
cluster ab, epoch 7

node              address         role      epoch  commit  lag  items  bytes  conns     up
0000000000000001  10.0.0.1:11211  leader        7     100    0     12   1.2M      3  1h02m
0000000000000002  10.0.0.2:11211  follower      7      99    2     12   1.2M      3  1h02m
0000000000000003  10.0.0.3:11211  follower      7     100    0     12   1.2M      3  1h02m

survives the loss of 1 server and loses nothing while one of 3 copies is left
";
        assert_eq!(table(&survey(2, three())), expected);
    }

    #[test]
    fn who_does_not_answer_is_shown_and_no_longer_counted_on() {
        let mut servers = three();
        servers[2].said = Err("nobody is there".to_owned());
        let found = survey(2, servers.clone());
        let text = table(&found);
        assert!(
            text.contains("10.0.0.3:11211  unreachable") && text.contains("unreachable: nobody is there"),
            "{text}"
        );
        assert_eq!(Verdict::of(&found), Verdict::Serves { losses: 0, copies: 2 });
        servers[0].said = Err("nobody is there".to_owned());
        assert_eq!(Verdict::of(&survey(2, servers)), Verdict::NoLeader);
    }

    #[test]
    fn a_verdict_says_what_may_fail() {
        let of = |min_insync, servers| Verdict::of(&survey(min_insync, servers));
        assert_eq!(of(2, Vec::new()), Verdict::Empty);
        assert_eq!(of(2, three()), Verdict::Serves { losses: 1, copies: 3 });
        assert_eq!(of(1, three()), Verdict::Serves { losses: 2, copies: 3 });
        assert_eq!(of(3, three()), Verdict::Serves { losses: 0, copies: 3 });
        let one = || vec![three().remove(0)];
        assert_eq!(of(2, one()), Verdict::ReadOnly { members: 1, needed: 2 });
        assert_eq!(of(1, one()), Verdict::Serves { losses: 0, copies: 1 });
        let mut learning = three();
        learning[2] = seen(3, Part::Outside, Ok(said("learner", 50, 50)));
        assert_eq!(of(2, learning), Verdict::Serves { losses: 0, copies: 2 }, "a learner's copy is not whole");
        let mut waiting = three();
        waiting[0].said.as_mut().expect("it answers").cluster.insert("serving".to_owned(), "0".to_owned());
        assert_eq!(of(2, waiting), Verdict::NoLeader);
        let words = of(2, one()).to_string();
        assert!(words.starts_with("read-only: 1 member is left and writes need 2"), "{words}");
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_noted() {
        let mut servers = three();
        for (at, name, value) in [(0, "doubt", "tail"), (1, "epoch", "6"), (2, "role", "alone")] {
            servers[at].said.as_mut().expect("it answers").cluster.insert(name.to_owned(), value.to_owned());
        }
        let mut found = survey(2, servers);
        found.roster.forced = 5;
        let text = table(&found);
        for words in ["in doubt (tail)", "in epoch 6", "stands alone", "in epoch 5 an operator forced"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert_eq!(notes(&survey(2, three())), Vec::<String>::new());
    }

    #[test]
    fn json_says_the_same() {
        let mut servers = three();
        servers[1].said = Err("a \"reason\"".to_owned());
        let value = Value::parse(&json(&survey(2, servers))).expect("JSON");
        assert_eq!((value.number("epoch"), value.number("survives_losses")), (Some(7), Some(0)));
        assert_eq!(value.get("writable"), Some(&Value::Word("true".to_owned())));
        let servers = value.list("servers");
        assert_eq!((servers.len(), servers[0].text("role"), servers[0].number("lag")), (3, Some("leader"), Some(0)));
        assert_eq!(servers[0].text("digest"), Some("0000000000000012"), "a word, though it looks like a number");
        assert_eq!((servers[0].number("commit_index"), servers[0].number("items")), (Some(100), Some(12)));
        assert_eq!((servers[1].text("role"), servers[1].text("reason")), (Some("unreachable"), Some("a \"reason\"")));
    }

    #[test]
    fn before_a_server_is_forced_it_is_said_what_it_holds() {
        let mut servers = three();
        servers[0].said = Err("nobody is there".to_owned());
        servers[2].said.as_mut().expect("it answers").cluster.insert("end_index".to_owned(), "90".to_owned());
        let found = survey(2, servers);
        let text = before_force(&found, "0000000000000003");
        assert!(text.starts_with("nothing is changed yet. 10.0.0.3:11211 holds the log up to index 90"), "{text}");
        assert!(text.contains("10.0.0.1:11211 does not answer") && text.contains("--confirmed"), "{text}");
        assert!(before_force(&found, "3").contains("no server 3"));
    }

    #[test]
    fn amounts_and_spans_are_short() {
        let amounts = [0, 9_999, 10_000, 1_234_567, 12_345_678_901].map(amount);
        assert_eq!(amounts, ["0", "9999", "10.0k", "1.2M", "12.3G"]);
        let spans = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 1_000_000].map(span);
        assert_eq!(spans, ["0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d00h", "11d13h"]);
    }
}
