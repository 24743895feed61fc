//! Small texts from others: headers of the file service, the kernel's command line, os-release,
//! lists of parameters, topics, versions, the list of revoked signers. The first byte selects the
//! parser.

use std::fs;
use std::path::Path;

use dau_handoff::parameters::ParameterSet;
use dau_package::Keyring;
use dau_protocol::Topic;
use dau_system::cmdline::CommandLine;
use dau_system::release::Release;

use crate::agent::answer::{classify, Answer, Have, Seen};
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

/// Input lines: status, Content-Length, Content-Range, ETag, Retry-After, then the length, total
/// and ETag of the partial file; at last Content-Type, Content-Encoding, Transfer-Encoding.
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
        content_type: line(8),
        content_encoding: line(9),
        transfer_encoding: line(10),
        etag: line(3),
        retry_after: line(4),
    };
    let have = Have {
        bytes: number(5).unwrap_or(0),
        total: number(6),
        etag: line(7),
    };
    match classify(seen, have) {
        // Data is appended to the partial file or starts anew.
        Answer::Body { from, total } => {
            assert!(from == 0 || from == have.bytes);
            assert!(from == 0 || have.total.is_none_or(|known| known == total));
            assert!(from == 0 || from < total, "a body of nothing");
        }
        Answer::Complete => assert_eq!(seen.status, 416),
        Answer::Again { reason, .. } => assert!(!reason.is_empty()),
        Answer::Suspect(reason) | Answer::End(reason) => assert!(!reason.message.is_empty()),
        Answer::StartOver(reason) => assert!(!reason.is_empty()),
        Answer::Unauthorized => assert!(matches!(seen.status, 401 | 403)),
    }
}

fn command_line(text: &str) {
    let line = CommandLine::parse(text);
    if let Some(reason) = line.reason {
        let again = CommandLine::parse(&format!("dau.reason={}", reason.word()));
        assert_eq!(again.reason, Some(reason));
    }
}

/// Checks that no parameter covers the kernel's files, the upgrade's own files or everything.
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
        for place in ["/proc", "/sys", "/dev", "/run", dau_handoff::layout::ROOT] {
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

/// Checks that a list with any invalid line is refused as a whole, never shortened.
fn revoked(text: &str) {
    let folder = tempfile::tempdir_in(file::folder()).expect("there is room");
    let root = crate::folder().join("keyring/root.pem");
    fs::copy(root, folder.path().join("root.pem")).expect("there is room");
    fs::write(folder.path().join("revoked"), text).expect("there is room");
    let loaded = Keyring::load(folder.path());
    assert_eq!(loaded.is_ok(), text.lines().all(is_understood));
}

/// Tells whether a line is empty or holds a whole SHA-256; independent of the keyring's parser.
fn is_understood(line: &str) -> bool {
    let ends_a_line = |letter: char| letter.is_control() || "\u{2028}\u{2029}".contains(letter);
    if line.replace('\t', " ").contains(ends_a_line) {
        return false;
    }
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
