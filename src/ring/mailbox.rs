//! How ring threads hand each other writes and answers: a locked list per thread, and a call by MSG_RING when it was
//! empty. One lock per turn and thread, not per operation.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::writes::{Answer, Origin, OwnedWrite};

/// What others have put into a thread's mailbox.
#[derive(Default)]
pub struct Mail {
    /// Writes for thread 0.
    pub forwards: Vec<OwnedWrite>,
    /// Answers to this thread's writes.
    pub answers: Vec<Answer>,
    /// Writes of this thread of which nobody knows what became.
    pub unknown: Vec<Origin>,
    /// For thread 0: tickets of threads that ask whether they may read.
    pub asks: Vec<u64>,
    /// The answer to this thread's question.
    pub may_read: Option<bool>,
    /// Keys were unlocked.
    pub unlocked: bool,
}

#[derive(Default)]
struct Mailbox {
    mail: Mutex<Mail>,
    /// Set while the owner has been called and has not looked yet.
    called: AtomicBool,
    ring: OnceLock<RawFd>,
}

/// All threads' mailboxes, and the server's end.
pub struct Mailboxes {
    boxes: Vec<Mailbox>,
    stopping: AtomicBool,
    /// In a cluster, before it stops: another server is to lead.
    resigning: AtomicBool,
    /// This server does not lead.
    resigned: AtomicBool,
    /// Threads but the first that still serve connections.
    serving: AtomicU32,
}

impl Mailboxes {
    /// Mailboxes for `threads` threads.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            boxes: (0..threads).map(|_| Mailbox::default()).collect(),
            stopping: AtomicBool::new(false),
            resigning: AtomicBool::new(false),
            resigned: AtomicBool::new(false),
            serving: AtomicU32::new(threads as u32 - 1),
        }
    }

    /// A thread can be called from now on.
    pub fn register(&self, thread: usize, ring: RawFd) {
        assert!(self.boxes[thread].ring.set(ring).is_ok(), "a thread registers once");
    }

    /// The ring to call so that `thread` looks into its mailbox, unless it was called already. One that has no ring yet
    /// looks by itself when it has.
    #[must_use]
    pub fn to_call(&self, thread: usize) -> Option<RawFd> {
        let mailbox = &self.boxes[thread];
        let ring = *mailbox.ring.get()?;
        (!mailbox.called.swap(true, Ordering::AcqRel)).then_some(ring)
    }

    /// Adds to a mailbox.
    pub fn put(&self, thread: usize, put: impl FnOnce(&mut Mail)) {
        put(&mut lock(&self.boxes[thread].mail));
    }

    /// Empties a mailbox into `mail`, which is empty.
    pub fn take(&self, thread: usize, mail: &mut Mail) {
        let mailbox = &self.boxes[thread];
        // whoever puts after this swap calls again; what was put before the call that it takes back is seen by the lock
        mailbox.called.swap(false, Ordering::AcqRel);
        std::mem::swap(&mut *lock(&mailbox.mail), mail);
    }

    /// A thread could not be called; the next one who puts tries again, and the thread looks at its next tick.
    pub fn call_failed(&self, thread: usize) {
        self.boxes[thread].called.store(false, Ordering::Release);
    }

    /// Another server is to lead, if this one does.
    pub fn resign(&self) {
        self.resigning.store(true, Ordering::Release);
    }

    /// Whether another is to lead.
    #[must_use]
    pub fn resigning(&self) -> bool {
        self.resigning.load(Ordering::Acquire)
    }

    /// Thread 0: this server does not lead.
    pub fn on_resigned(&self) {
        self.resigned.store(true, Ordering::Release);
    }

    /// Whether that was said.
    #[must_use]
    pub fn has_resigned(&self) -> bool {
        self.resigned.load(Ordering::Acquire)
    }

    /// The server stops.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the server stops.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A thread but the first has served all its connections.
    pub fn served(&self) {
        self.serving.fetch_sub(1, Ordering::AcqRel);
    }

    /// Threads but the first that may still send writes.
    #[must_use]
    pub fn serving(&self) -> u32 {
        self.serving.load(Ordering::Acquire)
    }
}

fn lock(mail: &Mutex<Mail>) -> MutexGuard<'_, Mail> {
    mail.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_called_once_until_it_looks() {
        let boxes = Mailboxes::new(2);
        assert_eq!(boxes.to_call(1), None, "it has no ring yet");
        boxes.register(1, 7);
        assert_eq!(boxes.to_call(1), Some(7), "not having been called before does not count as a call");
        assert_eq!(boxes.to_call(1), None);
        boxes.take(1, &mut Mail::default());
        assert_eq!(boxes.to_call(1), Some(7));
        boxes.call_failed(1);
        assert_eq!(boxes.to_call(1), Some(7));
    }
}
