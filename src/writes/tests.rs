//! The write path without a shell: forwarded writes as bytes, and a replica's data plane against a leader's.

mod codec;

use super::Origin;
use crate::conn::ConnId;

const ORIGIN: Origin = Origin { shard: 0, conn: ConnId(0), generation: 0, noreply: false, bytes: 0 };
