//! Network namespaces without root: a user namespace of our own, and in it one network namespace a host.
//!
//! A namespace lives as long as something refers to it; here that is an open descriptor. Programs enter
//! one by being spawned from a thread that has entered it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

/// Gives the process the rights that the lab needs: root stays as it is, everyone else becomes root of a
/// user namespace. Must run before the process has a second thread. Returns whether it made a namespace; the error
/// says what to do.
pub fn become_root() -> Result<bool, String> {
    if geteuid().is_root() {
        return Ok(false);
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| {
        format!(
            "this system does not let you make a user namespace ({error}). Either run the lab as root \
             (`sudo kulan lab`), or allow it:\n  \
             sysctl -w kernel.unprivileged_userns_clone=1            (Debian)\n  \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0  (Ubuntu 24.04 and later)\n  \
             sysctl -w user.max_user_namespaces=15000                (where it is 0)"
        )
    })?;
    let map = |file: &str, text: String| {
        fs::write(file, text).map_err(|error| format!("cannot write {file}: {error}; run the lab as root"))
    };
    map("/proc/self/setgroups", "deny".into())?;
    map("/proc/self/uid_map", format!("0 {user} 1"))?;
    map("/proc/self/gid_map", format!("0 {group} 1"))?;
    Ok(true)
}

/// One network namespace.
pub struct Netns {
    file: File,
}

impl Netns {
    /// Makes a namespace that forwards packets and has its loopback interface up.
    pub fn new() -> Result<Netns, String> {
        // A thread has a network namespace of its own after unshare, and the caller keeps the one it had.
        let file = thread::spawn(|| -> io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/fib_multipath_hash_policy"] {
                fs::write(format!("/proc/sys/net/{switch}"), "1")?;
            }
            File::open("/proc/thread-self/ns/net")
        })
        .join()
        .map_err(|_| "the thread that makes a network namespace panicked".to_string())?
        .map_err(|error| format!("cannot make a network namespace: {error}; run the lab as root"))?;
        let netns = Netns { file };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// A path that names the namespace to other programs as long as this process runs.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Runs a function inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                    work()
                })
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the work in the namespace panicked")))
        })
    }

    /// Starts a program inside the namespace.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())
    }

    /// Runs lines of the `ip` command inside the namespace and returns what it printed.
    pub fn ip(&self, lines: &str) -> Result<String, String> {
        let run = || -> io::Result<Output> {
            let mut child = self.spawn(
                Command::new("ip")
                    .args(["-batch", "-"])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped()),
            )?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(lines.as_bytes())?;
            }
            child.wait_with_output()
        };
        let output = run().map_err(|error| format!("cannot run `ip`: {error}; install iproute2"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("`ip {lines}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
    }
}
