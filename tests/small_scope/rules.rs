//! Rules switched off one by one: the search finds for each a shortest course of events that breaks a promise, and prints it.

use ringstore::cluster::Rule;

use crate::scope::{Fault, Scope, Start};
use crate::search::{Order, Search};
use crate::story;

/// One write, disks that take no time: enough for each of these.
fn small(fault: Fault) -> Scope {
    Scope { writes: 1, slow_logs: false, slow_records: false, ..Scope::new(Start::Three, fault) }
}

/// The story that shows that `rule` is needed in `scope`, after it was seen that with the rule there is none.
fn must_be_found(rule: Rule, scope: Scope, what: &str) {
    let scope = Scope { rules: scope.rules.without(rule), ..scope };
    let found = Search::new(scope, Order::Breadth).and_then(Search::run).expect_err("the rule can be left out");
    let told = story::tell(scope, &found);
    println!("without {rule:?}, after {} steps:\n{told}", found.steps.len());
    assert!(told.contains(what), "another promise is broken: {}", found.violation);
    if rule != Rule::R13 {
        assert!(told.contains("<--"), "the story ends where the promise is broken");
    }
}

macro_rules! needed {
    ($name:ident, $rule:ident, $scope:expr, $what:literal) => {
        #[test]
        fn $name() {
            must_be_found(Rule::$rule, $scope, $what);
        }
    };
}

needed!(
    a_leader_comes_from_the_members,
    R3,
    Scope { start: Start::Registered, lost: 1, time: 1, ..small(Fault::Death(1)) },
    "lacks"
);
needed!(lower_epochs_are_dropped, R7, Scope { time: 1, ..small(Fault::Death(1)) }, "contradicts itself");
needed!(all_members_ack, R8All, small(Fault::Isolate(3)), "lacks");
needed!(a_shrink_counts_when_confirmed, R8Confirmed, small(Fault::Isolate(3)), "lacks");
needed!(newcomers_ack, R9Acks, Scope { start: Start::CaughtUp, time: 1, ..small(Fault::None) }, "lacks");
needed!(a_new_leader_keeps_its_log, R12Keeps, Scope { time: 0, ..small(Fault::Death(1)) }, "lacks");
needed!(a_follower_keeps_its_log, R13, small(Fault::None), "lacks");
needed!(
    a_learner_catches_up,
    R15CaughtUp,
    Scope { start: Start::Registered, phases: true, time: 1, ..small(Fault::None) },
    "lacks"
);
needed!(followers_promise, R16, small(Fault::Isolate(1)), "a stale read at server 1");
needed!(a_leader_reads_on_promises, R17, small(Fault::Isolate(1)), "a stale read at server 1");
needed!(a_leader_promises, R18, Scope { lease: 3, ..small(Fault::Isolate(3)) }, "a stale read at server 3");
needed!(
    a_lease_counts_from_the_own_time,
    R19,
    Scope { lost: 1, ..small(Fault::Isolate(3)) },
    "a stale read at server 3"
);
needed!(leases_are_waited_out, R20Waits, Scope { lease: 3, ..small(Fault::Isolate(3)) }, "a stale read at server 3");
needed!(keys_are_locked, R24Locks, Scope { time: 0, ..small(Fault::None) }, "a stale read at server 2");
needed!(silence_proves_nothing, R25, small(Fault::Isolate(1)), "a stale read at server 1");
