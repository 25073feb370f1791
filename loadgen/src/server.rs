//! A server under load: started here, pinned, measured from the outside, and gone when its value is dropped, also when
//! this program is killed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tempfile::TempDir;

use crate::failure::{Failure, While};
use crate::request::Dialect;

/// A server that does not listen after this time has failed to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may take to answer what it is asked about itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// So often a directory is removed in which something appears again.
const REMOVALS_MAX: u32 = 100;

/// Data directories to remove when a signal ends this program.
static DATA_DIRS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// On a signal the servers die with us (their parent-death signal), their directories are removed here.
pub fn clean_up_on_signals() -> Result<(), Failure> {
    let clean = || {
        for directory in DATA_DIRS.lock().iter().flat_map(|directories| directories.iter()) {
            // servers still run and may make a file meanwhile; in the end we are leaving anyway
            let _ = (0..REMOVALS_MAX).try_for_each(|_| match std::fs::remove_dir_all(directory) {
                Err(_) if directory.exists() => Ok(()),
                _ => Err(()),
            });
        }
        std::process::exit(130);
    };
    ctrlc::set_handler(clean).map_err(|error| Failure::new(format!("setting the signal handler: {error}")))
}

/// How to start a server: a command line in which `{port}` and `{dir}` (an empty directory on disk) are filled in.
/// Words are separated by spaces; `""` stands for an empty word.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub name: String,
    pub command: String,
    pub dialect: Dialect,
}

impl Recipe {
    pub fn new(name: &str, command: impl Into<String>, dialect: Dialect) -> Self {
        Self { name: name.to_owned(), command: command.into(), dialect }
    }

    /// From `NAME=COMMAND`, a server that speaks memcached's language.
    pub fn from_argument(text: &str) -> Result<Self, Failure> {
        match text.split_once('=') {
            Some((name, command)) if !name.is_empty() => Ok(Self::new(name, command, Dialect::Memcached)),
            _ => Err(Failure::new(format!("--server takes NAME=COMMAND, not `{text}`"))),
        }
    }

    fn words(&self, port: u16, directory: Option<&Path>) -> Vec<String> {
        let directory = directory.map(|path| path.display().to_string()).unwrap_or_default();
        let words = self.command.split_whitespace().map(|word| match word {
            "\"\"" => String::new(),
            word => word.replace("{port}", &port.to_string()).replace("{dir}", &directory),
        });
        words.collect()
    }
}

/// A running server.
pub struct Server {
    pub name: String,
    pub dialect: Dialect,
    pub address: SocketAddr,
    /// What it says about itself.
    pub version: String,
    child: Child,
    _directory: Option<DataDirectory>,
}

impl Server {
    /// Starts the server on `cpu`, with its data under `data_parent`, and waits until it answers.
    pub fn start(recipe: &Recipe, cpu: usize, data_parent: &Path) -> Result<Self, Failure> {
        let mut server = Self::spawn(recipe, free_port()?, &cpu.to_string(), data_parent)?;
        server.wait_until_it_answers(&recipe.command)?;
        Ok(server)
    }

    /// Starts the server at this port on these cores (`taskset`'s list), and does not wait for it.
    pub fn spawn(recipe: &Recipe, port: u16, cpus: &str, data_parent: &Path) -> Result<Self, Failure> {
        let directory = if recipe.command.contains("{dir}") { Some(DataDirectory::make(data_parent)?) } else { None };
        let words = recipe.words(port, directory.as_ref().map(DataDirectory::path));
        let child = tied_to_us(cpus)
            .args(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(if recipe.dialect == Dialect::Etcd { Stdio::null() } else { Stdio::inherit() })
            .spawn()
            .during(format_args!("starting {}", recipe.command))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (name, dialect, version) = (recipe.name.clone(), recipe.dialect, String::new());
        Ok(Self { name, dialect, address, version, child, _directory: directory })
    }

    /// Waits until it has said its version.
    pub fn wait_until_it_answers(&mut self, command: &str) -> Result<(), Failure> {
        self.wait_until_listening(command)?;
        self.version = ask_version(self.address, self.dialect)?;
        Ok(())
    }

    /// The id of its process.
    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn wait_until_listening(&mut self, command: &str) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().during("waiting for the server")? {
                return Err(Failure::new(format!("`{command}` ended at once: {status}")));
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if began.elapsed() > START_TIMEOUT {
                return Err(Failure::new(format!("`{command}` does not listen on port {}", self.address.port())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Memory of the process that is resident now.
    pub fn resident_bytes(&self) -> Result<u64, Failure> {
        resident_bytes(self.process())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // both fail only when the process has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the server at this address says its version is.
///
/// # Errors
/// When it does not answer, or says none.
pub fn ask_version(address: SocketAddr, dialect: Dialect) -> Result<String, Failure> {
    let (question, prefix, end): (&[u8], _, _) = match dialect {
        Dialect::Memcached => (b"version\r\nquit\r\n", "VERSION ", '\r'),
        Dialect::Redis | Dialect::RedisWait(_) => (b"INFO server\r\nQUIT\r\n", "redis_version:", '\r'),
        Dialect::Etcd => {
            (b"GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n", "{\"etcdserver\":\"", '"')
        }
    };
    for line in ask(address, question)?.lines() {
        if let Some(version) = line.strip_prefix(prefix) {
            return Ok(version.split(end).next().unwrap_or_default().trim().to_owned());
        }
    }
    Err(Failure::new(format!("the server at {address} does not say its version")))
}

/// What the server at this address answers to a question after which it closes the connection.
///
/// # Errors
/// When it cannot be reached, or does not end its answer in time.
pub fn ask(address: SocketAddr, question: &[u8]) -> Result<String, Failure> {
    let what = format!("asking the server at {address}");
    let mut stream = TcpStream::connect(address).during(&what)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).during(&what)?;
    stream.write_all(question).during(&what)?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer).during(&what)?;
    Ok(answer)
}

/// A command that runs on these cores (`taskset`'s list) and that the kernel ends with us. Both wrappers exec, so the
/// process id stays.
pub fn tied_to_us(cpus: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", cpus]);
    command
}

/// CPU time of a whole process so far: every thread, io_uring's workers and threads that have ended included.
pub fn cpu_time(process: Pid) -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string(proc(process, "stat")).during("reading a server's CPU time")?;
    let ticks = ticks(&stat).ok_or_else(|| Failure::new("/proc/PID/stat is not what it was"))?;
    Ok(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}

/// Memory of a process that is resident now.
pub fn resident_bytes(process: Pid) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(proc(process, "status")).during("reading a server's memory")?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes << 10).ok_or_else(|| Failure::new("/proc/PID/status has no VmRSS"))
}

fn proc(process: Pid, file: &str) -> String {
    format!("/proc/{}/{file}", process.as_raw_nonzero())
}

/// utime + stime of a stat line. The command's name before them may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// A folder for a server's data, which is removed when this is dropped, and by a signal that ends this program.
pub struct DataDirectory(TempDir);

impl DataDirectory {
    /// An empty one in `parent`.
    pub fn make(parent: &Path) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("loadgen-").tempdir_in(parent);
        let directory = directory.during(format_args!("making a data directory in {}", parent.display()))?;
        if let Ok(mut directories) = DATA_DIRS.lock() {
            directories.push(directory.path().to_owned());
        }
        Ok(Self(directory))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if let Ok(mut directories) = DATA_DIRS.lock() {
            directories.retain(|path| path != self.0.path());
        }
    }
}

/// A port that nobody has right now.
pub fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("looking for a free port")?;
    Ok(listener.local_addr().during("looking for a free port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_any_name() {
        let stat = "42 (a ) (b c) S 1 42 42 0 -1 4194560 1 2 3 4 70 30 5 6 20 0 1 0 100 1000 200";
        assert_eq!(ticks(stat), Some(100));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn port_and_directory_are_filled_in() {
        let recipe = Recipe::new("a", "server -p {port} --save \"\"  --dir={dir}/x", Dialect::Redis);
        assert_eq!(recipe.words(7, Some(Path::new("/d"))), ["server", "-p", "7", "--save", "", "--dir=/d/x"]);
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported() {
        let recipe = Recipe::new("a", "false {port}", Dialect::Memcached);
        let failure = Server::start(&recipe, 0, Path::new("/nonexistent")).err().expect("fails").to_string();
        assert!(failure.contains("ended at once"), "{failure}");
    }
}
