//! The bounded scopes: nothing is ever found, and the numbers of states do not depend on the order of the search.

use crate::scope::{Fault, Scope, Start};
use crate::scopes;
use crate::search::{Figures, Order, Search};
use crate::story;

fn explore(scope: Scope, order: Order) -> Figures {
    match Search::new(scope, order).and_then(Search::run) {
        Ok(figures) => figures,
        Err(found) => panic!("{scope:?}\n{}", story::tell(scope, &found)),
    }
}

#[test]
fn no_course_of_events_breaks_a_promise() {
    let mut states = 0;
    for scope in scopes::bounded() {
        let figures = explore(scope, Order::Depth);
        println!("{scope}: {figures}");
        assert!(figures.steps >= figures.states && !figures.cut_short);
        states += figures.states;
    }
    println!("{states} states");
    assert!(states > 500_000, "the scopes have become small");
}

#[test]
fn both_orders_see_the_same_states() {
    let one = Scope { writes: 1, slow_logs: false, slow_records: false, ..Scope::new(Start::Three, Fault::Isolate(3)) };
    let (breadth, depth) = (explore(one, Order::Breadth), explore(one, Order::Depth));
    assert_eq!((breadth.states, breadth.steps, breadth.ends), (depth.states, depth.steps, depth.ends));
    assert!(breadth.depth <= depth.depth, "the nearest first");
}

#[test]
fn elections_shrinks_and_joins_are_among_what_is_seen() {
    let slow =
        Scope { writes: 1, slow_logs: false, slow_records: false, ..Scope::new(Start::Three, Fault::Isolate(1)) };
    let none = |scope: Scope| explore(scope, Order::Depth).epochs;
    assert_eq!(none(slow), 2, "an election by silence");
    assert_eq!(none(Scope { fault: Fault::Isolate(3), ..slow }), 2, "a shrink");
    assert_eq!(none(Scope { start: Start::CaughtUp, fault: Fault::None, time: 1, ..slow }), 2, "a join");
    assert_eq!(none(Scope { fault: Fault::None, ..slow }), 1, "nothing happens and nothing changes");
}

#[test]
fn no_scope_is_looked_at_twice() {
    for scopes in [scopes::bounded(), scopes::full()] {
        let names: std::collections::BTreeSet<String> = scopes.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), scopes.len());
    }
}
