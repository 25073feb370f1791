//! Who leads a cluster while a load runs: asks its load balancer again and again, on a thread of its own, and remembers
//! when the answer changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringstore::control::roster::{BalancerAt, Part};

use crate::recording::Mark;

/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(100);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What was heard of leaders, with the moments.
type Heard = Arc<Mutex<Vec<(Instant, String)>>>;

/// Watches a load balancer until it is dropped.
pub struct LeaderWatch {
    heard: Heard,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LeaderWatch {
    /// Of the load balancer of this name.
    pub fn start(name: String) -> Self {
        let (heard, stop) = (Heard::default(), Arc::new(AtomicBool::new(false)));
        let (told, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = std::thread::spawn(move || tokio_uring::start(watch(name, told, stopped)));
        Self { heard, stop, thread: Some(thread) }
    }

    /// Who leads, as far as is known.
    pub fn leader(&self) -> Option<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(_, leader)| leader.clone())
    }

    /// The changes of leader after `began`.
    pub fn marks(&self, began: Instant) -> Vec<Mark> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = heard.iter().skip(1).filter(|(at, _)| *at >= began);
        changes.map(|(at, leader)| Mark { at: *at - began, label: format!("{leader} leads") }).collect()
    }
}

impl Drop for LeaderWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // it ends within one answer; a panic in it was printed
            let _ = thread.join();
        }
    }
}

async fn watch(name: String, heard: Heard, stop: Arc<AtomicBool>) {
    let balancer = BalancerAt { name, timeout: TIMEOUT };
    while !stop.load(Ordering::Relaxed) {
        // while it cannot be reached the last word stands
        if let Ok(roster) = balancer.roster().await
            && let Some(leader) = roster.servers.iter().find(|server| server.part == Part::Leader)
        {
            let leader = leader.contact.clients.to_string();
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.last().is_none_or(|(_, last)| *last != leader) {
                heard.push((Instant::now(), leader));
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}
