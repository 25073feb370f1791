//! The scopes that are looked at: small ones by `cargo test`, all of them by the example `explore`.

use crate::scope::{Fault, Scope, Start};

/// Everyone who can fail in a way of its own. Servers 2 and 3 begin alike, so what happens to 3 happens to 2 by other names.
const FAULTS: [Fault; 22] = [
    Fault::None,
    Fault::Death(1),
    Fault::Death(3),
    Fault::Crash(1),
    Fault::Crash(3),
    Fault::CoordinatorCrash,
    Fault::Isolate(1),
    Fault::Isolate(3),
    Fault::Isolate(0),
    Fault::FromServers(1),
    Fault::FromServers(3),
    Fault::Mute(1),
    Fault::Mute(3),
    Fault::Deaf(1),
    Fault::Deaf(3),
    Fault::Apart(2, 3),
    Fault::Apart(0, 1),
    Fault::OneWay(0, 1),
    Fault::OneWay(1, 0),
    Fault::OneWay(3, 1),
    Fault::Split(0, 3),
    Fault::Split(0, 1),
];

/// What `cargo test` looks at: each fault once, with one write or instant disks.
#[must_use]
pub fn bounded() -> Vec<Scope> {
    let quick = |fault: Fault| {
        let scope = Scope { writes: 1, slow_logs: false, slow_records: false, ..Scope::new(Start::Three, fault) };
        match fault {
            Fault::Crash(_) => Scope { time: 0, ..scope },
            Fault::Death(_) => Scope { time: 1, ..scope },
            _ => scope,
        }
    };
    let mut scopes: Vec<Scope> = FAULTS.into_iter().map(quick).collect();
    let joins = Scope { time: 1, ..quick(Fault::None) };
    scopes.push(Scope { start: Start::CaughtUp, ..joins });
    scopes.push(Scope { start: Start::Registered, time: 2, ..joins });
    scopes.push(Scope { forwards: true, time: 0, ..quick(Fault::Death(1)) });
    scopes.push(Scope { resigns: true, time: 0, ..joins });
    scopes.push(Scope { lost: 1, doubled: 1, time: 1, ..joins });
    // two writes, and disks that take their time
    scopes.push(Scope { time: 1, ..Scope::new(Start::Three, Fault::None) });
    scopes
}

/// Everything: two writes, disks that take any time, time enough for a promise to end.
#[must_use]
pub fn full() -> Vec<Scope> {
    let mut scopes = Vec::new();
    for fault in FAULTS {
        let whole = Scope::new(Start::Three, fault);
        let instant = Scope { slow_logs: false, slow_records: false, ..whole };
        match fault {
            Fault::Crash(_) => {
                scopes.push(Scope { time: 0, writes: 1, ..whole });
                scopes.push(Scope { time: 0, ..instant });
                scopes.push(Scope { time: 1, writes: 1, ..instant });
            }
            Fault::Death(_) | Fault::CoordinatorCrash => {
                scopes.push(Scope { time: 1, writes: 1, ..whole });
                scopes.push(Scope { time: 1, ..instant });
            }
            _ => scopes.push(whole),
        }
    }
    for fault in [Fault::None, Fault::Isolate(1), Fault::Isolate(3), Fault::Apart(1, 3), Fault::Split(0, 3)] {
        let instant = Scope { slow_logs: false, slow_records: false, ..Scope::new(Start::Three, fault) };
        let one = Scope { writes: 1, ..instant };
        // long leases: who is silent is left out while it may read
        scopes.push(Scope { lease: 3, time: 4, ..one });
        scopes.push(Scope { heals: true, ..one });
        scopes.push(Scope { lost: 1, ..one });
        scopes.push(Scope { doubled: 1, ..one });
        scopes.push(Scope { forwards: true, ..one });
        scopes.push(Scope { phases: true, time: 2, ..one });
        scopes.push(Scope { changes: 2, ..one });
        scopes.push(Scope { resigns: true, time: 1, ..one });
    }
    for start in [Start::CaughtUp, Start::Registered] {
        let time = if start == Start::CaughtUp { 1 } else { 2 };
        for fault in
            [Fault::None, Fault::Isolate(1), Fault::Isolate(3), Fault::Apart(1, 3), Fault::Death(1), Fault::Death(3)]
        {
            let scope = Scope { time, ..Scope::new(start, fault) };
            scopes.push(Scope { writes: 1, slow_logs: false, slow_records: false, ..scope });
        }
        scopes.push(Scope { time, slow_logs: false, slow_records: false, ..Scope::new(start, Fault::None) });
    }
    scopes
}
