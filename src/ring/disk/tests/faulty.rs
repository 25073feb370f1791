//! A disk in memory that does what disks do: writes short, runs full, fails, and at a crash forgets what was not synced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::rc::Rc;

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::io::Errno;

use super::super::LogStorage;
use crate::log::Position;

#[derive(Clone, Default)]
struct Contents {
    bytes: Vec<u8>,
    /// What survives a crash for certain.
    synced_bytes: usize,
    /// Written over what does, and not synced since.
    unsynced: Vec<Range<usize>>,
    /// What was on the disk behind the place where it was cut since the last sync.
    cut_off: Option<(usize, Vec<u8>)>,
    name_is_synced: bool,
}

/// The disk; it outlives the storage that a writer owns.
#[derive(Default)]
pub struct Disk {
    files: BTreeMap<Position, Contents>,
    /// Bytes it still has room for.
    pub room: Option<usize>,
    /// Bytes that one write takes at most.
    pub write_bytes_max: Option<usize>,
    /// Bytes a file may have.
    pub file_bytes_max: Option<usize>,
    /// Operations until one fails, and how.
    pub fail_after: Option<(usize, Errno)>,
    pub sync_fails: bool,
    pub truncate_fails: bool,
    pub interrupts: bool,
    interrupted: bool,
}

/// A handle on it.
#[derive(Clone, Default)]
pub struct Faulty(pub Rc<RefCell<Disk>>);

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        match &mut self.fail_after {
            Some((0, errno)) => return Err((*errno).into()),
            Some((left, _)) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.interrupted = self.interrupts && !self.interrupted;
        if self.interrupted {
            return Err(Errno::INTR.into());
        }
        self.operation()
    }

    fn sync(&mut self, name: Position) -> io::Result<()> {
        self.operation()?;
        if self.sync_fails {
            return Err(Errno::IO.into());
        }
        let file = self.files.get_mut(&name).expect("it is there");
        (file.synced_bytes, file.unsynced, file.cut_off) = (file.bytes.len(), Vec::new(), None);
        Ok(())
    }

    pub fn file_bytes(&self) -> Vec<(Position, usize)> {
        self.files.iter().map(|(name, file)| (*name, file.bytes.len())).collect()
    }

    pub fn contents(&mut self, name: Position) -> &mut Vec<u8> {
        &mut self.files.get_mut(&name).expect("it is there").bytes
    }

    /// Power fails: what was not synced is there in part, as zeros, or not at all.
    pub fn crash(&mut self, rng: &mut StdRng) {
        self.files.retain(|_, file| file.name_is_synced || rng.random());
        for file in self.files.values_mut() {
            for over in std::mem::take(&mut file.unsynced) {
                let over = over.start.min(file.bytes.len())..over.end.min(file.bytes.len());
                let from = rng.random_range(over.start..=over.end);
                let to = rng.random_range(from..=over.end);
                file.bytes[from..to].fill(0);
            }
            if let Some((at, old)) = file.cut_off.take()
                && at == file.bytes.len()
                && rng.random()
            {
                file.bytes.extend(old);
                file.synced_bytes = file.bytes.len();
            }
            let unsynced = file.bytes.len() - file.synced_bytes;
            let kept = rng.random_range(0..=unsynced);
            file.bytes.truncate(file.synced_bytes + kept);
            if kept > 0 && rng.random() {
                let from = rng.random_range(0..kept);
                let to = rng.random_range(from..=kept);
                file.bytes[file.synced_bytes + from..file.synced_bytes + to].fill(0);
            }
        }
        *self = Self { files: std::mem::take(&mut self.files), ..Self::default() };
    }
}

impl Faulty {
    /// What the shell does with a request to sync: the descriptor is the file's number.
    pub fn fdatasync(&self, descriptor: RawFd) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let name = *disk.files.keys().find(|name| name.0 as RawFd == descriptor).expect("an open file");
        disk.sync(name)
    }
}

impl LogStorage for Faulty {
    type File = Position;

    fn list(&mut self) -> io::Result<Vec<Position>> {
        Ok(self.0.borrow().files.keys().copied().collect())
    }

    fn open(&mut self, name: Position) -> io::Result<(Position, u64)> {
        Ok((name, self.0.borrow().files[&name].bytes.len() as u64))
    }

    fn create(&mut self, name: Position) -> io::Result<Position> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        assert!(disk.files.insert(name, Contents::default()).is_none(), "it is there already");
        Ok(name)
    }

    fn read(&mut self, name: &Position, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let disk = self.0.borrow();
        let bytes = disk.files[name].bytes.get(offset as usize..).unwrap_or_default();
        let taken = bytes.len().min(into.len());
        into[..taken].copy_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn append(&mut self, name: &Position, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        disk.write()?;
        let room = disk.room.unwrap_or(usize::MAX);
        if room == 0 {
            return Err(Errno::NOSPC.into());
        }
        let file_room = disk.file_bytes_max.unwrap_or(usize::MAX) - disk.contents(*name).len();
        if file_room == 0 {
            return Err(Errno::FBIG.into());
        }
        let taken = bytes.len().min(room).min(file_room).min(disk.write_bytes_max.unwrap_or(usize::MAX));
        disk.contents(*name).extend_from_slice(&bytes[..taken]);
        disk.room = disk.room.map(|room| room - taken);
        Ok(taken)
    }

    fn write_over(&mut self, name: &Position, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.borrow_mut();
        disk.write()?;
        let taken = bytes.len().min(disk.write_bytes_max.unwrap_or(usize::MAX));
        let over = offset as usize..offset as usize + taken;
        let file = disk.files.get_mut(name).expect("it is there");
        assert!(file.bytes[over.clone()].iter().all(|&byte| byte == 0), "only zeros are written over");
        file.bytes[over.clone()].copy_from_slice(&bytes[..taken]);
        file.unsynced.push(over);
        Ok(taken)
    }

    fn truncate(&mut self, name: &Position, bytes: u64) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        if disk.truncate_fails {
            return Err(Errno::IO.into());
        }
        let file = disk.files.get_mut(name).expect("it is there");
        let freed = file.bytes.len() - bytes as usize;
        if file.synced_bytes > bytes as usize {
            file.cut_off = Some((bytes as usize, file.bytes[bytes as usize..file.synced_bytes].to_vec()));
        }
        file.bytes.truncate(bytes as usize);
        file.synced_bytes = file.synced_bytes.min(bytes as usize);
        file.unsynced.retain_mut(|over| {
            over.end = over.end.min(bytes as usize);
            over.start < over.end
        });
        disk.room = disk.room.map(|room| room + freed);
        Ok(())
    }

    fn sync(&mut self, name: &Position) -> io::Result<()> {
        self.0.borrow_mut().sync(*name)
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.operation()?;
        disk.files.values_mut().for_each(|file| file.name_is_synced = true);
        Ok(())
    }

    fn remove(&mut self, name: Position) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let removed = disk.files.remove(&name).expect("it is there");
        disk.room = disk.room.map(|room| room + removed.bytes.len());
        Ok(())
    }

    fn descriptor(&self, name: &Position) -> RawFd {
        name.0 as RawFd
    }

    fn path(&self, name: Position) -> PathBuf {
        PathBuf::from(format!("log.{}", name.0))
    }
}
