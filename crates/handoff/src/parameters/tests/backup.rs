//! The contents of a backup, and their restoration.

use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::*;

#[test]
fn settings_survive_and_the_rest_is_the_new_systems() {
    let terminal = Terminal::new("# the application\n/etc/app\n/var/lib/app/*.db\n");
    terminal.file("etc/app/settings.toml", "pickup = 5");
    terminal.file("etc/app/conf.d/.hidden", "kept");
    terminal.file("etc/other", "old");
    terminal.file("var/lib/app/points.db", "1");
    terminal.file("var/lib/app/cache", "2");
    let new = terminal.new_root();
    write(&new, "etc/app/settings.toml", "pickup = 1");
    write(&new, "etc/app/new-default", "shipped");
    write(&new, "etc/other", "new");

    let record = terminal.backup().unwrap();
    terminal.read_back(&record).unwrap();
    let restored = terminal.restore().unwrap();

    assert_eq!(read(&new, "etc/app/settings.toml"), "pickup = 5");
    assert_eq!(read(&new, "etc/app/conf.d/.hidden"), "kept");
    assert_eq!(read(&new, "etc/app/new-default"), "shipped");
    assert_eq!(read(&new, "etc/other"), "new");
    assert_eq!(read(&new, "var/lib/app/points.db"), "1");
    assert!(!new.join("var/lib/app/cache").exists());
    // app, conf.d, .hidden, settings.toml, points.db
    assert_eq!((record.entries, restored.entries), (5, 5));
    assert_eq!(restored.digest, record.digest);
    let expected = Comparison {
        digest: record.digest,
        changed: vec![],
    };
    assert_eq!(terminal.compare(&new), expected);
    assert_eq!(terminal.compare(&terminal.old()), expected);
}

#[test]
fn a_set_that_matches_nothing_is_an_empty_backup() {
    let terminal = Terminal::new("/etc/app\n/srv/*/x\n/var/**/y\n");
    let record = terminal.backup().unwrap();
    assert_eq!(record.entries, 0);
    terminal.read_back(&record).unwrap();
    let restored = terminal.restore().unwrap();
    assert_eq!((restored.entries, restored.digest), (0, record.digest));
    assert_eq!(fs::read_dir(terminal.new_root()).unwrap().count(), 0);
}

#[test]
fn patterns_match_as_in_a_shell() {
    let terminal = Terminal::new("/etc/a*/**/[xy].conf\n/etc/b?\n/etc/*/z\n");
    for path in [
        "etc/app/x.conf",
        "etc/app/deep/er/y.conf",
        "etc/app/z.conf",
        "etc/b1/below",
        "etc/b22",
        "etc/.dot/z",
        "etc/c/z/below",
    ] {
        terminal.file(path, "");
    }
    terminal.backup().unwrap();
    terminal.restore().unwrap();
    let new = terminal.new_root();
    let there = |path: &str| new.join(path).exists();
    for path in ["etc/app/x.conf", "etc/app/deep/er/y.conf", "etc/b1/below"] {
        assert!(there(path), "{path}");
    }
    assert!(there("etc/c/z/below"));
    for path in ["etc/app/z.conf", "etc/b22", "etc/.dot"] {
        assert!(!there(path), "{path}");
    }
}

#[test]
fn lists_that_name_no_parameters_are_refused_by_file_and_line() {
    for (line, reason) in [
        ("etc/app", "starts with '/'"),
        ("/etc/../proc", "'..'"),
        ("/", "spelled out"),
        ("/*/app", "spelled out"),
        ("/proc/sys/kernel", "/proc"),
        ("/sys", "/sys"),
        ("/dev/mmcblk0", "/dev"),
        ("/mnt", "/mnt/dau"),
        ("/mnt/dau/identity", "/mnt/dau"),
        ("/etc/[app", "malformed"),
        ("/etc/a**b", "malformed"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let list = write(dir.path(), "lists/app.list", &format!("# x\n\n{line}\n"));
        write(dir.path(), "lists/notes.txt", "not a list");
        let error = ParameterSet::load(dir.path(), Path::new("/lists")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{}:3: '{line}'", list.display())),
            "{text}"
        );
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn a_listed_link_to_a_folder_is_refused_and_one_to_a_file_is_kept() {
    for (list, refused) in [
        ("/etc/app\n", Some("/etc/app, ")),
        ("/etc/app/*\n", None),
        ("/etc/*\n", None),
        ("/etc/file\n/etc/nowhere\n", None),
    ] {
        let terminal = Terminal::new(list);
        terminal.file("var/app/settings", "7");
        for (target, link) in [
            ("/var/app", "app"),
            ("../var/app/settings", "file"),
            ("/none", "nowhere"),
        ] {
            symlink(target, terminal.old().join("etc").join(link)).unwrap();
        }
        match (terminal.backup(), refused) {
            (Ok(_), None) => {}
            (Err(error), Some(start)) => {
                assert!(error.to_string().starts_with(start), "{error}");
                assert!(!terminal.tar().exists());
            }
            other => panic!("{list}: {other:?}"),
        }
    }
}

#[test]
fn the_overlays_lists_are_sound() {
    let overlay = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../rootfs-overlay/example"
    ));
    let set = ParameterSet::load(overlay, Path::new(LISTS_DIR)).unwrap();
    let settings = Path::new("/etc/dau-example/settings.toml");
    assert!(set.patterns().iter().any(|pattern| pattern == settings));
}

#[test]
fn a_pattern_that_strays_to_mnt_takes_nothing_there() {
    let terminal = Terminal::new("/mnt/*/identity\n/etc/link/*\n");
    terminal.file("mnt/dau/identity/key.pem", "secret");
    terminal.file("mnt/data/identity/site", "7");
    symlink("/mnt/dau", terminal.old().join("etc/link")).unwrap();
    assert_eq!(terminal.backup().unwrap().entries, 2);
    terminal.restore().unwrap();
    assert!(!terminal.new_root().join("mnt/dau").exists());
    assert_eq!(read(&terminal.new_root(), "mnt/data/identity/site"), "7");
}

#[test]
fn folders_above_a_parameter_come_back_only_where_they_are_missing() {
    let terminal = Terminal::new("/var/lib/app/db\n/etc/app/settings\n");
    terminal.file("var/lib/app/db", "");
    terminal.file("etc/app/settings", "");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o7777;
    let set_mode = |path: PathBuf, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(terminal.old().join("var/lib/app"), 0o2750);
    set_mode(terminal.old().join("etc/app"), 0o700);
    let new = terminal.new_root();
    fs::create_dir_all(new.join("etc/app")).unwrap();
    set_mode(new.join("etc/app"), 0o755);
    assert_eq!(terminal.backup().unwrap().entries, 2);
    terminal.restore().unwrap();
    assert_eq!(mode(new.join("var/lib/app")), 0o2750);
    assert_eq!(mode(new.join("etc/app")), 0o755);
}

#[test]
fn links_are_kept_as_links_and_hard_links_together() {
    let terminal = Terminal::new("/etc/app\n");
    let first = terminal.file("etc/app/first", "same");
    fs::hard_link(&first, terminal.old().join("etc/app/second")).unwrap();
    fs::hard_link(&first, terminal.old().join("etc/elsewhere")).unwrap();
    symlink("/nowhere/./at//all", terminal.old().join("etc/app/link")).unwrap();
    let new = terminal.new_root();
    write(&new, "etc/app/link", "a file in the new system");
    symlink("settings", new.join("etc/app/first")).unwrap();

    let record = terminal.backup().unwrap();
    terminal.read_back(&record).unwrap();
    assert_eq!(terminal.restore().unwrap().digest, record.digest);
    let inode = |path: &str| fs::metadata(new.join(path)).unwrap().ino();
    assert_eq!(inode("etc/app/first"), inode("etc/app/second"));
    assert_eq!(read(&new, "etc/app/second"), "same");
    let target = fs::read_link(new.join("etc/app/link")).unwrap();
    assert_eq!(target.as_os_str(), "/nowhere/./at//all");
    assert_eq!(terminal.compare(&new).digest, record.digest);
    // A copy in place of the second name makes a different set.
    fs::remove_file(new.join("etc/app/second")).unwrap();
    fs::copy(new.join("etc/app/first"), new.join("etc/app/second")).unwrap();
    assert_eq!(
        terminal.compare(&new).changed,
        [Path::new("/etc/app/second")]
    );
}

#[test]
fn a_parameter_behind_a_link_goes_where_the_new_system_keeps_it() {
    let terminal = Terminal::new("/etc/app/settings\n");
    terminal.file("data/app/settings", "mine");
    fs::create_dir(terminal.old().join("etc")).unwrap_or_default();
    symlink("/data/app", terminal.old().join("etc/app")).unwrap();
    let new = terminal.new_root();
    fs::create_dir_all(new.join("etc")).unwrap();
    symlink("../opt/app", new.join("etc/app")).unwrap();
    terminal.backup().unwrap();
    terminal.restore().unwrap();
    assert_eq!(read(&new, "opt/app/settings"), "mine");
    assert!(new.join("etc/app").is_symlink());
    assert_eq!(terminal.compare(&new).changed, [] as [PathBuf; 0]);
}

#[test]
fn a_folder_in_the_place_of_a_parameter_is_named() {
    let terminal = Terminal::new("/etc/app\n");
    terminal.file("etc/app/rules", "a file");
    fs::create_dir_all(terminal.new_root().join("etc/app/rules")).unwrap();
    terminal.backup().unwrap();
    let text = terminal.restore().unwrap_err().to_string();
    assert!(
        text.contains("/etc/app/rules was a file and is a folder"),
        "{text}"
    );
}

#[test]
fn every_kind_of_change_shows_in_the_comparison() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 7] = [
        ("content", |path| fs::write(path, "other").unwrap()),
        ("mode", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("time", |path| {
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
        }),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("link", |path| {
            fs::remove_file(path).unwrap();
            symlink("x", path).unwrap();
        }),
        ("socket", |path| {
            fs::remove_file(path).unwrap();
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }),
    ];
    for (what, change) in changes {
        let terminal = Terminal::new("/etc/app\n");
        let path = terminal.file("etc/app/settings", "these");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let record = terminal.backup().unwrap();
        change(&path);
        let comparison = terminal.compare(&terminal.old());
        assert_eq!(
            comparison.changed,
            [Path::new("/etc/app/settings")],
            "{what}"
        );
        assert_ne!(comparison.digest, record.digest, "{what}");
    }
}

#[test]
fn a_new_file_beside_the_parameters_is_no_change_of_them() {
    let terminal = Terminal::new("/etc/app\n");
    terminal.file("etc/app/settings", "");
    let record = terminal.backup().unwrap();
    terminal.file("etc/app/lock", "");
    assert_eq!(terminal.compare(&terminal.old()).digest, record.digest);
}

#[test]
fn a_file_that_never_rests_is_named() {
    let terminal = Terminal::new("/var/app\n");
    let path = terminal.file("var/app/growing.log", "");
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (done, path) = (done.clone(), path.clone());
            std::thread::spawn(move || {
                let mut file = fs::File::options().append(true).open(path).unwrap();
                while !done.load(Ordering::Relaxed) {
                    std::io::Write::write_all(&mut file, b"line\n").unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            })
        })
        .collect();
    while fs::metadata(&path).unwrap().len() == 0 {
        std::thread::yield_now();
    }
    // On a busy machine no writer may get its turn: then the file rests, and the backup is right to succeed.
    let error = (0..100).find_map(|_| {
        let result = terminal.backup().err();
        if result.is_none() {
            fs::remove_file(terminal.tar()).unwrap();
        }
        result
    });
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    let text = error.unwrap().to_string();
    assert!(text.starts_with("/var/app/growing.log changes"), "{text}");
    assert!(!terminal.tar().exists());
}

#[test]
fn files_that_come_and_go_do_not_stop_a_backup() {
    let terminal = Terminal::new("/var/app\n");
    terminal.file("var/app/settings", "kept");
    let done = Arc::new(AtomicBool::new(false));
    let churn = std::thread::spawn({
        let (done, folder) = (done.clone(), terminal.old().join("var/app"));
        move || {
            while !done.load(Ordering::Relaxed) {
                for name in ["a", "n", "z"] {
                    fs::write(folder.join(name), "x").unwrap();
                    fs::remove_file(folder.join(name)).unwrap();
                }
            }
        }
    });
    let results: Vec<_> = (0..5).map(|_| terminal.backup()).collect();
    done.store(true, Ordering::Relaxed);
    churn.join().unwrap();
    for record in results {
        record.unwrap();
    }
    terminal.restore().unwrap();
    assert_eq!(read(&terminal.new_root(), "var/app/settings"), "kept");
}

#[test]
fn a_second_backup_replaces_the_first() {
    let terminal = Terminal::new("/etc/app\n");
    let path = terminal.file("etc/app/settings", "one");
    let first = terminal.backup().unwrap();
    fs::write(path, "two").unwrap();
    let second = terminal.backup().unwrap();
    assert!(terminal.read_back(&first).is_err());
    terminal.read_back(&second).unwrap();
    let names = fs::read_dir(terminal.tar().parent().unwrap())
        .unwrap()
        .count();
    assert_eq!(names, 2, "left-over temporary files");
}

#[test]
fn where_there_is_no_other_os_one_file_is_left_out() {
    let terminal = Terminal::new("/app\nrequired /app/protection\n");
    for name in ["a/b", "mine", "protection", "z"] {
        terminal.file(&format!("app/{name}"), name);
    }
    let links = [("mine", "n"), ("protection", "q")];
    for (first, other) in links {
        let old = terminal.old().join("app");
        fs::hard_link(old.join(first), old.join(other)).unwrap();
    }
    let record = terminal.backup().unwrap();
    // Three ways in which a file cannot be restored: a file in a folder's place, and vice versa.
    let new = terminal.new_root();
    write(&new, "app/a", "a file");
    write(&new, "app/mine/full", "a folder");
    terminal.restore().unwrap_err();
    let restored = restore_what_can_be(&terminal.tar(), &new).unwrap();
    let lacking: Vec<_> = restored
        .lacking
        .first
        .iter()
        .map(|(path, _)| path)
        .collect();
    // The second name of a file that is left out is missing, too.
    let expected = ["/app/a", "/app/a/b", "/app/mine", "/app/n"].map(Path::new);
    assert_eq!(lacking, expected);
    assert_eq!(restored.lacking.count(), 4);
    assert_eq!(read(&new, "app/protection"), "protection");
    assert_eq!(read(&new, "app/q"), "protection");
    assert_eq!(read(&new, "app/z"), "z");
    let compared = compare_restored(&new, &terminal.tar(), &restored).unwrap();
    assert_eq!(
        (compared.changed, compared.digest),
        (vec![], restored.digest)
    );
    assert_ne!(record.digest, terminal.compare(&new).digest);

    fs::remove_file(new.join("app/protection")).unwrap();
    write(&new, "app/protection/full", "a folder");
    let error = restore_what_can_be(&terminal.tar(), &new).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("/app/protection was a file"), "{text}");
}
