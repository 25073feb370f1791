//! touch, gat, gats: a new expiry, and nothing else new.

use crate::script::{Row, row};

const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";
const BAD_EXPTIME: &str = "CLIENT_ERROR invalid exptime argument\r\n";

pub fn rows() -> Vec<Row> {
    let set = |name: &str| row(name).ask("set k 5 0 1\r\na\r\n", "STORED\r\n");
    vec![
        set("touch answers whether the item is there")
            .ask("touch k 100\r\n", "TOUCHED\r\n")
            .ask("touch absent 100\r\n", "NOT_FOUND\r\n")
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        set("touch with a negative time answers TOUCHED, and the item is gone")
            .ask("touch k -1\r\n", "TOUCHED\r\n")
            .ask("get k\r\n", "END\r\n")
            .ask("touch k 0\r\n", "NOT_FOUND\r\n"),
        set("touch with a time long past removes, too")
            .ask("touch k 2592001\r\n", "TOUCHED\r\n")
            .ask("get k\r\n", "END\r\n"),
        set("touch noreply says nothing")
            .send("touch k 100 noreply\r\ntouch absent 100 noreply\r\n")
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n")
            .send("touch k -1 noreply\r\n")
            .ask("get k\r\n", "END\r\n"),
        row("touch needs a key and a time").ask("touch\r\n", BAD_LINE).ask("touch k\r\n", BAD_LINE),
        row("touch of a key too long").ask(format!("touch {} 0\r\n", "k".repeat(251)), BAD_LINE),
        set("touch with a time that is no number, found or not")
            .ask("touch k x\r\n", BAD_EXPTIME)
            .ask("touch absent x\r\n", BAD_EXPTIME)
            .ask("touch k 4294967296\r\n", BAD_EXPTIME)
            .ask("touch k 99999999999999999999\r\n", BAD_EXPTIME),
        set("touch with a bad time and noreply is silent").send("touch k x noreply\r\n"),
        set("gat answers like get")
            .ask("gat 100 k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n")
            .ask("gat 100 absent\r\n", "END\r\n")
            .ask("get k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n"),
        set("gats answers like gets")
            .ask("gets k\r\n", "VALUE k 5 1 <cas>\r\na\r\nEND\r\n")
            .ask("gats 100 k absent\r\n", "VALUE k 5 1 <cas>\r\na\r\nEND\r\n"),
        set("gat of several keys answers in the order asked")
            .ask("set l 6 0 2\r\nbb\r\n", "STORED\r\n")
            .ask("gat 0 l absent k l\r\n", "VALUE l 6 2\r\nbb\r\nVALUE k 5 1\r\na\r\nVALUE l 6 2\r\nbb\r\nEND\r\n"),
        set("gat with a negative time answers the value, and the item is gone")
            .ask("gat -1 k\r\n", "VALUE k 5 1\r\na\r\nEND\r\n")
            .ask("get k\r\n", "END\r\n"),
        row("gat needs a time and a key")
            .ask("gat\r\n", BAD_LINE)
            .ask("gat 0\r\n", BAD_LINE)
            .ask("gats 0\r\n", BAD_LINE),
        set("gat with a time that is no number").ask("gat x k\r\n", BAD_EXPTIME).ask("gats x k\r\n", BAD_EXPTIME),
    ]
}
