//! Programs under test: started with a log and a group of their own, killed with everything they started, and
//! measured while they run.
//!
//! What a program uses is read from `/proc`. Memory is what `VmRSS` says, summed over its processes; pages that
//! these share are counted for each. Processor time comes in nanoseconds from the scheduler's figures of each
//! thread, because the ticks of 10 ms that `/proc/PID/stat` has are too coarse for a scenario of 100 ms. Threads
//! that ended are in the latter only, so whichever says more is taken.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How many lines of a log are shown to explain a failure.
const TAIL: usize = 20;

/// How long the list of a program's processes is taken to be right.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Lets this process, and those that it starts from now on, have as many descriptors as the system allows.
///
/// # Errors
/// When that is fewer than `wanted`, with the remedy.
pub fn raise_descriptor_limit(wanted: u64) -> Result<(), String> {
    let failed = |error| format!("cannot read or set the limit of open files: {error}");
    let (_, mut hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    // Root may go beyond the hard limit; for everybody else the answer is below.
    if hard < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        hard = wanted;
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    if hard < wanted {
        return Err(format!(
            "the scenario needs {wanted} open files and the hard limit is {hard}: run as root, or raise it with \
             `ulimit -Hn {wanted}` or LimitNOFILE= of the service"
        ));
    }
    Ok(())
}

/// Looks for a program where the shell does, and where daemons are although a user's PATH may lack it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let executable =
        |file: &PathBuf| file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&path).chain(system).map(|directory| directory.join(name)).find(executable)
}

/// A directory under `/tmp` that is removed on drop unless it is to be kept.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    keep: bool,
}

impl Directory {
    /// Makes one that nobody else can look into: there are session keys in it.
    ///
    /// # Errors
    /// When that does not work.
    pub fn new(name: &str, keep: bool) -> Result<Directory, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, and not in TMPDIR, since the paths of Unix sockets end at 107 bytes.
        let path = PathBuf::from(format!("/tmp/bgpblast-{}-{number}-{name}", std::process::id()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Directory { path, keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path.display())
    }

    /// Writes a file in it and returns its path.
    ///
    /// # Errors
    /// When that does not work.
    pub fn write(&self, name: &str, content: &str) -> Result<String, String> {
        let path = self.file(name);
        // OpenBGPD refuses a configuration that others can read.
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|error| format!("{path}: {error}"))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to be told, and what stays is small.
        if !self.keep {
            fs::remove_dir_all(&self.path).ok();
        }
    }
}

/// A program in the foreground, killed with everything that it started on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command; what it prints goes to `NAME.log` in the directory. The kernel kills the program when
    /// the calling *thread* ends, so that nothing is left behind when bgpblast is killed.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, directory: &Directory) -> Result<Process, String> {
        let log = directory.path().join(format!("{name}.log"));
        let open = || -> io::Result<(File, File)> {
            let output = File::options().create(true).append(true).open(&log)?;
            Ok((output.try_clone()?, output))
        };
        let (output, errors) = open().map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        // SAFETY: between fork and exec this makes one system call and touches no memory.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", command.get_program().display()))?;
        Ok(Process { child, log })
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The last lines that it printed.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group outlives its first process if that crashed; the number cannot be anybody else's while the child
        // is not reaped, nor while the group has a member.
        if let Ok(id) = i32::try_from(self.child.id()) {
            killpg(Pid::from_raw(id), Signal::SIGKILL).ok();
        }
        self.child.wait().ok();
    }
}

/// Runs a command of a daemon's tool and returns what it printed, or what it complained about.
pub(super) fn run(mut command: Command) -> Result<String, String> {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let told = words.join(" ".as_ref()).to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run `{told}`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{told}` ({}): {errors}{text}", output.status).trim_end().to_string())
}

/// What a program uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident memory now, in kB.
    pub resident_kb: u64,
    /// The most that each of its processes ever had resident, in kB, summed.
    pub peak_kb: u64,
    /// Processor time of all its threads so far, in seconds.
    pub cpu_s: f64,
}

/// What a process and everything that it started use now.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: u32) -> Result<Usage, String> {
    Ok(Meter::new(&[pid])?.read())
}

/// Measures a program over and over, cheaply: which processes it consists of is looked up once a second.
#[derive(Debug)]
pub struct Meter {
    roots: Vec<u32>,
    /// The processor time of every process that ever belonged to it: one that ends does not take its time back.
    cpu_s: HashMap<u32, f64>,
    members: Vec<u32>,
    looked: Option<Instant>,
}

impl Meter {
    /// Measures these processes and all their descendants.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn new(roots: &[u32]) -> Result<Meter, String> {
        if let Some(pid) = roots.iter().find(|pid| !Path::new(&format!("/proc/{pid}/stat")).exists()) {
            return Err(format!("there is no process {pid}"));
        }
        Ok(Meter { roots: roots.to_vec(), cpu_s: HashMap::new(), members: Vec::new(), looked: None })
    }

    /// What is used now.
    pub fn read(&mut self) -> Usage {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN) {
            self.members = descendants(&self.roots);
            self.looked = Some(Instant::now());
        }
        let mut usage = Usage::default();
        for pid in &self.members {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            usage.resident_kb += field(&status, "VmRSS:");
            usage.peak_kb += field(&status, "VmHWM:");
            let seen = self.cpu_s.entry(*pid).or_default();
            *seen = seen.max(cpu_s(*pid));
        }
        usage.cpu_s = self.cpu_s.values().sum();
        usage
    }
}

/// The number behind `key` in `/proc/PID/status`.
fn field(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The processor time of one process; nothing when it is gone.
fn cpu_s(pid: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds: u64 = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    let ticks: u64 = stat(pid).map_or(0, |stat| {
        // utime and stime are the 14th and 15th field of the line; the command is the second.
        stat.iter().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum()
    });
    // A tick is 10 ms for programs, whatever it is for the kernel.
    (nanoseconds as f64 / 1e9).max(ticks as f64 / 100.0)
}

/// The fields of `/proc/PID/stat` behind the command, which may hold spaces and parentheses.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit(')').next()?.split_whitespace().map(str::to_string).collect())
}

/// These processes and all their descendants.
fn descendants(roots: &[u32]) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pairs: Vec<(u32, u32)> = all
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut found = roots.to_vec();
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        let children: Vec<u32> = pairs
            .iter()
            .filter(|(pid, of)| *of == parent && !found.contains(pid))
            .map(|pair| pair.0)
            .collect();
        found.extend(children);
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_counts_children_and_keeps_the_time_of_those_that_ended() {
        let directory = Directory::new("usage", false).unwrap();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done'; sleep 60; true",
        ]);
        let process = Process::start("sh", command, &directory).unwrap();
        let mut meter = Meter::new(&[process.id()]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut last = Usage::default();
        while process.log_tail() != "done" && Instant::now() < deadline {
            meter.looked = None;
            let now = meter.read();
            assert!(now.cpu_s >= last.cpu_s, "{last:?}, then {now:?}");
            last = now;
            std::thread::yield_now();
        }
        assert!(last.cpu_s > 0.02, "{last:?}");
        assert!(last.resident_kb > 0 && last.peak_kb >= last.resident_kb);
        meter.looked = None;
        assert!(meter.read().cpu_s >= last.cpu_s);
        let id = process.id();
        drop(process);
        assert!(usage(id).is_err());
    }

    #[test]
    fn own_usage_can_be_read_and_a_missing_process_is_told() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_kb > 100 && usage.cpu_s > 0.0, "{usage:?}");
        assert_eq!(super::usage(u32::MAX - 1).unwrap_err(), "there is no process 4294967294");
    }

    #[test]
    fn the_limit_of_descriptors_is_raised_or_the_remedy_told() {
        raise_descriptor_limit(64).unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
        let told = raise_descriptor_limit(1 << 40).unwrap_err();
        assert!(told.contains("ulimit -Hn"), "{told}");
    }

    #[test]
    fn files_are_private_and_go_with_their_directory() {
        let directory = Directory::new("files", false).unwrap();
        let path = directory.write("key", "secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions(), fs::Permissions::from_mode(0o100600));
        drop(directory);
        assert!(!Path::new(&path).exists());
    }
}
