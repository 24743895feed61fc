//! The agent's configuration: the image's file, a drop-in, and the site's own file, separated by
//! lines of `---`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::agent::settings::{Range, Settings, SettingsError};
use crate::file;

/// Separates the files of an input.
const SEPARATOR: &str = "\n---\n";
const NAMES: [&str; 3] = ["agent.toml", "agent.d/50-x.toml", "dau/identity/agent.toml"];

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        // Not text: refused with the name of the file.
        return with_files(&[data], |path| {
            let error = Settings::load(path).expect_err("it is no text");
            assert!(matches!(error, SettingsError::Read { .. }), "{error}");
        });
    };
    let files: Vec<&[u8]> = text
        .splitn(NAMES.len(), SEPARATOR)
        .map(str::as_bytes)
        .collect();
    with_files(&files, |path| match Settings::load(path) {
        Ok(settings) => in_bounds(&settings),
        Err(error) => assert!(names_what_is_wrong(&error), "{error}"),
    });
}

fn with_files(files: &[&[u8]], load: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir_in(file::folder()).expect("there is room");
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    for (name, content) in NAMES.iter().zip(files) {
        let file = path(name);
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("there is room");
        fs::write(file, content).expect("there is room");
    }
    load(&path(NAMES[0]));
}

fn names_what_is_wrong(error: &SettingsError) -> bool {
    match error {
        SettingsError::Read { path, .. } => !path.as_os_str().is_empty(),
        SettingsError::Parse { reason, .. } => !reason.is_empty(),
        SettingsError::Value {
            section,
            key,
            reason,
            ..
        } => !section.is_empty() && !key.is_empty() && !reason.is_empty(),
    }
}

/// Checks that accepted settings are within bounds.
fn in_bounds(settings: &Settings) {
    assert!(!settings.host.is_empty() && !settings.host.contains(['/', ' ']));
    let Settings {
        mqtt,
        download,
        health,
        reboot,
        watchdog,
        ..
    } = settings;
    let times = [
        mqtt.keep_alive,
        mqtt.connect_timeout,
        mqtt.heartbeat,
        download.connect_timeout,
        download.read_timeout,
        download.give_up_after,
        download.token_wait,
        health.link_timeout,
        health.timeout,
        health.check_timeout,
        watchdog.timeout,
        reboot.force_after.unwrap_or(Duration::MAX / 2),
    ];
    for time in times {
        assert!(time > Duration::ZERO, "a limit of no time at all");
    }
    for Range { min, max } in [mqtt.backoff, mqtt.result_repeat, download.retry] {
        assert!(Duration::ZERO < min && min <= max);
        assert!(Instant::now().checked_add(max).is_some());
    }
    assert!(mqtt.keep_alive >= Duration::from_secs(5));
    assert!(watchdog.timeout >= Duration::from_secs(10));
    assert!(download.attempts > 0 && settings.backups > 0);
    assert!(!reboot.command.is_empty());
}
