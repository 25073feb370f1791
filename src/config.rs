//! Every limit and every flag, in one place. Limits that depend on each other are checked here at compile time.

use std::path::PathBuf;

use crate::time::Duration;
use crate::transport::ClusterKey;

/// Longest key in bytes (memcached's KEY_MAX_LENGTH).
pub const KEY_BYTES_MAX: usize = 250;
/// Longest command line that may arrive without its line end; a longer one closes the connection (memcached's rule).
pub const LINE_BYTES_MAX: usize = 2048;
/// Longest `get`/`gets` line: memcached sets none, we bound it because nothing may grow without end.
pub const GET_LINE_BYTES_MAX: usize = 8 << 20;
/// Smallest and largest `-I`.
pub const ITEM_BYTES_MIN: usize = 1 << 10;
/// Largest `-I`.
pub const ITEM_BYTES_CEILING: usize = 1 << 30;
/// What memcached adds to key and value when it compares an item with `-I`: 48 header, 8 cas, 1 after the key, 2 line end.
pub const ITEM_HEADER_BYTES_MEMCACHED: usize = 48 + 8 + 1 + 2;

/// Bytes of one segment of the store's arena; larger items take a run of segments.
pub const SEGMENT_BYTES: usize = 1 << 20;
/// Entries per bucket of the store's index above which it grows; a bucket has eight slots.
pub const STORE_BUCKET_LOAD: u64 = 6;
/// Bytes of segments that one call of the store's housekeeping walks over at most: about a third of a millisecond.
pub const STORE_MAINTAIN_BYTES: usize = 128 << 10;
/// Bytes of segments walked to make room, for each byte reserved while free segments are short.
pub const STORE_RECLAIM_FACTOR: usize = 16;
/// Least and most bytes of segments walked by one reserve while free segments are short.
pub const STORE_RECLAIM_BYTES: (usize, usize) = (512, 64 << 10);
/// Bytes of segments walked at most by a reserve that has no room at all, before it says so.
pub const STORE_LAST_RESORT_BYTES: usize = 64 << 20;
/// Segments kept free ahead of need, at most; small stores keep fewer.
pub const STORE_SEGMENTS_AHEAD_MAX: u64 = 8;
/// Segments that eviction may move on because they were read before it drops any, for each that is kept free ahead: less
/// than `STORE_RECLAIM_FACTOR`, so that a store in which everything was read has room again before it has none.
pub const STORE_KEEP_FACTOR: u64 = 8;
/// Segments above the limit that may wait for readers, at most; small stores have fewer.
pub const STORE_SEGMENTS_WAITING_MAX: u64 = 32;
/// Bytes of segments one call of the housekeeping searches for expired items at most.
pub const STORE_SWEEP_BYTES: usize = 64 << 10;
/// Expired items one such call removes, or proposes, at most: about a quarter of a millisecond.
pub const STORE_SWEEP_REMOVALS: usize = 1024;
/// Segments such a search looks at, most of which it need not walk.
pub const STORE_SWEEP_SEGMENTS: usize = 1024;
/// Housekeeping calls after which a proposed removal that did not come is proposed again.
pub const STORE_PROPOSE_AGAIN_CALLS: u64 = 1024;

/// Counters of locked keys: with so many, a thousand prepared entries keep one read in sixteen waiting in vain.
pub const STORE_LOCKS: usize = 16 << 10;
/// What a bucket of the index counts for in a walk over all items, besides its items.
pub const STORE_WALK_BUCKET_BYTES: usize = 64;

/// One receive buffer handed to the kernel.
pub const RECV_BUFFER_BYTES: usize = 16 << 10;
/// Receive buffers per ring thread (a power of two, the kernel's rule).
pub const RECV_BUFFERS: u16 = 256;
/// Submission queue entries of a ring.
pub const SQ_ENTRIES: u32 = 1024;
/// Completion queue entries of a ring.
pub const CQ_ENTRIES: u32 = 8192;
/// How often it is tried again to make a ring for which there was no memory,
pub const RING_MEMORY_RETRIES: u32 = 30;
/// and how long is waited before.
pub const RING_MEMORY_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// Past this much unsent output a connection's commands are not executed until it has drained: the bound of a slow reader.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Bytes of output buffers, and of input buffers, that a thread keeps for reuse.
pub const POOLED_BYTES_MAX: usize = 16 << 20;
/// Buffers of each kind that a thread keeps for reuse.
pub const POOLED_BUFFERS_MAX: usize = 1024;
/// Commands that are looked up together, so that their cache misses overlap.
pub const BATCH_COMMANDS_MAX: usize = 64;

/// Unanswered writes of one connection at which its next command waits.
pub const UNFINISHED_WRITES_MAX: u32 = 1024;
/// The same for commands whose answer carries a value, which may be as large as `-I` allows.
pub const UNFINISHED_VALUES_MAX: u32 = 16;
/// Input a blocked connection may hold before it is no longer read.
pub const BLOCKED_INPUT_BYTES_MAX: usize = 64 << 10;
/// Room made in advance for a command that was announced; a larger one gets the rest as its bytes come.
pub const INPUT_RESERVE_BYTES_MAX: usize = 1 << 20;
/// Capacity a connection's input buffer may keep while it is empty.
pub const IDLE_INPUT_BYTES_MAX: usize = 1 << 10;

/// Prepared (appended, not yet committed) entries a leader holds before it stops reading from its clients (R11).
pub const PREPARED_ENTRIES_MAX: usize = 64 << 10;
/// Bytes of frames under way at which clients are no longer read either.
pub const PREPARED_BYTES_MAX: u64 = 64 << 20;
/// Bytes of writes that a thread may have handed to thread 0 and not got answered.
pub const FORWARDED_BYTES_MAX: usize = 16 << 20;
/// How often an idle thread looks at the clock.
pub const TICK_NANOS: u32 = 100_000_000;
/// How long a stopping server of a cluster waits for what was sent on to the leader.
pub const STOP_FORWARDS_PATIENCE: Duration = Duration::from_millis(200);
/// How long a stopping server waits for clients that do not read their answers.
pub const STOP_PATIENCE: Duration = Duration::from_millis(3000);
/// Slots of the registered-file table beyond `-c`: sockets whose last completion is still to come.
pub const SPARE_FILES: u32 = 64;
/// Bytes of one frame of the log at which it is closed and the next one begun; a single larger entry gets a frame of its own.
pub const FRAME_BYTES_TARGET: usize = 1 << 20;
/// Buffers of written frames that are kept for coming ones.
pub const FRAME_BUFFERS_KEPT: usize = 8;
/// A larger one is given back to the allocator instead.
pub const FRAME_BUFFER_BYTES_KEPT: usize = 2 * FRAME_BYTES_TARGET;
/// Bytes of a log that are read at a time when a server starts.
pub const LOG_READ_BYTES: usize = 4 << 20;
/// Bytes of a log file after which the next frame starts a new file.
pub const LOG_FILE_BYTES: u64 = 1 << 30;
/// Zeros are put behind the log's end up to a multiple of so many bytes of its file.
pub const LOG_ROOM_BYTES: u64 = 256 << 10;
/// That is done as soon as there are fewer zeros than these.
pub const LOG_ROOM_BYTES_MIN: u64 = 16 << 10;
/// That is done while a sync carries no more than these: of more, to write it twice takes longer than the sync of a longer file.
pub const LOG_ROOM_SYNC_BYTES_MAX: u64 = 32 << 10;
/// Zeros that one write appends. The kernel keeps what a large write brings in one large piece of its cache, and goes through all
/// blocks of a piece whenever some of its bytes are written over.
pub const LOG_ROOM_WRITE_BYTES: usize = 16 << 10;
/// More bytes than these in one sync are a crowd's: a page, which a sync of less writes too.
pub const SYNC_CROWD_BYTES: u64 = 4096;
/// While a crowd waits for syncs of the log and the disk stops some of them, one begins at most every so many times what a sync
/// takes,
pub const SYNC_CADENCE_TIMES_MAX: u64 = 5;
/// and not later than this after the one before it began.
pub const SYNC_CADENCE_MAX: Duration = Duration(2_000_000);
/// Bytes of the log in the kernel's memory only that are synced though no policy asks for it. The more there is, the longer ext4
/// holds the file's map of blocks while it makes room, and a write to the file waits for that: up to 200 ms at a disk that
/// reads slowly, none above 25 ms with this bound, and more sets a second.
pub const LOG_UNSYNCED_BYTES: u64 = 8 << 20;

/// How long a server waits for the directory of one that was killed: its guardian lets go of it some milliseconds later.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(1000);
/// Between two attempts at it.
pub const LOCK_RETRY: Duration = Duration::from_millis(5);
/// Bytes of a small file of a data directory, such as the record, that are read at most.
pub const SMALL_FILE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the log that are committed between two notes of that for the next start: about so much it keeps in memory.
pub const COMMITTED_BYTES: u64 = 16 << 20;
/// Bytes of a keystore that are read at a time when a server starts.
pub const KEYSTORE_READ_BYTES: usize = 1 << 20;
/// How often a tool begins to read a directory whose server replaces its files meanwhile.
pub const CONTENTS_ATTEMPTS: u32 = 8;
/// Bytes of the log above the keystore at which a new keystore is begun, unless twice the last one's bytes are more.
pub const CHECKPOINT_LOG_BYTES_MIN: u64 = 64 << 20;
/// Bytes of items that a keystore gets in one turn: some tens of microseconds.
pub const CHECKPOINT_TURN_BYTES: usize = 64 << 10;
/// Bytes of a stream that go into store and keystore in one turn.
pub const INSTALL_TURN_BYTES: usize = 1 << 20;
/// Bytes of a keystore between two syncs of its file: the log's syncs wait for no more than that.
pub const KEYSTORE_SYNC_BYTES: u64 = 8 << 20;

/// Bytes of items at which a chunk of a keystore is closed; a single larger item gets a chunk of its own.
pub const KEYSTORE_CHUNK_BYTES: usize = 256 << 10;

/// Servers whose acks are needed, at most.
pub const CLUSTER_MEMBERS_MAX: usize = 15;
/// Servers that the coordinator knows besides the members, at most.
pub const CLUSTER_LEARNERS_MAX: usize = 32;
/// Connections on which others wait for the news of this server's death: of members, learners and the coordinator, and as many
/// that are being replaced.
pub const LIFELINES_MAX: usize = 2 * (CLUSTER_MEMBERS_MAX + CLUSTER_LEARNERS_MAX + 1);
/// The guardian's stack: it calls nothing deep.
pub const GUARDIAN_STACK_BYTES: usize = 64 << 10;
/// Peers of one end of the datagram layer.
pub const PEERS_MAX: usize = CLUSTER_MEMBERS_MAX + CLUSTER_LEARNERS_MAX + 1;
/// Bytes of a UDP payload off loopback: no path of servers has an MTU so small that it would be cut into fragments.
pub const DATAGRAM_BYTES: usize = 1408;
/// Bytes of a UDP payload on loopback, whose MTU is 65,536.
pub const DATAGRAM_BYTES_LOOPBACK: usize = 60_000;
/// An ack of so many ranges as there may be, and a piece, fit into one.
pub const DATAGRAM_BYTES_MIN: usize = 1024;
/// Datagrams of one peer in one turn: what the kernel takes in one call (`UDP_SEGMENT`).
pub const TRAIN_DATAGRAMS_MAX: usize = 64;
/// A datagram that comes so much later than the newest is taken for a replay.
pub const REPLAY_WINDOW_DATAGRAMS: usize = 2048;
/// Ranges in an ack of datagrams: older gaps are not told of any more.
pub const ACK_RANGES_MAX: usize = 32;
/// A message between servers: one frame, with one entry of the largest item in it.
pub const MESSAGE_BYTES_MAX: usize = FORWARD_BYTES_MAX + 2 * FRAME_BYTES_TARGET;
/// Bytes of messages for one peer that are not acked: past this they are dropped, which is as if they were lost.
pub const OUTGOING_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 2 * RECEIVE_BYTES as usize;
/// Bytes of incomplete messages of one peer.
pub const ASSEMBLY_BYTES_MAX: usize = OUTGOING_BYTES_MAX;
/// Messages that are complete before an older one.
pub const MESSAGES_OUT_OF_ORDER_MAX: usize = 4096;
/// When a peer acks nothing for so long, what is under way to it is given up: whoever sent it has long sent something newer.
pub const MESSAGE_LIFETIME: Duration = Duration::from_millis(2000);
/// Buffers of messages to a peer that are kept for coming ones, and the largest that is.
pub const MESSAGE_BUFFERS_KEPT: usize = 16;
/// See above.
pub const MESSAGE_BUFFER_BYTES_KEPT: usize = 128 << 10;
/// Trains to one peer in one turn of the loop: who has more to send lets the others have their turn.
pub const TRAINS_PER_TURN_MAX: usize = 4;
/// Bytes of datagrams in one call (`UDP_SEGMENT`): with their headers they are one IP packet to the kernel.
pub const SEGMENTED_BYTES_MAX: usize = 65_000;
/// Buffers for other servers' datagrams: what comes between two turns of the loop beyond them waits in the socket.
pub const DATAGRAM_BUFFERS: u16 = 128;
/// Bytes of one: the largest datagram, or as many smaller ones as the kernel puts together, and what it says about them.
pub const DATAGRAM_BUFFER_BYTES: usize = 65_664;
/// Bytes of datagrams that wait in a socket, each way, if the system allows it.
pub const PEER_SOCKET_BYTES: usize = 8 << 20;
/// Bytes under way to one peer, at most, whatever the network takes: what comes between two turns of its loop waits in its socket.
pub const CONGESTION_BYTES_MAX: u64 = PEER_SOCKET_BYTES as u64 / 2;
/// A server that is neither in the configuration nor was heard for so long is forgotten when others need its place.
pub const PEER_SILENCE_MAX: Duration = Duration::from_seconds(60);
/// How long a port in use may turn out to be a dead predecessor's, whose ring the kernel is still taking apart.
pub const PREDECESSOR_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
/// Connections of other servers that wait to be accepted.
pub const PEER_BACKLOG: i32 = 64;
/// Streams of snapshots at once: that this server opened, and that others did. Who has waited for long asks again.
pub const STREAMS_OPENED_MAX: usize = 4;
/// See above.
pub const STREAMS_ACCEPTED_MAX: usize = 4;
/// Bytes of data in one record of a stream.
pub const STREAM_RECORD_BYTES: usize = 256 << 10;
/// Bytes of a stream that thread 0 was given and has not done with, before no more is read.
pub const STREAM_WINDOW_BYTES: usize = 4 << 20;
/// Bytes of the message that offers a stream.
pub const STREAM_OFFER_BYTES_MAX: usize = 4 << 10;
/// How long who opens a connection may take to say what it is for, once it has begun to, and to be let in.
pub const STREAM_GREETING_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// An end of a stream that has nothing to say says so this often.
pub const STREAM_BEAT: std::time::Duration = std::time::Duration::from_secs(1);
/// Silence after which a stream is broken off.
pub const STREAM_SILENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// How long a stream may have no room at the other end.
pub const STREAM_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long it may take to connect for a lifeline, and to hear who is there.
pub const LIFELINE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
/// Between two attempts to open a lifeline.
pub const LIFELINE_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
/// Starts of a peer that are known to have ended.
pub const ENDED_SESSIONS_KEPT: usize = 8;
/// Bytes of a server's addresses in messages.
pub const CONTACT_BYTES_MAX: usize = 255;
/// D: how long a read lease lasts.
pub const CLUSTER_LEASE: Duration = Duration::from_millis(200);
/// A server that takes larger items works on one for longer than a lease may be late: it keeps the longer one.
pub const CALM_ITEM_BYTES_MAX: usize = 4 << 20;
/// How long a turn may work on one such item: so long for each of its MiB.
pub const SLACK_PER_MIB: Duration = Duration::from_millis(25);
/// The longest that a leader may ask the coordinator to be more patient with it: what an item of the largest size may take.
pub const CLUSTER_SLACK_MAX: Duration = Duration::from_millis(60_000);
/// The longest that a server promises anything for.
pub const CLUSTER_LEASE_MAX: Duration = Duration::from_millis(10_000);
/// How long a leader's lasts while nothing is late. A leader that says nothing can be replaced no earlier than `1.25 D + 5 ms` after it
/// last spoke (R5, R21).
pub const CLUSTER_LEASE_CALM: Duration = Duration::from_millis(80);
/// Between two beacons; leases are renewed with each.
pub const CLUSTER_BEACON: Duration = Duration::from_millis(20);
/// Silence after which a member is left out.
pub const CLUSTER_SILENCE: Duration = Duration::from_millis(500);
/// Between two heartbeats of the coordinator.
pub const CLUSTER_HEARTBEAT: Duration = Duration::from_millis(20);
/// Silence after which the coordinator looks for another leader.
pub const CLUSTER_LEADER_SILENCE: Duration = Duration::from_millis(400);
/// The same while nothing is late: a little more than what the leader's lease keeps the others from leading.
pub const CLUSTER_LEADER_SILENCE_CALM: Duration = Duration::from_millis(110);
/// A time-out becomes short when nothing was late for so long at the beginning,
pub const PACE_BEGINNING: Duration = Duration::from_millis(500);
/// for so long after an answer that was late,
pub const PACE_LATE: Duration = Duration::from_millis(2000);
/// and for so long after it had ended without anybody having failed.
pub const PACE_FALSE_ALARM: Duration = Duration::from_millis(10_000);
/// Without an answer for so long a message is sent again.
pub const CLUSTER_RESEND: Duration = Duration::from_millis(60);
/// How long a read waits at a server for a lease or the leader's word, before it is refused.
pub const CLUSTER_READ_PATIENCE: Duration = Duration::from_millis(1000);
/// How long a write waits at a server for a leader, before it is refused.
pub const CLUSTER_WRITE_PATIENCE: Duration = Duration::from_millis(5000);
/// How often thread 0 of a server in a cluster looks at the clock.
pub const CLUSTER_TICK_NANOS: u32 = 5_000_000;
/// Bytes of resting items whose digest is computed again at such a tick: 3 MB a second.
pub const CLUSTER_SCRUB_BYTES: usize = 16 << 10;
/// How long a stopping server that is no member any more waits with its last syncs.
pub const CLUSTER_FINISH_DELAY: std::time::Duration = std::time::Duration::from_millis(20);
/// How long a stopping leader waits for another server to lead.
pub const CLUSTER_HAND_OVER_PATIENCE: Duration = Duration::from_millis(1000);
/// How long the disk of a member may be full before it is left out, if enough others are left.
pub const CLUSTER_FULL_PATIENCE: Duration = Duration::from_millis(2000);
/// Bytes of frames kept in memory for followers that lack them; older ones come from the log.
pub const TAIL_BYTES: usize = 32 << 20;
/// Frames kept in memory at most, unless they are not yet committed and durable.
pub const TAIL_FRAMES: usize = 8192;
/// Bytes of frames that a follower takes beyond what is on its disk (R11); a slow disk closes that window.
pub const RECEIVE_BYTES: u64 = 8 << 20;
/// Epochs whose beginnings are remembered: who was away for longer is compared from the log's beginning on.
pub const HISTORY_EPOCHS_MAX: usize = 1024;
/// Frames sent to a follower and not yet in its log, and frames it keeps that came ahead of a gap, at most.
pub const FLIGHT_FRAMES_MAX: usize = 4096;
/// Parts of the log that an ack says to be missing.
pub const MISSING_RANGES_MAX: usize = 64;
/// Bytes that are sent to a learner and not yet in its log: catching up leaves room for the members.
pub const LEARNER_FLIGHT_BYTES: u64 = 1 << 20;
/// How often the time to the next question is doubled while there is no answer.
pub const PROBE_DOUBLINGS_MAX: u32 = 10;
/// Bytes that a learner may lack when it is made a member: the rest it gets while its acks are already needed.
pub const JOIN_LAG_BYTES: u64 = 1 << 20;
/// Bytes of the log read at a time for a learner that is behind the tail.
pub const CATCH_UP_BYTES: usize = 1 << 20;
/// Clients' writes that a follower has sent to the leader and not seen decided.
pub const FORWARDS_MAX: usize = 4096;
/// Bytes of one such write: an item and what stands around it.
pub const FORWARD_BYTES_MAX: usize = ITEM_BYTES_CEILING + KEY_BYTES_MAX + 256;
/// Reads that wait for a lease.
pub const WAITING_READS_MAX: usize = 4096;
/// Digests of the own store that a server remembers, to compare them with the leader's.
pub const DIGESTS_KEPT: usize = 64;

/// Entries replayed between two rounds of the store's housekeeping.
pub const REPLAY_MAINTAIN_ENTRIES: u64 = 64;
/// Rounds of the store's housekeeping in which room is made for one entry of another server, before it waits for the next turn.
pub const APPLY_TIDY_CALLS: usize = 64;
/// Prefixes that `stats detail` counts.
pub const DETAIL_PREFIXES_MAX: usize = 10_000;
/// Largest number that `cache_memlimit` takes for megabytes (memcached's).
pub const MEMORY_MEGABYTES_MAX: u64 = 1_000_000_000;
/// Largest `-m`, in megabytes: the arena's offsets reach four times as far, which is more than it reserves.
pub const MEMORY_MEGABYTES_CEILING: u64 = 1 << 20;
/// Smallest memory limit that `cache_memlimit` accepts, in megabytes (memcached's).
pub const MEMORY_MEGABYTES_MIN: u64 = 8;

/// The version this server answers with: the memcached whose behaviour it has.
pub const MEMCACHED_VERSION: &str = "1.6.45";

const _: () = assert!(RECV_BUFFERS.is_power_of_two());
const _: () = assert!(RECV_BUFFER_BYTES > LINE_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES.is_power_of_two());
const _: () = assert!(STORE_KEEP_FACTOR < STORE_RECLAIM_FACTOR as u64);
const _: () = assert!(POOLED_BYTES_MAX >= 2 * OUTPUT_BYTES_MAX);
const _: () = assert!(CQ_ENTRIES > SQ_ENTRIES);
const _: () = assert!(LOG_ROOM_BYTES_MIN < LOG_ROOM_BYTES && LOG_FILE_BYTES.is_multiple_of(LOG_ROOM_BYTES));
const _: () = assert!(REPLAY_WINDOW_DATAGRAMS.is_multiple_of(64));
const _: () = assert!(DATAGRAM_BYTES_MIN >= 128 + 16 * ACK_RANGES_MAX, "an ack and a piece");
const _: () = assert!(DATAGRAM_BYTES >= DATAGRAM_BYTES_MIN && DATAGRAM_BYTES_LOOPBACK < 65_507);
const _: () = assert!(MESSAGE_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(CLUSTER_BEACON.0 * 4 <= CLUSTER_LEASE_CALM.0, "a lease outlives lost beacons");
const _: () = assert!(CLUSTER_HEARTBEAT.0 * 5 <= CLUSTER_LEADER_SILENCE_CALM.0, "silence is more than lost heartbeats");
const _: () = assert!(CLUSTER_SILENCE.0 > CLUSTER_LEASE.0, "a silent member's promise has ended when it is left out");
const _: () = assert!(TAIL_BYTES as u64 >= 2 * RECEIVE_BYTES, "what is under way is in memory");
const _: () = assert!(TAIL_FRAMES >= 2 * FLIGHT_FRAMES_MAX, "what is under way is in memory");
const _: () = assert!(RECEIVE_BYTES as usize >= 2 * FRAME_BYTES_TARGET, "a frame is under way while one is written");
const _: () = assert!(JOIN_LAG_BYTES <= RECEIVE_BYTES);
const _: () = assert!(STREAM_WINDOW_BYTES >= 4 * STREAM_RECORD_BYTES);
const _: () = assert!(STREAM_BEAT.as_nanos() * 3 < STREAM_SILENCE.as_nanos(), "a late beat is no silence");
const _: () = assert!(MISSING_RANGES_MAX <= u8::MAX as usize && 16 * MISSING_RANGES_MAX < DATAGRAM_BYTES);

/// When an acknowledged write is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before its reply leaves (group commit).
    Always,
    /// Within this time after its reply.
    Interval(Duration),
    /// When the kernel likes.
    Never,
}

/// A server's place in a cluster, as its command line said.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// `--lb`: the load balancer.
    pub balancer: std::net::SocketAddr,
    /// `--advertise`: where others reach this server, when it is not where it listens.
    pub advertise: Option<std::net::IpAddr>,
    /// `--peer-port`: UDP and TCP for the other servers; 0 takes a free one.
    pub peer_port: u16,
    /// `--cluster-key-file`: what seals everything between servers; without one, on loopback only.
    pub key: Option<ClusterKey>,
    /// `--reads=strict`: a read is confirmed with a round rather than by a lease.
    pub strict_reads: bool,
}

/// What a server does, as its command line said. Options that memcached has and that change nothing here
/// are kept as they were given, for `stats settings`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// TCP addresses to listen on, port included; empty when `-s` is given or the port is 0.
    pub listen: Vec<std::net::SocketAddr>,
    /// Where to write the ports that were taken (`MEMCACHED_PORT_FILENAME`), when `-p -1` asked for a free one.
    pub port_file: Option<PathBuf>,
    /// `-s`: a Unix socket instead of TCP.
    pub unix_socket: Option<PathBuf>,
    /// `-a`: permission bits of that socket.
    pub unix_mask: u32,
    /// `-t`: ring threads.
    pub threads: usize,
    /// `-m`: bytes of item memory.
    pub memory_bytes: u64,
    /// Whether a full store evicts, or refuses (`-M`).
    pub evict: bool,
    /// `-c`: client connections at once.
    pub connections_max: usize,
    /// `-o maxconns_fast`: past `-c`, answer and close rather than leave waiting.
    pub maxconns_fast: bool,
    /// `-I`: largest item in bytes, memcached's header included.
    pub item_bytes_max: usize,
    /// `-b`: backlog of the listeners.
    pub backlog: i32,
    /// `-R`: requests per event (reported only).
    pub requests_per_event: u32,
    /// `-D`: prefix delimiter for `stats detail`.
    pub prefix_delimiter: u8,
    /// `-v`, `-vv`, `-vvv`.
    pub verbosity: u8,
    /// `-C` switches it off: whether `gets` and `cas` are answered.
    pub cas: bool,
    /// `-A`: whether clients may stop the server.
    pub shutdown_command: bool,
    /// `-F` switches it off.
    pub flush_command: bool,
    /// `-X` switches it off: `stats cachedump` and `stats detail`.
    pub dump_command: bool,
    /// `-W` switches it off.
    pub watch_command: bool,
    /// `-o idle_timeout`: seconds after which a silent connection is closed, 0 for never.
    pub idle_timeout_seconds: u32,
    /// `--data-dir`: where the log lives; nothing when there is no log.
    pub data_dir: Option<PathBuf>,
    /// `--fsync`.
    pub fsync: Fsync,
    /// `-P`.
    pub pid_file: Option<PathBuf>,
    /// `-u`: user to become before binding, when started as root.
    pub user: Option<String>,
    /// `-d`: run in the background.
    pub daemon: bool,
    /// `-r`: raise the core file limit.
    pub core_files: bool,
    /// `-k`: lock memory.
    pub lock_memory: bool,
    /// In a cluster.
    pub cluster: Option<ClusterConfig>,
    /// Harmless options as given, name and value, for `stats settings`.
    pub accepted: Vec<(String, String)>,
}

impl Default for ServerConfig {
    /// A cache on one thread that listens nowhere yet, otherwise with memcached's defaults.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            port_file: None,
            unix_socket: None,
            unix_mask: 0o700,
            threads: 1,
            memory_bytes: 64 << 20,
            evict: true,
            connections_max: 1024,
            maxconns_fast: true,
            item_bytes_max: 1 << 20,
            backlog: 1024,
            requests_per_event: 20,
            prefix_delimiter: b':',
            verbosity: 0,
            cas: true,
            shutdown_command: false,
            flush_command: true,
            dump_command: true,
            watch_command: true,
            idle_timeout_seconds: 0,
            data_dir: None,
            fsync: Fsync::Always,
            pid_file: None,
            user: None,
            daemon: false,
            core_files: false,
            lock_memory: false,
            cluster: None,
            accepted: Vec::new(),
        }
    }
}
