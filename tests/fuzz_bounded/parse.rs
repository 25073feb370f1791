//! Fuzz target: any bytes, in any pieces, through the parser and its oracle.

#[path = "../proto/oracle.rs"]
mod oracle;
#[path = "../proto/stream.rs"]
mod stream;

use stream::Connection;

/// What random input is put together from, so that it gets past the first byte.
#[allow(dead_code, reason = "the fuzzer finds its own")]
pub const DICTIONARY: &[&[u8]] = &[
    b" ",
    b" ",
    b" ",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"k",
    b"key",
    b"0",
    b"1",
    b"-1",
    b"4",
    b"10",
    b"2147483645",
    b"noreply",
    b"get ",
    b"gets ",
    b"gat ",
    b"gats ",
    b"set k 0 0 4\r\n",
    b"set ",
    b"add ",
    b"cas ",
    b"append ",
    b"delete ",
    b"incr ",
    b"decr ",
    b"touch ",
    b"flush_all",
    b"verbosity",
    b"shutdown",
    b"stats",
    b"lru ",
    b"HTTP/1",
    b"data\r\n",
    b"graceful",
    &[b'k'; 125],
];

/// The first byte says in pieces of how many bytes the rest arrives; where it is cut must not matter.
pub fn check_parse(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let mut whole = Connection::default();
    whole.receive(bytes);
    // a line that is too long closes the connection or not, depending on whether its end came with it
    if bytes.split(|&byte| byte == b'\n').any(|line| line.len() > ringstore::config::LINE_BYTES_MAX) {
        return;
    }
    let mut cut = Connection::default();
    for piece in bytes.chunks(usize::from(piece) + 1) {
        cut.receive(piece);
    }
    assert_eq!(cut.events, whole.events, "cut every {} bytes", usize::from(piece) + 1);
}
