//! How single values are written and read.

use super::CodecFault;
use crate::cluster::configuration::{
    Configuration, Epoch, Incarnation, LogId, LogIndex, Mark, Member, NodeId, Position,
};
use crate::config;
use crate::time::Time;

/// Appends values.
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Nothing, or a value behind a 1.
    pub fn option(&mut self, value: Option<u64>) {
        self.flag(value.is_some());
        if let Some(value) = value {
            self.u64(value);
        }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("what is sent is bounded below that");
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    pub fn mark(&mut self, mark: Mark) {
        self.u64(mark.epoch.0);
        self.u64(mark.index.0);
        self.u64(mark.position.0);
    }

    pub fn contact(&mut self, contact: &str) {
        assert!(contact.len() <= config::CONTACT_BYTES_MAX, "the shell knows the bound");
        self.u8(contact.len() as u8);
        self.0.extend_from_slice(contact.as_bytes());
    }

    pub fn member(&mut self, member: &Member) {
        self.u64(member.node.0);
        self.contact(&member.contact);
    }

    pub fn members(&mut self, members: &[Member]) {
        assert!(members.len() <= config::CLUSTER_MEMBERS_MAX, "there are no more");
        self.u8(members.len() as u8);
        members.iter().for_each(|member| self.member(member));
    }

    pub fn configuration(&mut self, configuration: &Configuration) {
        let Configuration { cluster, epoch, leader, leader_incarnation, members, min_insync, forced } = configuration;
        self.0.extend_from_slice(&cluster.0.to_le_bytes());
        self.u64(epoch.0);
        self.u64(leader.0);
        self.u64(leader_incarnation.0);
        self.u8(*min_insync);
        self.u64(forced.0);
        self.members(members);
    }
}

/// Bytes not yet read.
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], CodecFault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(CodecFault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecFault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CodecFault::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, CodecFault> {
        self.array().map(|[byte]| byte)
    }

    pub fn flag(&mut self) -> Result<bool, CodecFault> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecFault::Field("a flag that is neither 0 nor 1")),
        }
    }

    pub fn u64(&mut self) -> Result<u64, CodecFault> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn option(&mut self) -> Result<Option<u64>, CodecFault> {
        if self.flag()? { self.u64().map(Some) } else { Ok(None) }
    }

    pub fn time(&mut self) -> Result<Time, CodecFault> {
        self.u64().map(Time)
    }

    pub fn bytes(&mut self, most: usize) -> Result<Vec<u8>, CodecFault> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if length > most {
            return Err(CodecFault::Field("a length above its bound"));
        }
        self.take(length).map(<[u8]>::to_vec)
    }

    pub fn mark(&mut self) -> Result<Mark, CodecFault> {
        let (epoch, index, position) = (Epoch(self.u64()?), LogIndex(self.u64()?), Position(self.u64()?));
        Ok(Mark { epoch, index, position })
    }

    pub fn contact(&mut self) -> Result<String, CodecFault> {
        let length = usize::from(self.u8()?);
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| CodecFault::Field("a contact that is no text"))
    }

    pub fn member(&mut self) -> Result<Member, CodecFault> {
        let node = NodeId(self.u64()?);
        Ok(Member { node, contact: self.contact()? })
    }

    /// So many, of which each is read by `read`.
    pub fn list<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecFault>,
    ) -> Result<Vec<T>, CodecFault> {
        let count = usize::from(self.u8()?);
        if count > most {
            return Err(CodecFault::Field("more than there may be"));
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub fn members(&mut self) -> Result<Vec<Member>, CodecFault> {
        self.list(config::CLUSTER_MEMBERS_MAX, Self::member)
    }

    pub fn configuration(&mut self) -> Result<Configuration, CodecFault> {
        let cluster = LogId(u128::from_le_bytes(self.array()?));
        let (epoch, leader) = (Epoch(self.u64()?), NodeId(self.u64()?));
        let (leader_incarnation, min_insync, forced) = (Incarnation(self.u64()?), self.u8()?, Epoch(self.u64()?));
        let members = self.members()?;
        let configuration = Configuration { cluster, epoch, leader, leader_incarnation, members, min_insync, forced };
        configuration.fault().map_or(Ok(configuration), |fault| Err(CodecFault::Field(fault)))
    }

    pub fn end(&self) -> Result<(), CodecFault> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecFault::Surplus(self.0.len())) }
    }
}

const _: () = assert!(config::CONTACT_BYTES_MAX <= u8::MAX as usize, "a contact's length is one byte");
const _: () = assert!(config::CLUSTER_MEMBERS_MAX <= u8::MAX as usize, "a count is one byte");
const _: () = assert!(config::CLUSTER_LEARNERS_MAX <= u8::MAX as usize, "a count is one byte");
const _: () = assert!(config::FORWARD_BYTES_MAX <= u32::MAX as usize, "a length is four bytes");
