//! What a demo tells its user. Pure.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::Calls;
use super::child::Ended;
use crate::control::roster::Part;
use crate::control::survey::{Seen, Survey};

fn pid(server: &Seen) -> u64 {
    server.said.as_ref().map_or(0, |said| said.count("pid"))
}

/// Everything runs: what it is, and what to try.
pub fn ready(found: &Survey, lb: &str, balancer_pid: u32, directory: &Path, took: Duration, calls: &Calls) -> String {
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("a string takes all");
    let count = found.servers.len();
    let servers = if count == 1 { "1 server".to_owned() } else { format!("{count} servers") };
    put(format_args!("A cluster of {servers} is ready after {} ms.\n\n", took.as_millis()));
    put(format_args!("  load balancer  {lb:<22} pid {balancer_pid}\n"));
    for server in &found.servers {
        let part = if server.listed.part == Part::Leader { "leader" } else { "follower" };
        put(format_args!("  {part:<13}  {:<22} pid {}\n", server.listed.contact.clients.to_string(), pid(server)));
    }
    let Calls { store, client } = calls;
    let (Some(leader), Some(last)) = (found.servers.first(), found.servers.last()) else { return out };
    let nc = |port| format!("nc 127.0.0.1 {port}");
    let port = last.listed.contact.clients.port();
    put(format_args!(
        "\nTry in another terminal:\n\n  \
         {client} --lb {lb} set greeting 'hello, world'\n  \
         {client} --lb {lb} get greeting\n  \
         printf 'set n 0 0 2\\r\\n41\\r\\nincr n 1\\r\\nget n\\r\\nquit\\r\\n' | {}    # any server takes everything\n  \
         {store} status --lb {lb}\n  \
         kill -9 {}    # the leader: look at the status again, and get again\n  \
         {store} verify --lb {lb}\n\n",
        nc(port),
        pid(leader)
    ));
    put(format_args!(
        "What is killed is started again after 10 s. Logs and data are in {}.\nCtrl-C ends all processes and removes it.\n",
        directory.display()
    ));
    out
}

/// A child ended.
pub fn ended(child: &str, how: Ended, again: Duration, words: &str) -> String {
    match how.exit_code() {
        Some(_) => format!("{child} {how} and stays down: {words}\n"),
        None => format!("{child} {how}; it is started again in {} s.\n", again.as_secs()),
    }
}

/// The cluster serves without it.
pub fn leads(found: &Survey, after: Duration) -> String {
    let Some(leader) = found.servers.first() else { return String::new() };
    let members = found.roster.members().count();
    format!(
        "{} (pid {}) leads {members} members in epoch {}, {} ms after that was seen.\n",
        leader.listed.contact.clients,
        pid(leader),
        found.roster.epoch,
        after.as_millis()
    )
}
