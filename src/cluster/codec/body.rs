//! What a message says, by kind.

use super::CodecFault;
use super::wire::{Rest, Writer};
use crate::cluster::configuration::{Incarnation, LogId, Position};
use crate::cluster::frame::Frame;
use crate::cluster::message::{Ack, Append, Body, Digest, Forward, Missing, Registered, Standing};
use crate::config;
use crate::log::layout;
use crate::time::{Duration, Time};

/// The kinds in order of their numbers: the name, what follows the header.
pub const KINDS: [(u16, &str, &str); 19] = [
    (
        1,
        "append",
        "sent 8, lease 8, number 8, echo option, previous mark, commit 8, digest flag 1 (then position 8, digest 8), frame bytes",
    ),
    (
        2,
        "ack",
        "sent 8, newest 8, echo option, withdrawn flag 1, full flag 1, standing 1: 0 then last mark; 1 then durable 8, end mark, \
         count 1, of each missing range from 8, to 8, then top 8, limit 8; 2 lost",
    ),
    (3, "announce", "configuration"),
    (4, "config asked", "nothing"),
    (5, "register", "contact, end mark, doubtful flag 1"),
    (6, "refused", "yours 16"),
    (7, "heartbeat", "sent 8, count 1, then of each: name 8, contact, incarnation 8"),
    (8, "heartbeat ack", "echo 8, lease 8, slack 8, end mark"),
    (9, "change asked", "members"),
    (10, "candidate asked", "proven dead flag 1"),
    (11, "candidate answer", "end mark, promise left 8, doubtful flag 1"),
    (12, "resigned", "nothing"),
    (13, "leaving", "nothing"),
    (14, "forward", "number 8, previous 8, undecided 8, request bytes"),
    (15, "forward answer", "number 8, reply bytes"),
    (16, "snapshot needed", "from mark"),
    (17, "snapshot offer", "nothing"),
    (18, "read index asked", "number 8"),
    (19, "read index", "number 8, commit 8"),
];

/// Writes the body; its kind.
pub fn encode(body: &Body, writer: &mut Writer<'_>) -> u16 {
    match body {
        Body::Append(append) => {
            encode_append(append, writer);
            1
        }
        Body::Ack(ack) => {
            encode_ack(ack, writer);
            2
        }
        Body::Announce(configuration) => {
            writer.configuration(configuration);
            3
        }
        Body::ConfigAsked => 4,
        Body::Register { contact, end, doubtful } => {
            writer.contact(contact);
            writer.mark(*end);
            writer.flag(*doubtful);
            5
        }
        Body::Refused { yours } => {
            writer.0.extend_from_slice(&yours.0.to_le_bytes());
            6
        }
        Body::Heartbeat { sent, registered } => {
            writer.u64(sent.0);
            assert!(registered.len() <= config::CLUSTER_LEARNERS_MAX, "there are no more");
            writer.u8(registered.len() as u8);
            for Registered { member, incarnation } in registered {
                writer.member(member);
                writer.u64(incarnation.0);
            }
            7
        }
        Body::HeartbeatAck { echo, lease, slack, end } => {
            writer.u64(echo.0);
            writer.u64(lease.0);
            writer.u64(slack.0);
            writer.mark(*end);
            8
        }
        Body::ChangeAsked { members } => {
            writer.members(members);
            9
        }
        Body::CandidateAsked { proven_dead } => {
            writer.flag(*proven_dead);
            10
        }
        Body::CandidateAnswer { end, promise_left, doubtful } => {
            writer.mark(*end);
            writer.u64(promise_left.0);
            writer.flag(*doubtful);
            11
        }
        Body::Resigned => 12,
        Body::Leaving => 13,
        Body::Forward(Forward { number, previous, undecided, request }) => {
            writer.u64(*number);
            writer.u64(*previous);
            writer.u64(*undecided);
            writer.bytes(request);
            14
        }
        Body::ForwardAnswer { number, reply } => {
            writer.u64(*number);
            writer.bytes(reply);
            15
        }
        Body::SnapshotNeeded { from } => {
            writer.mark(*from);
            16
        }
        Body::SnapshotOffer => 17,
        Body::ReadIndexAsked { number } => {
            writer.u64(*number);
            18
        }
        Body::ReadIndex { number, commit } => {
            writer.u64(*number);
            writer.u64(commit.0);
            19
        }
    }
}

fn encode_append(append: &Append, writer: &mut Writer<'_>) {
    let Append { sent, lease, number, echo, previous, frame, commit, digest } = append;
    writer.u64(sent.0);
    writer.u64(lease.0);
    writer.u64(*number);
    writer.option(echo.map(|echo| echo.0));
    writer.mark(*previous);
    writer.u64(commit.0);
    writer.flag(digest.is_some());
    if let Some(Digest { position, digest }) = digest {
        writer.u64(position.0);
        writer.u64(*digest);
    }
    writer.bytes(frame.as_ref().map_or(&[], Frame::bytes));
}

fn encode_ack(ack: &Ack, writer: &mut Writer<'_>) {
    let Ack { sent, newest, echo, withdrawn, full, standing } = ack;
    writer.u64(sent.0);
    writer.u64(*newest);
    writer.option(echo.map(|echo| echo.0));
    writer.flag(*withdrawn);
    writer.flag(*full);
    match standing {
        Standing::Unknown { last } => {
            writer.u8(0);
            writer.mark(*last);
        }
        Standing::Matched { durable, end, missing, top, limit } => {
            writer.u8(1);
            writer.u64(durable.0);
            writer.mark(*end);
            assert!(missing.len() <= config::MISSING_RANGES_MAX, "no more are said at once");
            writer.u8(missing.len() as u8);
            for Missing { from, to } in missing {
                writer.u64(from.0);
                writer.u64(to.0);
            }
            writer.u64(top.0);
            writer.u64(limit.0);
        }
        Standing::Lost => writer.u8(2),
    }
}

/// Reads the body of a message of this kind.
pub fn decode(kind: u16, rest: &mut Rest<'_>) -> Result<Body, CodecFault> {
    Ok(match kind {
        1 => Body::Append(decode_append(rest)?),
        2 => Body::Ack(decode_ack(rest)?),
        3 => Body::Announce(rest.configuration()?),
        4 => Body::ConfigAsked,
        5 => Body::Register { contact: rest.contact()?, end: rest.mark()?, doubtful: rest.flag()? },
        6 => {
            let bytes = rest.take(16)?.try_into().expect("so many were taken");
            Body::Refused { yours: LogId(u128::from_le_bytes(bytes)) }
        }
        7 => {
            let sent = rest.time()?;
            let registered = rest.list(config::CLUSTER_LEARNERS_MAX, |rest| {
                Ok(Registered { member: rest.member()?, incarnation: Incarnation(rest.u64()?) })
            })?;
            Body::Heartbeat { sent, registered }
        }
        8 => {
            let (echo, lease, slack) = (rest.time()?, Duration(rest.u64()?), Duration(rest.u64()?));
            Body::HeartbeatAck { echo, lease, slack, end: rest.mark()? }
        }
        9 => Body::ChangeAsked { members: rest.members()? },
        10 => Body::CandidateAsked { proven_dead: rest.flag()? },
        11 => {
            let (end, promise_left) = (rest.mark()?, Duration(rest.u64()?));
            Body::CandidateAnswer { end, promise_left, doubtful: rest.flag()? }
        }
        12 => Body::Resigned,
        13 => Body::Leaving,
        14 => {
            let (number, previous, undecided) = (rest.u64()?, rest.u64()?, rest.u64()?);
            let request = rest.bytes(config::FORWARD_BYTES_MAX)?;
            Body::Forward(Forward { number, previous, undecided, request })
        }
        15 => Body::ForwardAnswer { number: rest.u64()?, reply: rest.bytes(config::FORWARD_BYTES_MAX)? },
        16 => Body::SnapshotNeeded { from: rest.mark()? },
        17 => Body::SnapshotOffer,
        18 => Body::ReadIndexAsked { number: rest.u64()? },
        19 => Body::ReadIndex { number: rest.u64()?, commit: Position(rest.u64()?) },
        unknown => return Err(CodecFault::Kind(unknown)),
    })
}

fn decode_append(rest: &mut Rest<'_>) -> Result<Append, CodecFault> {
    let (sent, lease, number) = (rest.time()?, Duration(rest.u64()?), rest.u64()?);
    let (echo, previous) = (rest.option()?.map(Time), rest.mark()?);
    let commit = Position(rest.u64()?);
    let digest =
        if rest.flag()? { Some(Digest { position: Position(rest.u64()?), digest: rest.u64()? }) } else { None };
    let bytes = rest.bytes(layout::frame::BYTES + layout::BODY_BYTES_MAX)?;
    let frame = if bytes.is_empty() { None } else { Some(Frame::parse(bytes).map_err(CodecFault::Frame)?) };
    Ok(Append { sent, lease, number, echo, previous, frame, commit, digest })
}

fn decode_ack(rest: &mut Rest<'_>) -> Result<Ack, CodecFault> {
    let (sent, newest, echo) = (rest.time()?, rest.u64()?, rest.option()?.map(Time));
    let (withdrawn, full) = (rest.flag()?, rest.flag()?);
    let standing = match rest.u8()? {
        0 => Standing::Unknown { last: rest.mark()? },
        1 => {
            let (durable, end) = (Position(rest.u64()?), rest.mark()?);
            let missing = rest.list(config::MISSING_RANGES_MAX, |rest| {
                Ok(Missing { from: Position(rest.u64()?), to: Position(rest.u64()?) })
            })?;
            Standing::Matched { durable, end, missing, top: Position(rest.u64()?), limit: Position(rest.u64()?) }
        }
        2 => Standing::Lost,
        _ => return Err(CodecFault::Field("a standing that is none")),
    };
    Ok(Ack { sent, newest, echo, withdrawn, full, standing })
}
