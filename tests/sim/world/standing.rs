//! Something that stays wrong while everything else is in order: whoever is not concerned must be served within the same
//! bound as after all faults.

use ringstore::time::Duration;

use super::finish::{LOOK, RECOVERY};
use super::{START, World};
use crate::linear::Op;
use crate::network::Address;
use crate::plan::Standing;

impl World {
    /// Begins when the cluster is whole, ends when the others have come to terms with it.
    pub(super) fn stand(&mut self, standing: Standing) {
        // who was told to stop has ended by then
        self.run_until(self.now.max(START.after(self.plan.faulty)).after(Duration::from_millis(450)));
        while self.coordinator.inbox.is_paused() || self.servers.iter().any(|host| host.inbox.is_paused()) {
            self.run_until(self.now.after(LOOK));
        }
        // a leader that was asked for alone by itself, and is that in the end, nobody could come to terms with
        self.run_until(self.now.after(LOOK));
        self.recover();
        let leader = self.leader_place().expect("a whole cluster has a leader");
        let follower = (1..=self.plan.servers).find(|&place| place != leader).expect("a second server");
        self.figures.standing += 1;
        self.say(0, || format!("*** from now on: {standing:?}"));
        let others: Vec<Address> = (0..=self.plan.servers).filter(|&place| place != leader).collect();
        let victim = match standing {
            Standing::DeafLeader => {
                others.iter().for_each(|&place| self.network.cut(place, leader));
                self.network.cut(leader, 0);
                leader
            }
            Standing::MuteLeader => {
                others.iter().for_each(|&place| self.network.cut(leader, place));
                leader
            }
            Standing::LeaderCutOff => {
                self.network.partition(&[leader], &others);
                leader
            }
            Standing::FollowerCutOff => {
                let others: Vec<Address> = (0..=self.plan.servers).filter(|&place| place != follower).collect();
                self.network.partition(&[follower], &others);
                follower
            }
            Standing::CoordinatorGone => {
                let servers: Vec<Address> = (1..=self.plan.servers).collect();
                self.network.partition(&[0], &servers);
                0
            }
        };
        if standing == Standing::CoordinatorGone {
            // nobody has to notice, so there is nothing to wait for
            self.run_until(self.now.after(Duration::from_millis(1000)));
        } else {
            self.wait_for_the_others(standing, victim);
        }
        self.serve_without(victim);
        self.mend();
        self.recover();
    }

    fn wait_for_the_others(&mut self, standing: Standing, victim: Address) {
        let bound = self.now.after(RECOVERY);
        while !self.is_whole_without(Some(victim)) {
            assert!(self.now < bound, "liveness under {standing:?} of server {victim}:\n{}", self.standing());
            self.run_until(self.now.after(LOOK));
        }
    }

    fn serve_without(&mut self, victim: Address) {
        let left: Vec<Address> = (1..=self.plan.servers).filter(|&place| place != victim).collect();
        for &place in &left {
            if left.len() >= usize::from(self.plan.min_insync) {
                self.must_answer(place, 0, &Op::Set(format!("{place}05{}", self.history.len()).into_bytes()));
            }
            if !self.plan.strict_reads || self.leader_place() == Some(place) {
                self.must_answer(place, 0, &Op::Get);
            }
        }
    }
}
