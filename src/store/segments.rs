//! The arena's segments: which are free, which hold what, which is the best to clear.
//!
//! Owns the numbers about each segment and the lists over them. Never touches an item.
//!
//! ```text
//!   Free --take--> Open --close--> Closed --> Victim --+--retire--> Waiting --all readers passed--> Free
//!   Free --take--> Run (one large item over several segments) --+
//! ```

use std::collections::VecDeque;

use crate::config::SEGMENT_BYTES;

/// No segment.
const NONE: u32 = u32::MAX;

/// Classes by live bytes: 0 is nothing live, the last is more than 63/64 live, or a run.
pub(super) const CLASSES: usize = 65;
/// The class of full segments, and of runs, which are never moved.
pub(super) const FULL: usize = CLASSES - 1;

/// What a segment is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Free,
    /// Items are being added.
    Open,
    Closed,
    /// Being cleared.
    Victim,
    /// The first of a run.
    Run,
    /// The rest of a run.
    Tail,
    /// Cleared; readers may still be in it.
    Waiting,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub state: Use,
    /// Bytes handed out; for a run, of the whole run.
    pub used: u32,
    /// Bytes of items the index leads to and no flush has hidden; invariant: at most `used`.
    pub live: u32,
    /// How many those are.
    pub items: u32,
    /// Items the index leads to; invariant: at least `items`.
    pub linked: u32,
    /// Items reserved and neither published nor discarded: such a segment is not cleared.
    pub pins: u32,
    /// No item here expires before this second.
    pub soonest: u32,
    /// Segments of the run, 1 otherwise.
    pub length: u32,
    /// Counts the segment's lives, so that old list entries are recognised.
    pub life: u32,
    resident: bool,
    listed: bool,
    class: u8,
    previous: u32,
    next: u32,
}

const FRESH: Segment = Segment {
    state: Use::Free,
    used: 0,
    live: 0,
    items: 0,
    linked: 0,
    pins: 0,
    soonest: u32::MAX,
    length: 1,
    life: 0,
    resident: false,
    listed: false,
    class: 0,
    previous: NONE,
    next: NONE,
};

/// All segments.
pub(super) struct Segments {
    /// As far as they were ever used.
    table: Vec<Segment>,
    /// How many the arena has room for.
    max: usize,
    /// No free segment in `table` is below this.
    lowest: usize,
    /// First and last of each class's list, oldest first.
    lists: [(u32, u32); CLASSES],
    /// Closed segments and runs in the order they were closed, with their lives.
    pub order: VecDeque<(u32, u32)>,
    /// Cleared segments and the epoch readers must have passed.
    waiting: VecDeque<(u32, u64)>,
    /// Segments in use, without those that wait.
    pub held: u64,
    /// Segments that wait for readers.
    pub waiting_count: u64,
    /// Segments whose pages were touched.
    pub resident: u64,
}

impl Segments {
    pub fn new(max: usize) -> Self {
        Self {
            table: Vec::new(),
            max,
            lowest: 0,
            lists: [(NONE, NONE); CLASSES],
            order: VecDeque::new(),
            waiting: VecDeque::new(),
            held: 0,
            waiting_count: 0,
            resident: 0,
        }
    }

    pub fn get(&self, segment: usize) -> &Segment {
        &self.table[segment]
    }

    pub fn get_mut(&mut self, segment: usize) -> &mut Segment {
        &mut self.table[segment]
    }

    /// How many there are or were.
    pub const fn len(&self) -> usize {
        self.table.len()
    }

    /// How many there can be.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Takes the lowest `length` free segments in a row.
    pub fn take(&mut self, length: usize, state: Use) -> Option<usize> {
        let first = self.find_free(length)?;
        if self.table.len() < first + length {
            self.table.resize(first + length, FRESH);
        }
        for at in first..first + length {
            let old = self.table[at];
            assert!(old.state == Use::Free, "a segment taken twice");
            self.resident += u64::from(!old.resident);
            self.table[at] = Segment { state: Use::Tail, resident: true, life: old.life.wrapping_add(1), ..FRESH };
        }
        self.table[first].state = state;
        self.table[first].length = length as u32;
        if length == 1 {
            self.lowest = first + 1;
        }
        self.held += length as u64;
        Some(first)
    }

    fn find_free(&mut self, length: usize) -> Option<usize> {
        let mut row = 0;
        for at in self.lowest..self.table.len() {
            row = if self.table[at].state == Use::Free { row + 1 } else { 0 };
            if row == length {
                return Some(at + 1 - length);
            }
        }
        let first = self.table.len() - row;
        (first + length <= self.max).then_some(first)
    }

    /// An open segment, or a fresh run, takes no more items.
    pub fn close(&mut self, segment: usize, ordered: bool) {
        let s = &mut self.table[segment];
        if s.state == Use::Open {
            s.state = Use::Closed;
        }
        if ordered {
            let life = s.life;
            self.push_order(segment, life);
        }
        self.list(segment);
    }

    fn push_order(&mut self, segment: usize, life: u32) {
        self.order.push_back((segment as u32, life));
        if self.order.len() as u64 > 2 * self.held + 64 {
            let table = &self.table;
            self.order.retain(|&(at, life)| table[at as usize].life == life && table[at as usize].is_closed());
        }
    }

    fn class_of(s: &Segment) -> usize {
        match s.state {
            Use::Run if s.live > 0 => FULL,
            _ => (s.live as usize).div_ceil(SEGMENT_BYTES / FULL).min(FULL),
        }
    }

    fn list(&mut self, segment: usize) {
        let class = Self::class_of(&self.table[segment]);
        let (_, last) = self.lists[class];
        let s = &mut self.table[segment];
        assert!(!s.listed, "listed twice");
        (s.listed, s.class, s.previous, s.next) = (true, class as u8, last, NONE);
        match last {
            NONE => self.lists[class].0 = segment as u32,
            last => self.table[last as usize].next = segment as u32,
        }
        self.lists[class].1 = segment as u32;
    }

    /// Takes a segment off its class's list.
    fn unlist(&mut self, segment: usize) {
        let s = &mut self.table[segment];
        if !s.listed {
            return;
        }
        s.listed = false;
        let (class, previous, next) = (s.class as usize, s.previous, s.next);
        match previous {
            NONE => self.lists[class].0 = next,
            at => self.table[at as usize].next = next,
        }
        match next {
            NONE => self.lists[class].1 = previous,
            at => self.table[at as usize].previous = previous,
        }
    }

    /// Brings the lists up to date after a change of `live`.
    #[inline]
    pub fn reclass(&mut self, segment: usize) {
        let s = &self.table[segment];
        if s.listed && Self::class_of(s) != s.class as usize {
            self.unlist(segment);
            self.list(segment);
        }
    }

    /// The segment to clear with the least to move, of class `most` at most.
    pub fn best(&self, most: usize) -> Option<usize> {
        (0..=most).find_map(|class| self.first_unpinned(class))
    }

    /// A segment of this class without reserved items; only the oldest few are looked at.
    pub fn first_unpinned(&self, class: usize) -> Option<usize> {
        let mut at = self.lists[class].0;
        for _ in 0..8 {
            let s = self.table.get(at as usize)?;
            if s.pins == 0 {
                return Some(at as usize);
            }
            at = s.next;
        }
        None
    }

    /// The oldest closed segment or run without reserved items; it goes out of the order.
    pub fn oldest(&mut self) -> Option<usize> {
        for _ in 0..self.order.len() {
            let (at, life) = self.order.pop_front()?;
            let s = &self.table[at as usize];
            if s.life != life || !s.is_closed() {
                continue;
            }
            if s.pins == 0 {
                return Some(at as usize);
            }
            self.order.push_back((at, life));
        }
        None
    }

    /// Begins to clear a closed segment.
    pub fn condemn(&mut self, segment: usize) {
        self.unlist(segment);
        let s = &mut self.table[segment];
        assert!(s.is_closed() && s.pins == 0, "not to be cleared");
        if s.state == Use::Closed {
            s.state = Use::Victim;
        }
    }

    /// Ends the clearing of a segment that kept its items.
    pub fn pardon(&mut self, segment: usize) {
        let s = &mut self.table[segment];
        if s.state == Use::Victim {
            s.state = Use::Closed;
        }
        let life = s.life;
        self.push_order(segment, life);
        self.list(segment);
    }

    /// Nothing leads to this segment any more; readers must pass `epoch`.
    pub fn retire(&mut self, segment: usize, epoch: u64) {
        self.unlist(segment);
        let length = self.table[segment].length as usize;
        for s in &mut self.table[segment..segment + length] {
            assert!(s.linked == 0 && s.pins == 0 && s.live == 0, "retired with items");
            s.state = Use::Waiting;
        }
        self.held -= length as u64;
        self.waiting_count += length as u64;
        self.waiting.push_back((segment as u32, epoch));
    }

    /// Frees what all readers have passed.
    pub fn release(&mut self, passed: u64) {
        while let Some(&(segment, epoch)) = self.waiting.front()
            && epoch <= passed
        {
            self.waiting.pop_front();
            let first = segment as usize;
            let length = self.table[first].length as usize;
            for s in &mut self.table[first..first + length] {
                *s = Segment { resident: true, life: s.life, ..FRESH };
            }
            self.waiting_count -= length as u64;
            self.lowest = self.lowest.min(first);
        }
    }

    /// The highest free segment whose pages are still there; they count as given back.
    pub fn shed(&mut self) -> Option<usize> {
        let at = self.table.iter().rposition(|s| s.state == Use::Free && s.resident)?;
        self.table[at].resident = false;
        self.resident -= 1;
        Some(at)
    }

    /// What must hold between changes.
    pub fn check_invariants(&self) {
        let (mut held, mut waiting, mut resident, mut listed) = (0, 0, 0, 0);
        for s in &self.table {
            held += u64::from(!matches!(s.state, Use::Free | Use::Waiting));
            waiting += u64::from(s.state == Use::Waiting);
            resident += u64::from(s.resident);
            listed += usize::from(s.listed);
            assert!(s.live <= s.used && s.items <= s.linked, "more items than were put here: {s:?}");
            assert!(s.listed || !matches!(s.state, Use::Closed), "a closed segment in no list: {s:?}");
            assert!(!s.listed || Self::class_of(s) == s.class as usize, "in the wrong list: {s:?}");
        }
        assert!((held, waiting, resident) == (self.held, self.waiting_count, self.resident), "segments miscounted");
        let mut walked = 0;
        for (class, &(first, _)) in self.lists.iter().enumerate() {
            let mut at = first;
            while let Some(s) = self.table.get(at as usize) {
                assert!(s.listed && s.class as usize == class, "a list runs into another");
                walked += 1;
                at = s.next;
            }
        }
        assert!(walked == listed, "a listed segment is in no list");
        assert!(self.table.iter().take(self.lowest).all(|s| s.state != Use::Free), "a free segment below the lowest");
    }
}

impl Segment {
    /// Whether it holds items and takes no more.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, Use::Closed | Use::Run)
    }

    /// Whether it may be let go of once nothing leads to it: nobody adds items.
    pub const fn may_retire(&self) -> bool {
        matches!(self.state, Use::Closed | Use::Run | Use::Victim)
    }
}
