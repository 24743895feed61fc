//! Looks for running processes in `/proc/<pid>/comm`, see proc(5).

use std::fs;

/// The kernel keeps so many bytes of a process's name.
const COMM: usize = 15;

/// Whether a process of this name runs.
pub fn is_running(name: &str) -> bool {
    let short = name.get(..COMM).unwrap_or(name);
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    entries.flatten().any(|entry| {
        let comm = fs::read_to_string(entry.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == short)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_name() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        assert!(is_running(own.trim_end()));
        assert!(!is_running("no-such-process"));
    }
}
