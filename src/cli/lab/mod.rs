//! `kulan lab`: two routers and two nodes, all kulan, on one machine, without root.
//!
//! Every host is a network namespace; every link is a veth pair. Each node is connected to both routers
//! and announces its pod range; what each learns goes into its kernel's table, a packet goes from pod to
//! pod, and then a node is taken away. The lab needs only this binary and `ip`.

pub mod netns;
mod ping;

use std::fs;
use std::io::{self, IsTerminal};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use netns::Netns;

/// How long one step may take before the lab gives up.
const STEP_WAIT_MAX: Duration = Duration::from_secs(15);

/// How often a condition is looked at while the lab waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A host of the lab.
struct Host {
    name: &'static str,
    asn: u32,
    router_id: Ipv4Addr,
    /// The pod range that a node announces.
    pods: Option<&'static str>,
    netns: Netns,
    directory: PathBuf,
    daemon: Option<Child>,
}

/// One end of each link: the node, the router, and the third octet of the link's /24.
const LINKS: [(usize, usize, u8); 4] = [(2, 0, 11), (2, 1, 12), (3, 0, 21), (3, 1, 22)];
const ROUTERS: [usize; 2] = [0, 1];
const NODES: [usize; 2] = [2, 3];
const FIRST_POD: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 244, 1, 1), Ipv4Addr::new(10, 244, 2, 1)];
const SECOND_NODE_PODS: &str = "10.244.2.0/24";

/// Runs the lab; with `keep` it stays up until Enter is pressed or the input ends. The error is for a person.
pub fn run(keep: bool) -> Result<(), String> {
    let in_user_namespace = netns::become_root()?;
    let begun = Instant::now();
    let mut lab = Lab::new()?;
    println!("{}", DRAWING);
    lab.step("build four network namespaces and four links", Lab::connect)?;
    lab.step("start kulan in each of them", Lab::start)?;
    lab.step("bring up 4 eBGP sessions", Lab::await_sessions)?;
    lab.step("learn the other node's pod range over both routers", Lab::await_routes)?;
    lab.show()?;
    lab.step("ping from pod 10.244.1.1 to pod 10.244.2.1", Lab::ping)?;
    if keep {
        lab.keep(in_user_namespace)?;
    }
    lab.step("take node2 away: its routes leave every kernel table", Lab::lose_node)?;
    print!("\nnode1's kernel table without node2:\n{}", indented(&lab.hosts[2].kernel_routes()?));
    lab.summary(begun.elapsed());
    Ok(())
}

const DRAWING: &str = "
    router1  AS 65000 -----+      +----- router2  AS 65000
        |                   \\    /                  |
        |                    \\  /                   |
        |                     \\/                    |
        |                     /\\                    |
        |                    /  \\                   |
    node1  AS 65101 --------+    +------- node2  AS 65102
    pods 10.244.1.0/24                    pods 10.244.2.0/24
";

/// The hosts, and what the steps took.
struct Lab {
    hosts: Vec<Host>,
    directory: PathBuf,
    steps: Vec<(&'static str, Duration, String)>,
}

impl Lab {
    fn new() -> Result<Lab, String> {
        let directory = std::env::temp_dir().join(format!("kulan-lab-{}", std::process::id()));
        fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        Ok(Lab { hosts: Vec::new(), directory, steps: Vec::new() })
    }

    /// Does one step and says how long it took and what came of it.
    fn step(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&mut Lab) -> Result<String, String>,
    ) -> Result<(), String> {
        let spinner = ProgressBar::new_spinner();
        spinner.set_style(ProgressStyle::default_spinner());
        spinner.set_message(what);
        spinner.enable_steady_tick(Duration::from_millis(100));
        let begun = Instant::now();
        let outcome = work(self);
        let took = begun.elapsed();
        spinner.finish_and_clear();
        let said = outcome.map_err(|error| format!("{what}: {error}"))?;
        println!("{:>7.3} s  {what}: {said}", took.as_secs_f64());
        self.steps.push((what, took, said));
        Ok(())
    }

    fn connect(&mut self) -> Result<String, String> {
        let plan: [(&'static str, u32, Option<&'static str>); 4] = [
            ("router1", 65000, None),
            ("router2", 65000, None),
            ("node1", 65101, Some("10.244.1.0/24")),
            ("node2", 65102, Some(SECOND_NODE_PODS)),
        ];
        for (index, (name, asn, pods)) in plan.into_iter().enumerate() {
            let directory = self.directory.join(name);
            fs::create_dir_all(&directory)
                .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
            self.hosts.push(Host {
                name,
                asn,
                router_id: Ipv4Addr::new(10, 0, 0, index as u8 + 1),
                pods,
                netns: Netns::new()?,
                directory,
                daemon: None,
            });
        }
        for (node, router, net) in LINKS {
            let (node, router) = (&self.hosts[node], &self.hosts[router]);
            let (node_link, router_link) = (router.name, node.name);
            node.netns.ip(&format!(
                "link add {node_link} type veth peer name {router_link} netns {}\n\
                 addr add 192.168.{net}.2/24 dev {node_link}\nlink set {node_link} up",
                router.netns.path()
            ))?;
            router
                .netns
                .ip(&format!("addr add 192.168.{net}.1/24 dev {router_link}\nlink set {router_link} up"))?;
        }
        for (node, pod) in NODES.into_iter().zip(FIRST_POD) {
            self.hosts[node].netns.ip(&format!("addr add {pod}/32 dev lo"))?;
        }
        Ok("connected".into())
    }

    fn start(&mut self) -> Result<String, String> {
        for index in 0..self.hosts.len() {
            let config = self.config(index);
            self.hosts[index].start(&config)?;
        }
        for host in &self.hosts {
            host.await_that("the daemon answers", || host.show(&["summary"]).map(|_| true))?;
        }
        Ok("4 daemons answer".into())
    }

    /// The configuration of one host: what its owner would write.
    fn config(&self, index: usize) -> String {
        let host = &self.hosts[index];
        let mut text = format!(
            "[speaker]\nasn = {}\nrouter_id = \"{}\"\n\n[api]\ngrpc = [\"unix:{}\"]\n\n\
             [[domain]]\nname = \"default\"\ninstall = true\nmax_paths = 2\n",
            host.asn,
            host.router_id,
            host.socket().display()
        );
        for (node, router, net) in LINKS {
            let (end, other) = match index {
                _ if index == node => (1, router),
                _ if index == router => (2, node),
                _ => continue,
            };
            text += &format!(
                "\n[[peer]]\naddress = \"192.168.{net}.{end}\"\nasn = {}\ndescription = \"{}\"\n\
                 hold_time_s = 9\nimport = \"accept\"\nexport = \"accept\"\n",
                self.hosts[other].asn, self.hosts[other].name
            );
        }
        if let Some(pods) = host.pods {
            text += &format!("\n[[network]]\nprefix = \"{pods}\"\n");
        }
        text
    }

    fn await_sessions(&mut self) -> Result<String, String> {
        for router in ROUTERS {
            let host = &self.hosts[router];
            host.await_that("both sessions are established", || {
                let answer = host.show(&["peers"])?;
                let peers = answer.as_array().map_or(&[][..], Vec::as_slice);
                Ok(peers.len() == 2 && peers.iter().all(|peer| peer["state"] == "Established"))
            })?;
        }
        Ok("established".into())
    }

    fn await_routes(&mut self) -> Result<String, String> {
        for (node, other) in [(2, SECOND_NODE_PODS), (3, "10.244.1.0/24")] {
            let host = &self.hosts[node];
            host.await_that("the kernel has the route over both routers", || {
                Ok(host.kernel_route(other)?.matches("via").count() == 2)
            })?;
        }
        Ok("2 next hops in the kernel".into())
    }

    /// What an operator would look at.
    fn show(&self) -> Result<(), String> {
        for (host, what) in [(0, &["peers"][..]), (2, &["routes"]), (2, &["fib"])] {
            let host = &self.hosts[host];
            println!("\n{}$ kulan show {}", host.name, what.join(" "));
            print!("{}", indented(&host.kulan(what, false)?));
        }
        println!("\nnode1$ ip route");
        println!("{}", indented(&self.hosts[2].kernel_routes()?));
        Ok(())
    }

    fn ping(&mut self) -> Result<String, String> {
        let took = self.hosts[2].netns.run(|| {
            let mut outcome = ping::ping(FIRST_POD[0], FIRST_POD[1], 1);
            // The first packet on a link may be lost while the neighbour is looked up.
            for sequence in 2..=3 {
                if outcome.is_err() {
                    outcome = ping::ping(FIRST_POD[0], FIRST_POD[1], sequence);
                }
            }
            outcome
        });
        took.map(|took| format!("reply in {:.3} ms", took.as_secs_f64() * 1000.0))
            .map_err(|error| format!("no reply: {error}"))
    }

    fn lose_node(&mut self) -> Result<String, String> {
        self.hosts[3].stop();
        for host in &self.hosts[..3] {
            host.await_that("the route is gone", || Ok(host.kernel_route(SECOND_NODE_PODS)?.is_empty()))?;
        }
        Ok("gone from 3 tables".into())
    }

    fn keep(&self, in_user_namespace: bool) -> Result<(), String> {
        let kulan = this_program()?;
        println!("\nThe lab stays up. In another terminal, for example:\n");
        for host in &self.hosts {
            println!("  {} --target unix:{} show routes", kulan.display(), host.socket().display());
        }
        // Entering the user namespace one is in already is an error.
        let user = if in_user_namespace { " -U --preserve-credentials" } else { "" };
        println!();
        for host in &self.hosts {
            if let Some(daemon) = &host.daemon {
                println!("  nsenter -t {}{user} -n ip route   # {}", daemon.id(), host.name);
            }
        }
        println!("\n  {}/HOST/kulan.toml and kulan.log\n", self.directory.display());
        if io::stdin().is_terminal() {
            println!("Press Enter to take node2 away and end the lab.");
        }
        io::stdin().read_line(&mut String::new()).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn summary(&self, total: Duration) {
        println!("\n{:<60}  {:>9}", "step", "time");
        for (what, took, _) in &self.steps {
            println!("{what:<60}  {:>7.3} s", took.as_secs_f64());
        }
        println!("{:<60}  {:>7.3} s", "everything", total.as_secs_f64());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.stop();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Host {
    fn socket(&self) -> PathBuf {
        self.directory.join("kulan.sock")
    }

    fn start(&mut self, config: &str) -> Result<(), String> {
        let path = self.directory.join("kulan.toml");
        fs::write(&path, config).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        let log = fs::File::create(self.directory.join("kulan.log")).map_err(|error| error.to_string())?;
        let mut command = Command::new(this_program()?);
        command.args(["run", "--config"]).arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = self.netns.spawn(&mut command);
        self.daemon = Some(daemon.map_err(|error| format!("{}: cannot start kulan: {error}", self.name))?);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// What `kulan show ...` says.
    fn kulan(&self, what: &[&str], json: bool) -> Result<String, String> {
        let mut command = Command::new(this_program()?);
        command.arg("--target").arg(format!("unix:{}", self.socket().display())).arg("show").args(what);
        if json {
            command.arg("--json");
        }
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
        }
    }

    fn show(&self, what: &[&str]) -> Result<Value, String> {
        serde_json::from_str(&self.kulan(what, true)?).map_err(|error| error.to_string())
    }

    fn kernel_routes(&self) -> Result<String, String> {
        self.netns.ip("route show")
    }

    fn kernel_route(&self, prefix: &str) -> Result<String, String> {
        self.netns.ip(&format!("route show {prefix}"))
    }

    /// Waits until a condition holds. An error counts as "not yet" and is told if the time runs out.
    fn await_that(&self, what: &str, holds: impl Fn() -> Result<bool, String>) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let seen = holds();
            if seen == Ok(true) {
                return Ok(());
            }
            if begun.elapsed() > STEP_WAIT_MAX {
                let log = fs::read_to_string(self.directory.join("kulan.log")).unwrap_or_default();
                let reason = seen.err().unwrap_or_else(|| "it did not come true".into());
                return Err(format!(
                    "{}: waited {} s for: {what}: {reason}\n{}",
                    self.name,
                    STEP_WAIT_MAX.as_secs(),
                    indented(&log)
                ));
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find my own program file: {error}"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
