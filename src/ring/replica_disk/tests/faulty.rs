//! A disk in memory for all files of a directory: stops at any operation, runs full, and at a crash forgets what was not synced. Names
//! are forgotten from the newest change on, as journals do; bytes of each file by themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::rc::Rc;

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::io::Errno;

use super::super::{Name, ReplicaStorage};
use crate::log::Position;
use crate::ring::disk::LogStorage;

/// A name in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    Log(u64),
    Named(Name),
}

#[derive(Clone, Default)]
struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

type Directory = BTreeMap<Entry, usize>;

/// The disk; it outlives the storage that a server owns.
#[derive(Clone, Default)]
pub struct Disk {
    files: Vec<Contents>,
    names: Directory,
    /// The directory after each change since it was synced, the synced one first.
    past: Vec<Directory>,
    /// Operations until everything stops.
    pub stop_after: Option<usize>,
    /// Bytes that there is room for.
    pub room: Option<usize>,
    /// Operations so far.
    pub operations: usize,
}

/// A handle on it.
#[derive(Clone, Default)]
pub struct Faulty(pub Rc<RefCell<Disk>>);

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        if self.past.is_empty() {
            self.past.push(Directory::new());
        }
        match &mut self.stop_after {
            Some(0) => return Err(Errno::IO.into()),
            Some(left) => *left -= 1,
            None => {}
        }
        self.operations += 1;
        Ok(())
    }

    fn change(&mut self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.names);
        self.past.push(self.names.clone());
    }

    fn create(&mut self, entry: Entry) -> io::Result<usize> {
        self.operation()?;
        let file = self.files.len();
        self.files.push(Contents::default());
        self.change(|names| {
            names.insert(entry, file);
        });
        Ok(file)
    }

    fn remove(&mut self, entry: Entry) -> io::Result<bool> {
        self.operation()?;
        let there = self.names.contains_key(&entry);
        if there {
            self.change(|names| {
                names.remove(&entry);
            });
        }
        Ok(there)
    }

    fn take_room(&mut self, bytes: usize) -> io::Result<usize> {
        let room = self.room.unwrap_or(usize::MAX);
        if room == 0 && bytes > 0 {
            return Err(Errno::NOSPC.into());
        }
        let taken = bytes.min(room);
        self.room = self.room.map(|room| room - taken);
        Ok(taken)
    }

    /// Power fails.
    pub fn crash(&mut self, rng: &mut StdRng) {
        if !self.past.is_empty() {
            self.names = self.past[rng.random_range(0..self.past.len())].clone();
            self.past = vec![self.names.clone()];
        }
        for file in &mut self.files {
            let kept = match rng.random_range(0..3) {
                0 => file.durable.clone(),
                1 => file.seen.clone(),
                _ => tear(file, rng),
            };
            (file.seen, file.durable) = (kept.clone(), kept);
        }
        self.restart();
    }

    /// What stopped works again.
    pub fn restart(&mut self) {
        (self.stop_after, self.room) = (None, None);
    }

    pub fn names(&self) -> Vec<Entry> {
        self.names.keys().copied().collect()
    }

    /// What a file holds, to look at or to damage.
    pub fn contents(&mut self, entry: Entry) -> Option<&mut Vec<u8>> {
        let file = *self.names.get(&entry)?;
        Some(&mut self.files[file].seen)
    }
}

/// Part of what was added, or written over zeros, is there, some of it as what was there before.
fn tear(file: &Contents, rng: &mut StdRng) -> Vec<u8> {
    let Contents { seen, durable } = file;
    let was_room = |(before, now): (&u8, &u8)| before == now || *before == 0;
    if seen.len() < durable.len() || !durable.iter().zip(seen).all(was_room) {
        return durable.clone();
    }
    let differ = durable.iter().zip(seen).take_while(|(before, now)| before == now).count();
    let mut kept = seen[..rng.random_range(durable.len()..=seen.len())].to_vec();
    if kept.len() > differ {
        let from = rng.random_range(differ..=kept.len());
        let upto = rng.random_range(from..=kept.len());
        for (at, byte) in kept[from..upto].iter_mut().enumerate() {
            *byte = durable.get(from + at).copied().unwrap_or(0);
        }
    }
    kept
}

impl Faulty {
    /// What the shell does with a request to sync: the descriptor is the file's number.
    pub fn fdatasync(&mut self, descriptor: RawFd) -> i32 {
        let done = self.sync(&(descriptor as usize));
        done.map_or_else(|error| -error.raw_os_error().unwrap_or(5), |()| 0)
    }
}

impl LogStorage for Faulty {
    type File = usize;

    fn list(&mut self) -> io::Result<Vec<Position>> {
        let disk = self.0.borrow();
        Ok(disk.names.keys().filter_map(|e| if let Entry::Log(at) = e { Some(Position(*at)) } else { None }).collect())
    }

    fn open(&mut self, name: Position) -> io::Result<(usize, u64)> {
        let disk = self.0.borrow();
        let file = *disk.names.get(&Entry::Log(name.0)).ok_or(Errno::NOENT)?;
        Ok((file, disk.files[file].seen.len() as u64))
    }

    fn create(&mut self, name: Position) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        assert!(!disk.names.contains_key(&Entry::Log(name.0)), "it is there already");
        disk.create(Entry::Log(name.0))
    }

    fn read(&mut self, file: &usize, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let disk = self.0.borrow();
        let bytes = disk.files[*file].seen.get(offset as usize..).unwrap_or_default();
        let taken = bytes.len().min(into.len());
        into[..taken].copy_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn append(&mut self, file: &usize, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        let taken = disk.take_room(bytes.len())?;
        disk.files[*file].seen.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn write_over(&mut self, file: &usize, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        let over = &mut disk.files[*file].seen[offset as usize..][..bytes.len()];
        assert!(over.iter().all(|&byte| byte == 0), "only zeros are written over");
        over.copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn truncate(&mut self, file: &usize, bytes: u64) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        let seen = &mut disk.files[*file].seen;
        let freed = seen.len().saturating_sub(bytes as usize);
        seen.truncate(bytes as usize);
        disk.room = disk.room.map(|room| room + freed);
        Ok(())
    }

    fn sync(&mut self, file: &usize) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        let Contents { seen, durable } = &mut disk.files[*file];
        durable.clone_from(seen);
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        disk.past = vec![disk.names.clone()];
        Ok(())
    }

    fn remove(&mut self, name: Position) -> io::Result<()> {
        assert!(self.0.borrow_mut().remove(Entry::Log(name.0))?, "it is there");
        Ok(())
    }

    fn descriptor(&self, file: &usize) -> RawFd {
        *file as RawFd
    }

    fn path(&self, name: Position) -> PathBuf {
        PathBuf::from(format!("/data/log.{}", name.0))
    }
}

impl ReplicaStorage for Faulty {
    fn open_named(&mut self, name: Name) -> io::Result<Option<(usize, u64)>> {
        let disk = self.0.borrow();
        Ok(disk.names.get(&Entry::Named(name)).map(|&file| (file, disk.files[file].seen.len() as u64)))
    }

    fn create_named(&mut self, name: Name) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        if disk.room == Some(0) {
            return Err(Errno::NOSPC.into());
        }
        disk.create(Entry::Named(name))
    }

    fn overwrite(&mut self, file: &usize, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        // a file that holds something has a sector at least
        let has = if disk.files[*file].seen.is_empty() { 0 } else { 512 };
        let more = bytes.len().saturating_sub(has);
        if disk.take_room(more)? < more {
            return Err(Errno::NOSPC.into());
        }
        disk.files[*file].seen = bytes.to_vec();
        Ok(())
    }

    fn rename(&mut self, from: Name, to: Name) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        disk.change(|names| {
            let file = names.remove(&Entry::Named(from)).expect("it is there");
            names.insert(Entry::Named(to), file);
        });
        Ok(())
    }

    fn exchange(&mut self, one: Name, other: Name) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        disk.change(|names| {
            let file = names.remove(&Entry::Named(one)).expect("it is there");
            if let Some(before) = names.insert(Entry::Named(other), file) {
                names.insert(Entry::Named(one), before);
            }
        });
        Ok(())
    }

    fn remove_named(&mut self, name: Name) -> io::Result<bool> {
        self.0.borrow_mut().remove(Entry::Named(name))
    }

    fn path_named(&self, name: Name) -> PathBuf {
        PathBuf::from("/data").join(name.text())
    }
}
