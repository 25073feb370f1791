//! The cases: what is done to the cluster, and which times of its clients are looked at.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use rustix::process::{Signal, kill_process};

use super::clients::{Client, Clients, Habit};
use super::report::{Figure, Goal};
use crate::cluster::Cluster;
use crate::failure::Failure;

/// Light load: one client at each server sets, and waits this long after each answer.
const LOAD: Habit = Habit::Set { think: Duration::from_millis(4) };
/// Of these every gap counts: they set one after another.
const STEADY: Habit = Habit::Set { think: Duration::ZERO };
/// Clients of the leader that wait for the end of their connection.
const LISTENERS: usize = 8;
/// Time the clients work before anything happens. A server that was told of its configuration less than three times the
/// length of a promise (765 ms) ago waits one out when it begins to lead, for somebody may have been left out just then.
const BEFORE: Duration = Duration::from_millis(1000);
/// Time in which gaps are looked for: longer than every time-out between servers.
const AFTER: Duration = Duration::from_millis(700);
/// What has not come after this time does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// kill -9 of the leader
    KillLeader,
    /// kill -9 of the leader and of the process that tells others of its death
    KillLeaderAndGuardian,
    /// SIGSTOP of the leader: nobody can prove its death
    StopLeader,
    /// SIGTERM of the leader, which hands over
    EndLeader,
    /// kill -9 of a follower
    KillFollower,
    /// kill -9 of the load balancer
    KillBalancer,
}

/// What was measured in one run, in the order of the case's figures.
pub struct Finding {
    pub times: Vec<Duration>,
    /// Sets that failed at servers that nothing was done to.
    pub failed: usize,
}

const MS: f64 = 1.0;
const FIRST_SET: &str = "first set through a survivor";
const EVERY_SURVIVOR: &str = "first set through each survivor (the later)";
const SURVIVOR_GAP: &str = "longest gap at a survivor";
const LAST_TOLD: &str = "its own clients see the end (the last of 8)";

impl Case {
    pub fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// What is done, in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill -9 of the leader",
            Self::KillLeaderAndGuardian => "kill -9 of the leader and its guardian",
            Self::StopLeader => "SIGSTOP of the leader",
            Self::EndLeader => "SIGTERM of the leader",
            Self::KillFollower => "kill -9 of a follower",
            Self::KillBalancer => "kill -9 of the load balancer",
        }
    }

    /// What is measured in it.
    pub fn figures(self) -> Vec<Figure> {
        let figure = |title, goals: &[Goal]| Figure { title, goals: goals.to_vec() };
        let p50 = |ms| Goal { quantile: 0.5, at_most_ms: ms };
        let p99 = |ms| Goal { quantile: 0.99, at_most_ms: ms };
        match self {
            Self::KillLeader => vec![
                figure(FIRST_SET, &[p50(5.0 * MS), p99(40.0 * MS)]),
                figure(EVERY_SURVIVOR, &[]),
                figure(SURVIVOR_GAP, &[]),
                figure(LAST_TOLD, &[p50(2.0 * MS)]),
            ],
            Self::KillLeaderAndGuardian => {
                vec![figure(FIRST_SET, &[p99(150.0 * MS)]), figure(EVERY_SURVIVOR, &[]), figure(SURVIVOR_GAP, &[])]
            }
            Self::StopLeader => {
                vec![figure(FIRST_SET, &[p99(150.0 * MS)]), figure(EVERY_SURVIVOR, &[]), figure(SURVIVOR_GAP, &[])]
            }
            Self::EndLeader => vec![
                figure(SURVIVOR_GAP, &[p99(10.0 * MS)]),
                figure("longest gap of its own clients, which go to another server", &[p99(10.0 * MS)]),
            ],
            Self::KillFollower => vec![figure("longest gap at a survivor", &[p99(50.0 * MS)])],
            Self::KillBalancer => vec![figure("longest gap at a server", &[])],
        }
    }

    /// Does it once, and brings the cluster back.
    pub fn run(self, cluster: &mut Cluster) -> Result<Finding, Failure> {
        let leader = cluster.until_whole()?;
        match self {
            Self::KillLeader | Self::KillLeaderAndGuardian | Self::StopLeader => self.lose_leader(cluster, leader),
            Self::EndLeader => end_leader(cluster, leader),
            Self::KillFollower => kill_follower(cluster, leader),
            Self::KillBalancer => kill_balancer(cluster),
        }
    }

    fn lose_leader(self, cluster: &mut Cluster, leader: usize) -> Result<Finding, Failure> {
        let mut clients = load(cluster, LOAD)?;
        for server in survivors(cluster, leader) {
            clients.add(server, Habit::SetWhenTold, false)?;
        }
        let listeners = if self == Self::KillLeader { LISTENERS } else { 0 };
        for _ in 0..listeners {
            clients.add(leader, Habit::Listen, false)?;
        }
        let guardian = cluster.servers[leader].guardian()?;
        clients.work_for(BEFORE)?;
        let lost = Instant::now();
        match self {
            Self::StopLeader => cluster.servers[leader].signal(Signal::STOP)?,
            Self::KillLeaderAndGuardian => {
                kill_process(guardian, Signal::KILL).map_err(|error| Failure::new(error.to_string()))?;
                cluster.servers[leader].signal(Signal::KILL)?;
            }
            _ => cluster.servers[leader].signal(Signal::KILL)?,
        }
        clients.tell();
        let is_back = |client: &Client| match client.habit {
            Habit::SetWhenTold => client.first_sent_after(lost).is_some(),
            Habit::Set { .. } => client.server == leader || client.first_sent_after(lost).is_some(),
            Habit::Listen => client.ended.is_some(),
        };
        let back = clients.work_until(PATIENCE, |all| all.iter().all(is_back))?;
        if self == Self::StopLeader {
            cluster.servers[leader].signal(Signal::CONT)?;
        } else {
            cluster.servers[leader].wait()?;
        }
        if !back {
            let said = cluster.said();
            return Err(Failure::new(format!("{}: no set succeeds after {PATIENCE:?}\n{said}", self.name())));
        }
        if self != Self::StopLeader {
            cluster.servers[leader].start()?;
        }
        let told = clients.all.iter().filter(|client| client.habit == Habit::SetWhenTold);
        let firsts = told.filter_map(|client| client.first_sent_after(lost)).map(|first| first - lost);
        let (first, later) = (firsts.clone().min().unwrap_or_default(), firsts.max().unwrap_or_default());
        let mut times = vec![first, later, longest_gap(&clients, lost, |client| client.server != leader)];
        if self == Self::KillLeader {
            let ends = clients.all.iter().filter(|client| client.habit == Habit::Listen);
            times.push(ends.filter_map(|client| client.ended).max().map_or(PATIENCE, |last| last - lost));
        }
        Ok(Finding { times, failed: failed(&clients, |client| client.server != leader) })
    }
}

fn end_leader(cluster: &mut Cluster, leader: usize) -> Result<Finding, Failure> {
    let mut clients = load(cluster, STEADY)?;
    clients.work_for(BEFORE)?;
    let told = Instant::now();
    cluster.servers[leader].signal(Signal::TERM)?;
    clients.work_for(AFTER)?;
    cluster.servers[leader].wait()?;
    cluster.servers[leader].start()?;
    let gap = |own: bool| longest_gap(&clients, told, |client| (client.server == leader) == own);
    Ok(Finding { times: vec![gap(false), gap(true)], failed: failed(&clients, |_| true) })
}

fn kill_follower(cluster: &mut Cluster, leader: usize) -> Result<Finding, Failure> {
    let follower = survivors(cluster, leader)[0];
    let mut clients = load(cluster, STEADY)?;
    clients.work_for(BEFORE)?;
    let killed = Instant::now();
    cluster.servers[follower].signal(Signal::KILL)?;
    clients.work_for(AFTER)?;
    cluster.servers[follower].wait()?;
    cluster.servers[follower].start()?;
    let gap = longest_gap(&clients, killed, |client| client.server != follower);
    Ok(Finding { times: vec![gap], failed: failed(&clients, |client| client.server != follower) })
}

fn kill_balancer(cluster: &mut Cluster) -> Result<Finding, Failure> {
    let mut clients = load(cluster, STEADY)?;
    clients.work_for(BEFORE)?;
    let killed = Instant::now();
    cluster.balancer.signal(Signal::KILL)?;
    clients.work_for(AFTER)?;
    cluster.balancer.wait()?;
    cluster.balancer.start()?;
    let ended = clients.all.iter().filter(|client| client.ended.is_some()).count();
    let gap = longest_gap(&clients, killed, |_| true);
    Ok(Finding { times: vec![gap], failed: ended + failed(&clients, |_| true) })
}

/// A client with this habit at each server.
fn load(cluster: &Cluster, habit: Habit) -> Result<Clients, Failure> {
    let mut clients = Clients::new(cluster.addresses());
    for server in 0..cluster.servers.len() {
        clients.add(server, habit, true)?;
    }
    Ok(clients)
}

fn survivors(cluster: &Cluster, lost: usize) -> Vec<usize> {
    (0..cluster.servers.len()).filter(|&server| server != lost).collect()
}

/// The longest time without an acknowledged set of any of these clients; one that got no further counts with the longest time
/// that anything is waited for.
fn longest_gap(clients: &Clients, since: Instant, of: impl Fn(&Client) -> bool) -> Duration {
    let setting = clients.all.iter().filter(|client| matches!(client.habit, Habit::Set { .. }) && of(client));
    setting.map(|client| client.longest_gap(since).unwrap_or(PATIENCE)).max().unwrap_or_default()
}

/// Sets of these clients that were refused.
fn failed(clients: &Clients, of: impl Fn(&Client) -> bool) -> usize {
    clients.all.iter().filter(|client| of(client)).map(|client| client.refused.len()).sum()
}
