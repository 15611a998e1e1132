//! What a server costs the machine: its processes, their memory, and what they have used up when they are gone.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};

/// A process and all that descend from it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        // The kernel lists children by the thread that made them.
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    found
}

/// Memory of these processes in kB, with pages that several share counted as parts (proportional set size); those
/// that have gone count as nothing. None where the kernel tells nothing of any.
pub fn pss_kb(pids: &[u32]) -> Option<u64> {
    let of = |pid: &u32| pss_of(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?);
    let each: Vec<u64> = pids.iter().filter_map(of).collect();
    (!each.is_empty()).then(|| each.iter().sum())
}

fn pss_of(rollup: &str) -> Option<u64> {
    rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_whitespace().next()?.parse().ok()
}

/// Processor time of a process and of those that it has waited for, in the kernel's ticks; 0 if it has gone.
pub fn cpu_ticks(pid: u32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(0, |stat| ticks_of(&stat))
}

/// utime, stime, cutime and cstime of proc(5): fields 14 to 17, the second of which is a name in brackets.
fn ticks_of(stat: &str) -> u64 {
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0 };
    rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// What processes have used up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time.
    pub cpu_us: f64,
    /// Context switches, voluntary or not.
    pub switches: f64,
    /// Page faults without I/O.
    pub faults: f64,
}

impl Usage {
    /// Of all processes that this one has waited for, and that those have waited for.
    pub fn of_the_dead() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Self::default() };
        let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
        Self {
            cpu_us: us(usage.user_time()) + us(usage.system_time()),
            switches: (usage.voluntary_context_switches() + usage.involuntary_context_switches()) as f64,
            faults: usage.minor_page_faults() as f64,
        }
    }

    /// What was used up beyond `other`.
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu_us: self.cpu_us - other.cpu_us,
            switches: self.switches - other.switches,
            faults: self.faults - other.faults,
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_us: self.cpu_us + other.cpu_us,
            switches: self.switches + other.switches,
            faults: self.faults + other.faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_holds_the_children_and_their_memory() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let pids = tree(std::process::id());
        let has_child = pids.contains(&child.id());
        let memory = pss_kb(&[child.id()]);
        let _ = child.kill();
        let _ = child.wait();
        assert!(has_child, "{pids:?}");
        assert!(memory.is_some_and(|kb| kb > 0));
        assert_eq!(pss_kb(&[]), None);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 200 0 0 7 5 30 2 20 0 1 0 99 1000 50";
        assert_eq!(ticks_of(stat), 44);
        assert_eq!(ticks_of("gone"), 0);
    }

    #[test]
    fn the_rollup_is_read() {
        assert_eq!(pss_of("55d0-7ffe [rollup]\nRss:  100 kB\nPss:       42 kB\nPss_Dirty: 7 kB\n"), Some(42));
        assert_eq!(pss_of("Rss: 1 kB\n"), None);
    }
}
