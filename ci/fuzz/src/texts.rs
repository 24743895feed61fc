//! Small texts that others write: headers of the file service, the kernel's command line, os-release, lists of parameters, topics,
//! versions, the list of revoked signers. The first byte says which.

use std::fs;
use std::path::Path;

use dau_handoff::parameters::ParameterSet;
use dau_package::Keyring;
use dau_protocol::Topic;
use dau_system::cmdline::CommandLine;
use dau_system::release::Release;

use crate::agent::answer::{judge, Answer, Have, Seen};
use crate::file;
use crate::manifest;

pub fn check(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else {
        return;
    };
    let text = &*String::from_utf8_lossy(text);
    match kind {
        b'h' => headers(text),
        b'c' => command_line(text),
        b'o' => drop(Release::parse(text)),
        b'p' => parameter_list(text),
        b't' => topic(text),
        b'v' => {
            let (left, right) = text.split_once('\n').unwrap_or((text, ""));
            manifest::order(left, right);
        }
        b'r' => revoked(text),
        _ => {}
    }
}

/// Lines: status, Content-Length, Content-Range, ETag, Retry-After, then what is there already and of how much.
fn headers(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let line = |number: usize| lines.get(number).copied().filter(|line| !line.is_empty());
    let number = |at: usize| line(at).and_then(|line| line.parse::<u64>().ok());
    let seen = Seen {
        status: number(0)
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(206),
        content_length: line(1),
        content_range: line(2),
        etag: line(3),
        retry_after: line(4),
    };
    let have = Have {
        bytes: number(5).unwrap_or(0),
        total: number(6),
        etag: line(7),
    };
    match judge(seen, have) {
        // Nothing is written but behind what is there, or from the start.
        Answer::Body { from, total } => {
            assert!(from == 0 || from == have.bytes);
            assert!(from == 0 || have.total.is_none_or(|known| known == total));
            assert!(from == 0 || from < total, "a body of nothing");
        }
        Answer::Complete => assert_eq!(seen.status, 416),
        Answer::Again { reason, .. } | Answer::End { reason, .. } => assert!(!reason.is_empty()),
        Answer::StartOver(reason) => assert!(!reason.is_empty()),
        Answer::Unauthorized => assert!(matches!(seen.status, 401 | 403)),
    }
}

fn command_line(text: &str) {
    let line = CommandLine::parse(text);
    for slot in [line.kernel, line.recovery].into_iter().flatten() {
        assert!(matches!(slot, 'a' | 'b'));
    }
    if let Some(reason) = line.reason {
        let again = CommandLine::parse(&format!("dau.reason={}", reason.word()));
        assert_eq!(again.reason, Some(reason));
    }
}

/// Nothing of the kernel's, the upgrade's own or of everything is a parameter.
fn parameter_list(text: &str) {
    let root = tempfile::tempdir_in(file::folder()).expect("there is room");
    fs::write(root.path().join("x.list"), text).expect("there is room");
    let Ok(set) = ParameterSet::load(root.path(), Path::new("/")) else {
        return;
    };
    for pattern in set.patterns() {
        let shown = pattern.display();
        assert!(
            pattern.is_absolute() && !pattern.iter().any(|part| part == ".."),
            "{shown}"
        );
        assert!(pattern.components().count() > 1, "all of the root: {shown}");
        for place in ["/proc", "/sys", "/dev", "/run", "/mnt/dau"] {
            assert!(
                !pattern.starts_with(place) && !Path::new(place).starts_with(pattern),
                "{shown}"
            );
        }
    }
}

fn topic(text: &str) {
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
        assert!(!topic.device.contains(['/', '+', '#']));
    }
}

/// A list that cannot be understood, in any of its lines, trusts nobody: it is never a shorter list.
fn revoked(text: &str) {
    let folder = tempfile::tempdir_in(file::folder()).expect("there is room");
    let root = crate::folder().join("keyring/root.pem");
    fs::copy(root, folder.path().join("root.pem")).expect("there is room");
    fs::write(folder.path().join("revoked"), text).expect("there is room");
    let loaded = Keyring::load(folder.path());
    assert_eq!(loaded.is_ok(), text.lines().all(is_understood));
}

/// Nothing, or what is revoked and a whole SHA-256; written apart from the keyring's parser, which it judges.
fn is_understood(line: &str) -> bool {
    let said = line.split('#').next().unwrap_or_default();
    match said.split_whitespace().collect::<Vec<_>>()[..] {
        [] => true,
        ["certificate" | "key", digits] => {
            let mut digits = digits.chars().filter(|digit| *digit != ':');
            digits
                .by_ref()
                .take(64)
                .filter(char::is_ascii_hexdigit)
                .count()
                == 64
                && digits.next().is_none()
        }
        _ => false,
    }
}
