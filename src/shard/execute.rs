//! Executes a batch, in order: lookups straight from the store, writes through the write path.

use super::feed::{Ask, Batch, Op};
use super::{Path, Shard, Write};
use crate::conn::{Blocked, ConnId};
use crate::proto::reply;
use crate::stats::{Counted, Counter};
use crate::time::Time;
use crate::writes::{Origin, OwnedWrite};

impl Shard {
    /// Executes and empties the batch. The buckets were prefetched while parsing; the items are here, all before the
    /// first is read, so that their cache misses overlap.
    pub(super) fn execute(&mut self, now: Time, batch: &mut Batch<'_>) {
        if let Some(reads) = &mut self.reads {
            // R24: the deadline comes before all values of the batch
            reads.begin_batch();
        }
        if batch.len() > 1 {
            for op in batch.iter() {
                if !matches!(op.ask, Ask::Admin(_) | Ask::Refuse { .. } | Ask::Close) {
                    self.reader.prefetch_item(op.hash);
                }
            }
        }
        for (at, op) in batch.iter().enumerate() {
            self.execute_one(now, at, op);
        }
        // every value was copied into its reply: nothing of the store is looked at from here
        self.reader.quiesce();
        self.end_reads(batch);
        batch.clear();
    }

    fn execute_one(&mut self, now: Time, at: usize, op: &Op<'_>) {
        let full = matches!(op.ask, Ask::Write { .. }) && self.writes_are_full(now);
        let Some(conn) = self.conns[op.conn.0 as usize].as_mut() else { return };
        conn.batched = false;
        // behind a command that had to wait, or that ended the connection: the input was kept with that one
        if conn.blocked != Blocked::No || conn.closing {
            return;
        }
        let wait = match op.ask {
            Ask::Write { ref write, .. } => {
                let wait = match write {
                    Write::GetAndTouch { .. } => conn.wait_of_get_and_touch(),
                    _ => conn.wait_of_write(),
                };
                if wait == Blocked::No && full { Blocked::Prepared } else { wait }
            }
            // it says nothing, so it need not wait for its turn
            Ask::Refuse { reply: None, .. } => Blocked::No,
            _ => conn.wait_of_read(),
        };
        if wait != Blocked::No {
            return self.block(wait, op);
        }
        match op.ask {
            Ask::Lookup { key, with_cas, last } => self.lookup(now, at, op, key, with_cas, last),
            Ask::Write { ref write, noreply } => self.write(now, op.conn, write, noreply),
            Ask::Admin(ref command) => self.admin(now, op.conn, command),
            Ask::Refuse { reply, swallow } => self.refuse(op.conn, reply, swallow),
            Ask::Close => {
                conn.closing = true;
                self.list(op.conn);
            }
        }
    }

    pub(super) fn block(&mut self, why: Blocked, op: &Op<'_>) {
        let conn = self.conns[op.conn.0 as usize].as_mut().expect("the caller looked");
        conn.block(why, &op.verb.text(), op.rest);
        match why {
            Blocked::Prepared => self.starved.push(op.conn),
            Blocked::Lock => self.wait_for_lock(op.conn, op.hash),
            Blocked::Lease => self.wait_for_lease(op.conn),
            Blocked::No | Blocked::Output | Blocked::Write => {}
        }
        self.list(op.conn);
    }

    #[inline]
    fn lookup(&mut self, now: Time, at: usize, op: &Op<'_>, key: &[u8], with_cas: bool, last: bool) {
        if self.reads.is_some() && !self.may_look_up(now, at, op) {
            return;
        }
        let conn = self.conns[op.conn.0 as usize].as_mut().expect("the caller looked");
        if conn.out.capacity() == 0 {
            conn.out = self.pool.take();
        }
        self.counters.count(Counter::CmdGet);
        let seconds = self.reads.as_ref().map_or_else(|| now.seconds(), |reads| reads.seconds(now));
        let found = self.reader.get(op.hash, key, seconds);
        if self.detailed {
            let what = if found.is_some() { Counted::Hit } else { Counted::Get };
            self.shared.detail.count(key, self.shared.config.prefix_delimiter, what);
        }
        if let Some(item) = found {
            let cas = with_cas.then(|| if self.shared.config.cas { item.cas } else { 0 });
            reply::value(&mut conn.out, key, item.flags, item.value, cas);
            self.counters.count(Counter::GetHits);
        } else {
            self.counters.count(Counter::GetMisses);
        }
        if last {
            reply::end(&mut conn.out);
        }
        if !conn.listed {
            conn.listed = true;
            self.listed.push(op.conn);
        }
    }

    fn write(&mut self, now: Time, id: ConnId, write: &Write<'_>, noreply: bool) {
        if self.detailed {
            self.count_detail(write);
        }
        let conn = self.conns[id.0 as usize].as_mut().expect("the caller looked");
        let (bytes, number) = (write.bytes(), conn.asked);
        let origin = Origin { shard: self.id, conn: id, generation: conn.generation, noreply, bytes, number };
        match &mut self.path {
            Path::Alone(writes) => match writes.submit(now, write, origin, &self.shared, &mut self.counters) {
                None => conn.count_write(),
                Some(_) if noreply => {}
                Some(answer) => self.reply(id, |out| answer.encode(out)),
            },
            Path::Node(_) => {
                conn.count_write();
                self.submit_to_node(now, write, origin);
            }
            Path::Thread0 => {
                conn.count_write();
                self.forwarded_bytes += bytes as usize;
                self.forwards.push(OwnedWrite::new(origin, write));
            }
        }
    }

    fn count_detail(&self, write: &Write<'_>) {
        let what = match write {
            Write::Store { .. } => Counted::Set,
            Write::Delete { .. } => Counted::Delete,
            Write::GetAndTouch { .. } => Counted::Get,
            _ => return,
        };
        self.shared.detail.count(write.key(), self.shared.config.prefix_delimiter, what);
    }

    fn refuse(&mut self, id: ConnId, text: Option<&'static str>, swallow: u64) {
        if let Some(conn) = self.conns[id.0 as usize].as_mut()
            && swallow > 0
        {
            assert!(conn.pending.is_empty(), "kept input that is to be dropped");
            conn.swallow = swallow;
        }
        if let Some(text) = text {
            self.reply(id, |out| reply::line(out, text));
        }
    }
}
