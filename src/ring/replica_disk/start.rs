//! From a directory to a running server: what is on the disk is made durable, read, judged, and handed to the store and to the
//! cluster's machine.
//!
//! ```text
//! keystore: start .... consistent            whole, or it is not there
//! log:   [ below | start .... committed | .... end | torn, damaged ]
//!          read    applied at once        kept until the cluster says what became of it
//! ```

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use super::boot::{Running, boot_id};
use super::checkpoint::Checkpoint;
use super::committed::{self, Committed};
use super::found::{read_keystore, remove_keystore};
use super::named::open_error;
use super::reading::{FoundLog, Known, Standing, read_log};
use super::record::{self, RecordFile};
use super::storage::{Name, ReplicaStorage};
use super::{Keystore, ReplicaDisk, Tail};
use crate::cluster::{Boot, Doubt, Mark, NodeRecord};
use crate::config::{self, Fsync};
use crate::log::{Incarnation, LogId, NodeId, Position};
use crate::ring::disk::recover::{cut_tail, io_error, list};
use crate::ring::disk::writer::create_file;
use crate::ring::disk::{DataDir, LogFiles, LogWriter, OpenError};
use crate::time::Time;
use crate::writes::Writes;

/// A data directory that is locked and whose record is read.
pub struct Opened<S = LogFiles> {
    storage: S,
    fsync: Fsync,
    record: NodeRecord,
    running: Running,
}

/// Opens and locks a data directory; makes it when it is not there. The lock of a server that was killed goes with its guardian, some
/// milliseconds later: that is waited for.
///
/// # Errors
/// When it cannot be made, read or locked, or its record is damaged.
pub fn open(path: &Path, fsync: Fsync) -> Result<Opened, OpenError> {
    let began = Instant::now();
    let dir = loop {
        match DataDir::open(path) {
            Err(OpenError::Locked { .. }) if began.elapsed() < Duration::from_nanos(config::LOCK_PATIENCE.0) => {
                std::thread::sleep(Duration::from_nanos(config::LOCK_RETRY.0));
            }
            opened => break opened?,
        }
    };
    Opened::over(LogFiles::new(dir), fsync, boot_id(), NodeId(rand::random_range(1..=u64::MAX)))
}

impl<S: ReplicaStorage> Opened<S> {
    /// `fresh` is the server's name if it has none.
    pub(super) fn over(mut storage: S, fsync: Fsync, boot_id: String, fresh: NodeId) -> Result<Self, OpenError> {
        let record = record::read(&mut storage)?.unwrap_or_else(|| NodeRecord::new(fresh));
        let running = Running::read(&mut storage, fsync, boot_id)?;
        Ok(Self { storage, fsync, record, running })
    }

    /// The server's name.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.record.node
    }

    /// The incarnation that begins now.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        Incarnation(self.record.incarnation.0 + 1)
    }

    /// Reads keystore and log into the write path, which has joined as `node` and `incarnation`. The machine starts with what comes
    /// back; the caller fills in contact, times, and how reads are confirmed.
    ///
    /// # Errors
    /// When something cannot be read, is damaged and no cluster can make it good, or is more than the store holds.
    pub fn start(self, writes: &mut Writes) -> Result<(ReplicaDisk<S>, Boot), OpenError> {
        let began = Instant::now();
        let Self { mut storage, fsync, record, running } = self;
        let alone = record.configuration.is_none();
        // what is there may be in the kernel's memory only
        storage.sync_dir().map_err(open_error(&storage, "sync the directory of", Name::Record))?;
        let found = read_keystore(&mut storage, writes, alone)?;
        let start = found.snapshot.start;
        let names = prepare_files(&mut storage, start.position)?;
        let hint = committed::read(&mut storage)?;
        let known = if alone { Known::All } else { Known::UpTo(hint.unwrap_or_default()) };
        let log = read_log(&mut storage, &names, &found.snapshot, known, writes)?;
        if alone {
            log.standing.refuse_if_alone(&storage, start)?;
        }
        let log_id = one_id(&storage, &record, found.log_id, &log)?;
        if let Some(cut) = log.cut.as_ref().filter(|_| matches!(log.standing, Standing::Whole | Standing::Nothing)) {
            cut_tail(&mut storage, cut)?;
        }
        let keystore = Keystore { start, bytes: found.bytes };
        if log.standing == Standing::Whole && found.damaged {
            // all of it is in the log
            remove_keystore(&mut storage).map_err(open_error(&storage, "remove", Name::Keystore))?;
        }
        let fresh = log.standing == Standing::Whole && !log.has_frames && log.log_id != Some(log_id);
        let mut writer = open_log(storage, fsync, &keystore, log_id, log.end)?;
        if fresh {
            let header = keystore.log_header(log_id);
            writer.reset(&header).map_err(|fatal| OpenError::Io {
                doing: "begin",
                path: fatal.path,
                error: fatal.error,
            })?;
        }
        let (tail, doubt) = judge(&log.standing, alone, found.damaged, running.tail_is_doubted);
        writes.on_durable(log.end.position);
        let applied = writes.applied();
        let (index, of, seconds) = (log.end.index.0, applied.index.0, began.elapsed().as_secs_f64());
        tracing::info!("the log ends with entry {index}, those up to {of} are applied, read in {seconds:.3} s");
        let mut disk = ReplicaDisk {
            writer,
            fsync,
            keystore,
            tail,
            cut: 0,
            events: VecDeque::new(),
            record: RecordFile::default(),
            running,
            committed: Committed::new(hint.unwrap_or_default()),
            install: None,
            checkpoint: Checkpoint::default(),
            checkpoint_log_bytes: config::CHECKPOINT_LOG_BYTES_MIN,
            orphan: None,
            record_tried: Time(0),
            full: false,
        };
        let storage = disk.writer.storage();
        disk.committed.write(storage, applied).map_err(open_error(storage, "write", Name::Committed))?;
        let boot = Boot {
            history: log.history,
            end: log.end,
            last_time: log.last_time,
            applied,
            consistent: found.snapshot.consistent,
            doubt,
            log_id: if alone && log.end.position.0 > 0 { log_id } else { LogId(0) },
            ..Boot::empty(record, String::new())
        };
        Ok((disk, boot))
    }
}

/// What the machine does with the log's files, and what it is to think of them.
fn judge(standing: &Standing, alone: bool, damaged: bool, tail_is_doubted: bool) -> (Tail, Doubt) {
    let lost = if tail_is_doubted { Doubt::Tail } else { Doubt::None };
    match standing {
        Standing::Whole => (Tail::Whole, lost),
        // a server's first start, or its files were taken away
        Standing::Nothing if alone => (Tail::Whole, lost),
        Standing::Nothing if damaged => (Tail::Useless, Doubt::Corruption),
        Standing::Nothing => (Tail::Whole, Doubt::Corruption),
        Standing::Damaged(_) => (Tail::Damaged, Doubt::Corruption),
        // a log that lost its tail with the machine may end before the keystore's start, which was synced
        Standing::Elsewhere(_) if tail_is_doubted && !damaged => (Tail::Useless, Doubt::Tail),
        Standing::Elsewhere(_) => (Tail::Useless, Doubt::Corruption),
    }
}

/// Removes what an earlier process has left behind, and files of the log that the keystore has made superfluous. Those that are left.
fn prepare_files<S: ReplicaStorage>(storage: &mut S, start: Position) -> Result<Vec<Position>, OpenError> {
    storage.remove_named(Name::KeystoreNew).map_err(open_error(storage, "remove", Name::KeystoreNew))?;
    let mut names = list(storage)?;
    while names.len() > 1 && names[1] <= start {
        let name = names.remove(0);
        storage.remove(name).map_err(io_error(storage, "remove", name))?;
    }
    if let [only] = names[..]
        && is_unfinished(storage, only)?
    {
        storage.remove(only).map_err(io_error(storage, "remove", only))?;
        names.clear();
    }
    storage.sync_dir().map_err(open_error(storage, "sync the directory of", Name::Record))?;
    Ok(names)
}

/// What a crash leaves while the first file of a log is made: nothing was ever behind such a header.
fn is_unfinished<S: ReplicaStorage>(storage: &mut S, name: Position) -> Result<bool, OpenError> {
    use crate::log::layout::file::BYTES;
    use crate::log::{FileFault, FileHeader};
    let read = |storage: &mut S| {
        let (file, bytes) = storage.open(name)?;
        let mut header = [0; BYTES];
        let done = super::named::read_at(storage, &file, 0, &mut header)?;
        Ok((bytes, FileHeader::decode(&header[..done])))
    };
    let (bytes, decoded) = read(storage).map_err(io_error(storage, "read", name))?;
    Ok(bytes <= BYTES as u64 && decoded.is_err_and(|fault| !matches!(fault, FileFault::Version(_))))
}

/// The id that all files of the directory have, or are to have.
fn one_id<S: ReplicaStorage>(
    storage: &S,
    record: &NodeRecord,
    keystore: Option<LogId>,
    log: &FoundLog,
) -> Result<LogId, OpenError> {
    let cluster = record.configuration.as_ref().map(|configuration| configuration.cluster);
    // an empty log is no cluster's yet
    let of_log = log.log_id.filter(|_| log.has_frames);
    let mut ids = [cluster, keystore, of_log].into_iter().flatten();
    let Some(id) = ids.next() else {
        return Ok(log.log_id.unwrap_or_else(|| LogId(rand::random_range(1..=u128::MAX))));
    };
    if ids.all(|other| other == id) {
        return Ok(id);
    }
    let what = "record, keystore and log are not of the same cluster";
    Err(mixed(storage, what))
}

/// Files that do not belong together.
pub(super) fn mixed<S: ReplicaStorage>(storage: &S, what: &'static str) -> OpenError {
    let path = storage.path_named(Name::Record).parent().map(Path::to_path_buf).unwrap_or_default();
    OpenError::Mixed { path, what }
}

/// The log's files, ready to be appended to, or to be cut. A log without files begins behind the keystore.
fn open_log<S: ReplicaStorage>(
    mut storage: S,
    fsync: Fsync,
    keystore: &Keystore,
    log_id: LogId,
    end: Mark,
) -> Result<LogWriter<S>, OpenError> {
    let mut names = list(&mut storage)?;
    let file = match names.last() {
        Some(&name) => storage.open(name).map_err(io_error(&storage, "open", name))?.0,
        None => {
            let header = keystore.log_header(log_id);
            names.push(header.position);
            create_file(&mut storage, &header)
                .map_err(|failed| io_error(&storage, "create", header.position)(failed.error))?
        }
    };
    Ok(LogWriter::new(storage, fsync, log_id, names, file, end.position))
}
