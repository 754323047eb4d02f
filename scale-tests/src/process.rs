//! Programs that end when the test ends, and waiting for conditions.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a condition that ought to come true is waited for. Generous: it is an end to a test that cannot
/// succeed any more, not a measure of speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long to pause between two looks at a condition that only a program's own command line can show.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks at a condition until it holds and returns what it gave.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for and what was seen last.
pub fn wait_for<T>(what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
    wait_at_most(PATIENCE, what, condition)
}

/// [`wait_for`] with a time of its own.
///
/// # Panics
/// After `patience`, with what was waited for and what was seen last.
pub fn wait_at_most<T>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= deadline => {
                panic!("waited {patience:?} for {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(LOOK_AGAIN),
        }
    }
}

/// Thousands of sessions want thousands of descriptors, here and in the speakers, which inherit the limit.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a whole structure of ours that lives across them.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

/// A directory that is removed on drop, unless the test panics: then it stays, and says where.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes a directory that everybody may enter (some daemons drop their privileges).
    pub fn new(name: &str) -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Short, since Unix socket paths end at 107 bytes.
        let path = PathBuf::from(format!("/tmp/kst-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let directory = Directory { path };
        directory.open_to_all();
        directory
    }

    fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o777))
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()));
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, as text.
    pub fn file(&self, name: &str) -> String {
        self.path.join(name).to_str().expect("our own paths are ASCII").to_string()
    }

    /// Writes a file in it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.file(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{path}: {error}"));
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for inspection: {}", self.path.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

/// A program in the foreground, killed on drop, and by the kernel should this process die first.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command with standard output and error going to `NAME.log` in the directory.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, directory: &Directory) -> Process {
        let log = directory.path().join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("our own directory");
        let errors = output.try_clone().expect("a file descriptor");
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // A group of its own, so that a crash takes all of a daemon's processes at once.
        command.process_group(0);
        // SAFETY: prctl with these arguments takes no pointers and is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let program = command.get_program().to_owned();
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {} for {name}: {error}", program.display()));
        Process { name: name.to_string(), child, log }
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours")
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Ends it and everything it started at once, as a crash would: SIGKILL.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let id = libc::pid_t::try_from(self.child.id()).expect("a process identifier");
            // SAFETY: kill takes no pointers; the child is not reaped yet, so the group is still its own.
            unsafe { libc::kill(-id, libc::SIGKILL) };
            self.child.wait().expect("a child of ours");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the last lines of {}:\n{}\n---", self.name, tail.join("\n"));
        }
        self.kill();
    }
}

/// What a process used, from `/proc`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Resident memory now (VmRSS), in kB.
    pub resident_kb: u64,
    /// The most that was ever resident (VmHWM), in kB.
    pub resident_peak_kb: u64,
    /// User and system time of all threads, in milliseconds.
    pub cpu_ms: u64,
}

impl Usage {
    /// Reads it; all zero when the process is gone.
    fn of(process_id: u32) -> Usage {
        let status = std::fs::read_to_string(format!("/proc/{process_id}/status")).unwrap_or_default();
        let kb = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        let stat = std::fs::read_to_string(format!("/proc/{process_id}/stat")).unwrap_or_default();
        // The command may contain spaces; the fields are counted from behind it. utime and stime are the
        // 14th and 15th field of the line, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        Usage {
            resident_kb: kb("VmRSS:"),
            resident_peak_kb: kb("VmHWM:"),
            cpu_ms: (ticks(11) + ticks(12)) * 10,
        }
    }

    /// The sum over a process and everything it started: some speakers are several processes.
    pub fn of_group(group_id: u32) -> Usage {
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let in_group = ids.filter(|id| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let group = stat.rsplit(')').next().and_then(|fields| fields.split_whitespace().nth(2));
            group.and_then(|group| group.parse().ok()) == Some(group_id)
        });
        in_group.map(Usage::of).fold(Usage::default(), Usage::and)
    }

    /// The sum of two processes that make one speaker.
    pub(crate) fn and(self, other: Usage) -> Usage {
        Usage {
            resident_kb: self.resident_kb + other.resident_kb,
            resident_peak_kb: self.resident_peak_kb + other.resident_peak_kb,
            cpu_ms: self.cpu_ms + other.cpu_ms,
        }
    }
}
