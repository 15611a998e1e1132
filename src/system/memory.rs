//! What a process's memory costs, read from /proc.

use std::fs;
use std::io;

use nix::unistd::Pid;

/// Bytes of a process that no other process shares, including what was swapped out.
pub fn private_bytes(pid: Pid) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(sum_kilobytes(&text, &["Private_Clean:", "Private_Dirty:", "Private_Hugetlb:", "Swap:"]) * 1024)
}

fn sum_kilobytes(text: &str, keys: &[&str]) -> u64 {
    text.lines()
        .filter_map(|line| {
            let (key, rest) = line.split_once(' ')?;
            keys.contains(&key).then(|| rest.split_whitespace().next()?.parse::<u64>().ok()).flatten()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_private_memory() {
        assert!(private_bytes(Pid::this()).unwrap() > 4096);
    }

    #[test]
    fn only_the_named_lines_count() {
        let text = "Rss:  100 kB\nPrivate_Clean:   3 kB\nPrivate_Dirty:   4 kB\nSwapPss:  9 kB\n";
        assert_eq!(sum_kilobytes(text, &["Private_Clean:", "Private_Dirty:"]), 7);
    }
}
