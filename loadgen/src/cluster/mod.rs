//! A cluster of ours on loopback: a load balancer and its servers, ended and started again by process id at the same
//! addresses and in the same directories. All of it is gone when the value is dropped, also when this program is killed.

pub mod fill;
mod machine;
mod standing;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::failure::Failure;
use crate::server::DataDirectory;

pub use machine::Machine;
use standing::Standing;

/// How long a cluster may take until all its servers are members; the log of a server that was killed is read meanwhile.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(180);
/// Between two looks at where the servers stand.
const LOOK: Duration = Duration::from_millis(10);

/// How a cluster is made.
pub struct Shape<'a> {
    /// The store program.
    pub store: &'a str,
    pub servers: usize,
    /// Further options of each server, separated by spaces.
    pub options: &'a str,
    /// Folder for its directory.
    pub data_parent: &'a Path,
}

/// A load balancer and its servers.
pub struct Cluster {
    pub balancer: Machine,
    pub servers: Vec<Machine>,
    // last: it is removed when nobody writes there any more
    _directory: DataDirectory,
}

impl Cluster {
    /// Starts all of it and waits until every server is a member.
    pub fn start(shape: &Shape) -> Result<Self, Failure> {
        let directory = DataDirectory::make(shape.data_parent)?;
        let (network, path) = (network(), directory.path());
        let address = machine::free_address(network(250))?;
        let words = format!("{} addlb --listen {address}", shape.store);
        let mut balancer = Machine::new("balancer", address, &words, path, 0);
        balancer.start()?;
        let mut servers = Vec::new();
        for number in 1..=shape.servers as u8 {
            let ip = network(number);
            let (own, peer) = (machine::free_address(ip)?, machine::free_address(ip)?.port());
            let (store, port, options) = (shape.store, own.port(), shape.options);
            let words = format!("{store} addsrv --lb {address} -l {ip} -p {port} --peer-port {peer} -t 1 {options}");
            let mut server = Machine::new(&format!("server{number}"), own, &words, path, usize::from(number));
            server.start()?;
            servers.push(server);
        }
        let cluster = Self { balancer, servers, _directory: directory };
        cluster.until_whole()?;
        Ok(cluster)
    }

    /// Where clients reach each server.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// Waits until all servers are the members of one epoch and one serves as their leader: its place.
    pub fn until_whole(&self) -> Result<usize, Failure> {
        until_whole(&self.addresses()).map_err(|failure| Failure::new(format!("{failure}\n{}", self.said())))
    }

    /// The end of what each process said.
    pub fn said(&self) -> String {
        self.servers.iter().chain([&self.balancer]).map(Machine::said).collect()
    }

    /// Ends every server in order, without a hand-over that could take long, before the directory goes.
    fn end(&mut self) {
        for machine in self.servers.iter_mut().chain([&mut self.balancer]) {
            // both fail only when it has ended already
            let _ = machine.signal(Signal::KILL);
            let _ = machine.wait();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until all servers at these addresses are the members of one epoch and one serves as their leader: its place.
///
/// # Errors
/// When they are not in time; the sentence tells where each stands.
pub fn until_whole(servers: &[SocketAddr]) -> Result<usize, Failure> {
    let began = Instant::now();
    loop {
        let standings = servers.iter().map(|server| Standing::ask(*server).ok()).collect::<Vec<_>>();
        if let Some(leader) = standing::whole(&standings) {
            return Ok(leader);
        }
        if began.elapsed() > WHOLE_TIMEOUT {
            let stand = servers.iter().zip(&standings).map(|(server, standing)| match standing {
                Some(standing) => format!("{server} is {standing}"),
                None => format!("{server} does not answer"),
            });
            let stand = stand.collect::<Vec<_>>().join(", ");
            return Err(Failure::new(format!("after {WHOLE_TIMEOUT:?} not all servers are members: {stand}")));
        }
        std::thread::sleep(LOOK);
    }
}

/// Loopback addresses of this cluster's own, so that nobody takes the ports of a server that is down.
fn network() -> impl Fn(u8) -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let (second, third) = (64 + (std::process::id() % 128) as u8, NEXT.fetch_add(1, Ordering::Relaxed));
    move |machine| Ipv4Addr::new(127, second, third, machine)
}
