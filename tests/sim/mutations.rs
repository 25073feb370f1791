//! Each rule is switched off in turn, and the simulator must notice within a stated number of seeds. `mutants` has the plans.

use ringstore::cluster::{Rule, Rules};

use crate::mutants::{FIRST, Mutant, mutant};
use crate::runs::run;

/// The first seed that notices that `rules` are all that hold, counted from 1, and what it noticed.
fn caught(mutant: &Mutant, rules: Rules, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|at| {
        let seed = FIRST + at;
        let violation = run(seed, rules, mutant.plan(seed), false).err()?;
        Some((at + 1, violation))
    })
}

fn must_be_caught(rule: Rule) {
    let mutant = mutant(rule);
    match caught(&mutant, mutant.rules(), mutant.seeds) {
        Some((at, violation)) => {
            println!("without {rule:?}: seed {at}: {}", violation.lines().next().unwrap_or_default());
        }
        None => panic!("{rule:?} can be left out and {} seeds notice nothing", mutant.seeds),
    }
}

macro_rules! mutations {
    ($($name:ident: $rule:ident;)*) => {
        $(#[test]
        fn $name() {
            must_be_caught(Rule::$rule);
        })*

        #[test]
        fn no_rule_is_left_out() {
            assert_eq!([$(Rule::$rule),*], Rule::ALL);
        }
    };
}

mutations! {
    r2_only_members_change_the_configuration: R2;
    r3_a_new_leader_comes_from_the_members: R3;
    r7_old_epochs_count_for_nothing: R7;
    r8_all_acks_are_needed: R8All;
    r8_a_shrink_counts_when_it_is_confirmed: R8Confirmed;
    r9_new_members_acks_are_needed: R9Acks;
    r9_new_members_promises_are_needed: R9Lease;
    r12_the_new_leader_keeps_its_log: R12Keeps;
    r12_the_new_leader_waits: R12Waits;
    r13_a_follower_cuts_only_what_differs: R13;
    r15_a_learner_has_caught_up: R15CaughtUp;
    r15_a_new_member_reads_when_it_was_admitted: R15Reads;
    r16_a_follower_promises: R16;
    r17_a_leader_reads_under_promises: R17;
    r18_a_leader_promises: R18;
    r19_a_lease_counts_from_what_was_sent: R19;
    r20_only_who_holds_a_lease_renews_others: R20Renews;
    r20_leases_are_waited_out: R20Waits;
    r21_a_promise_outlasts_a_lease: R21;
    r22_who_restarts_has_promised: R22;
    r23_a_deaf_leader_falls_silent: R23;
    r24_keys_are_locked: R24Locks;
    r24_the_clock_comes_last: R24Order;
    r25_silence_proves_nothing: R25;
    d1_a_damaged_log_is_compared: D1;
    c1_what_is_in_the_log_is_not_sent_again: C1;
}

/// R22's runs are noticed because of R22, not because of the rule that is in its way and switched off with it.
#[test]
fn r22_is_what_its_pair_is_caught_for() {
    let mutant = mutant(Rule::R22);
    let only = Rules::ALL.without(Rule::R20Waits);
    if let Some((at, violation)) = caught(&mutant, only, mutant.seeds) {
        panic!("seed {at}: {violation}");
    }
}
