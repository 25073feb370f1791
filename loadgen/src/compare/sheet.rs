//! What a comparison found: figures of every round, their medians with smallest and largest, ours over each peer's, and
//! what of it may be claimed. Pure arithmetic: knows neither how a figure is measured nor how it is shown.

use serde::Serialize;

use crate::engine::LIMIT_SHARE;

/// What a figure tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Throughput or latency: of the load generator as much as of the server when the former was the limit.
    Speed,
    /// CPU time or memory of the server, whoever was the limit.
    Cost,
    /// The conditions of the others; no ratio is made of it.
    Condition,
    /// How busy the load generator was, in percent.
    Generator,
}

/// A figure that is measured of every server in every round.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its name in the table.
    pub title: &'static str,
    /// What it tells.
    pub kind: Kind,
}

/// Median, smallest and largest of a figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one figure.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: f64::midpoint(low, high), min: sorted[0], max: sorted[sorted.len() - 1] }
    }
}

/// One figure of all rounds.
#[derive(Debug, PartialEq, Serialize)]
pub struct Figure {
    /// That of its column.
    pub name: &'static str,
    #[serde(flatten)]
    pub spread: Spread,
    /// In order.
    pub rounds: Vec<f64>,
}

impl Figure {
    fn of(column: &Column, rounds: Vec<f64>) -> Self {
        Self { name: column.name, spread: Spread::of(&rounds), rounds }
    }
}

/// Whether the figures are the server's, and worth something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// They are.
    Valid,
    /// The load generator was the limit with these servers: their throughput and latency are its own.
    GeneratorWasTheLimit {
        /// By name.
        servers: Vec<String>,
    },
    /// Too few rounds or too short ones: it runs, and nothing else is shown.
    TooShort,
}

impl Verdict {
    /// Whether something may be claimed from figures of this kind.
    pub fn lets_claim(&self, kind: Kind) -> bool {
        match self {
            Self::Valid => true,
            Self::GeneratorWasTheLimit { .. } => kind == Kind::Cost,
            Self::TooShort => false,
        }
    }

    fn of(entrants: &[&EntrantResult], columns: &[Column], short: bool) -> Self {
        if short {
            return Self::TooShort;
        }
        let limited = entrants.iter().filter(|entrant| entrant.generator_was_the_limit(columns));
        let servers = limited.map(|entrant| entrant.name.clone()).collect::<Vec<_>>();
        if servers.is_empty() { Self::Valid } else { Self::GeneratorWasTheLimit { servers } }
    }
}

/// A server that takes part.
#[derive(Debug, Serialize)]
pub struct ServerDescription {
    pub name: String,
    /// Ours are set beside it.
    pub peer: bool,
    pub command: String,
    /// What it said about itself while it ran.
    pub version: String,
}

/// What a ratio of ours to a peer's is to reach.
#[derive(Clone, Debug)]
pub struct Goal {
    /// Names of the two servers.
    pub ours: String,
    pub peer: String,
    /// Name of the column.
    pub figure: &'static str,
    pub bound: Bound,
}

/// The bound of a goal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What became of a goal.
#[derive(Debug, PartialEq, Serialize)]
pub struct GoalResult {
    pub figure: &'static str,
    pub bound: Bound,
    /// By the median; nothing when nothing may be claimed.
    pub reached: Option<bool>,
}

/// The servers under one load.
#[derive(Debug, Serialize)]
pub struct EventResult {
    pub title: String,
    pub entrants: Vec<EntrantResult>,
    pub ratios: Vec<Ratio>,
}

/// One server under one load.
#[derive(Debug, Serialize)]
pub struct EntrantResult {
    pub name: String,
    pub peer: bool,
    /// One for each column, in order.
    pub figures: Vec<Figure>,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// One of ours over a peer.
#[derive(Debug, Serialize)]
pub struct Ratio {
    pub ours: String,
    pub peer: String,
    /// Of each column of speed or cost: within each round ours over the peer's.
    pub figures: Vec<Figure>,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub goal: Option<GoalResult>,
}

impl EntrantResult {
    /// From the figures of each round, in the order of the columns.
    ///
    /// # Panics
    /// When there is no round.
    pub fn of(columns: &[Column], server: &ServerDescription, rounds: &[Vec<f64>], short: bool) -> Self {
        let figure = |(place, column)| Figure::of(column, rounds.iter().map(|figures| figures[place]).collect());
        let figures = columns.iter().enumerate().map(figure).collect();
        let (name, peer) = (server.name.clone(), server.peer);
        let mut entrant = Self { name, peer, figures, verdict: Verdict::Valid };
        entrant.verdict = Verdict::of(&[&entrant], columns, short);
        entrant
    }

    fn generator_was_the_limit(&self, columns: &[Column]) -> bool {
        let mut figures = columns.iter().zip(&self.figures);
        figures.any(|(column, figure)| column.kind == Kind::Generator && figure.spread.median >= LIMIT_SHARE * 100.0)
    }
}

impl EventResult {
    /// Sets each of ours beside each peer.
    pub fn of(columns: &[Column], title: &str, entrants: Vec<EntrantResult>, goals: &[Goal], short: bool) -> Self {
        let (peers, ours): (Vec<_>, Vec<_>) = entrants.iter().partition(|entrant| entrant.peer);
        let pairs = ours.iter().flat_map(|ours| peers.iter().map(move |peer| (*ours, *peer)));
        let ratios = pairs.map(|(ours, peer)| Ratio::of(columns, ours, peer, goals, short)).collect();
        Self { title: title.to_owned(), entrants, ratios }
    }
}

impl Ratio {
    fn of(columns: &[Column], ours: &EntrantResult, peer: &EntrantResult, goals: &[Goal], short: bool) -> Self {
        let compared = |column: &Column| matches!(column.kind, Kind::Speed | Kind::Cost);
        let both = columns.iter().zip(ours.figures.iter().zip(&peer.figures));
        let figures = both.filter(|(column, _)| compared(column)).map(|(column, (ours, peer))| {
            let rounds = ours.rounds.iter().zip(&peer.rounds).map(|(ours, peer)| ours / peer);
            Figure::of(column, rounds.collect())
        });
        let (figures, verdict) = (figures.collect::<Vec<_>>(), Verdict::of(&[ours, peer], columns, short));
        let goal = goals.iter().find(|goal| goal.ours == ours.name && goal.peer == peer.name);
        let goal = goal.and_then(|goal| goal.judge(columns, &figures, &verdict));
        Self { ours: ours.name.clone(), peer: peer.name.clone(), figures, verdict, goal }
    }
}

impl Goal {
    fn judge(&self, columns: &[Column], ratios: &[Figure], verdict: &Verdict) -> Option<GoalResult> {
        let column = columns.iter().find(|column| column.name == self.figure)?;
        let ratio = ratios.iter().find(|ratio| ratio.name == self.figure)?.spread.median;
        let reached = match self.bound {
            Bound::AtMost(bound) => ratio <= bound,
            Bound::AtLeast(bound) => ratio >= bound,
        };
        let reached = verdict.lets_claim(column.kind).then_some(reached);
        Some(GoalResult { figure: self.figure, bound: self.bound, reached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { name: "rate", title: "op/s", kind: Kind::Speed },
        Column { name: "cpu_us", title: "CPU, us/op", kind: Kind::Cost },
        Column { name: "generator_busy", title: "generator busy, %", kind: Kind::Generator },
    ];

    fn entrant(name: &str, peer: bool, rounds: &[[f64; 3]]) -> EntrantResult {
        let server = ServerDescription { name: name.to_owned(), peer, command: String::new(), version: String::new() };
        EntrantResult::of(&COLUMNS, &server, &rounds.iter().map(|round| round.to_vec()).collect::<Vec<_>>(), false)
    }

    fn goal(figure: &'static str, bound: Bound) -> Goal {
        Goal { ours: "ours".to_owned(), peer: "peer".to_owned(), figure, bound }
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of(&[7.0]), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn ratios_are_made_within_each_round() {
        let peer = entrant("peer", true, &[[100.0, 4.0, 50.0], [200.0, 4.0, 50.0], [400.0, 4.0, 50.0]]);
        let ours = entrant("ours", false, &[[150.0, 1.0, 50.0], [300.0, 2.0, 50.0], [800.0, 3.0, 50.0]]);
        let goals = [goal("cpu_us", Bound::AtMost(0.5))];
        let event = EventResult::of(&COLUMNS, "get", vec![peer, ours], &goals, false);
        let [ratio] = &event.ratios[..] else { panic!("{event:?}") };
        assert_eq!((ratio.ours.as_str(), ratio.peer.as_str(), &ratio.verdict), ("ours", "peer", &Verdict::Valid));
        assert_eq!(ratio.figures.len(), 2, "how busy the generator was is no ratio");
        assert_eq!(ratio.figures[0].rounds, [1.5, 1.5, 2.0]);
        assert_eq!(ratio.figures[1].spread, Spread { median: 0.5, min: 0.25, max: 0.75 });
        assert_eq!(ratio.goal.as_ref().and_then(|goal| goal.reached), Some(true));
    }

    #[test]
    fn each_of_ours_is_set_beside_each_peer() {
        let round = [[1.0, 1.0, 1.0]];
        let entrants = vec![
            entrant("etcd", true, &round),
            entrant("redis", true, &round),
            entrant("log", false, &round),
            entrant("no log", false, &round),
        ];
        let event = EventResult::of(&COLUMNS, "set", entrants, &[], false);
        let pairs = event.ratios.iter().map(|ratio| format!("{}/{}", ratio.ours, ratio.peer)).collect::<Vec<_>>();
        assert_eq!(pairs, ["log/etcd", "log/redis", "no log/etcd", "no log/redis"]);
    }

    #[test]
    fn a_busy_generator_takes_the_claims_of_speed_and_leaves_those_of_cost() {
        let peer = entrant("peer", true, &[[1.0, 2.0, 50.0]; 3]);
        let ours = entrant("ours", false, &[[9.0, 1.0, 94.0], [9.0, 1.0, 96.0], [9.0, 1.0, 99.0]]);
        assert_eq!(peer.verdict, Verdict::Valid);
        let limit = Verdict::GeneratorWasTheLimit { servers: vec!["ours".to_owned()] };
        assert_eq!(ours.verdict, limit, "by the median");
        let figures = Ratio::of(&COLUMNS, &ours, &peer, &[], false);
        assert_eq!(figures.verdict, limit);
        for (figure, bound, reached) in [
            ("rate", Bound::AtLeast(2.0), None),
            ("cpu_us", Bound::AtMost(0.6), Some(true)),
            ("cpu_us", Bound::AtMost(0.4), Some(false)),
        ] {
            let ratio = Ratio::of(&COLUMNS, &ours, &peer, &[goal(figure, bound)], false);
            assert_eq!(ratio.goal, Some(GoalResult { figure, bound, reached }));
        }
        let idle = entrant("ours", false, &[[9.0, 1.0, 94.0]; 3]);
        assert_eq!(idle.verdict, Verdict::Valid);
    }

    #[test]
    fn what_was_short_claims_nothing() {
        let (peer, ours) = (entrant("peer", true, &[[1.0; 3]]), entrant("ours", false, &[[1.0; 3]]));
        let ratio = Ratio::of(&COLUMNS, &ours, &peer, &[goal("cpu_us", Bound::AtMost(9.0))], true);
        assert_eq!(ratio.verdict, Verdict::TooShort);
        assert_eq!(ratio.goal.and_then(|goal| goal.reached), None);
        assert!([Kind::Speed, Kind::Cost].into_iter().all(|kind| !Verdict::TooShort.lets_claim(kind)));
    }
}
