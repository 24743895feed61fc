//! The operators' client.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::thread;

use crate::site::Site;

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(all).unwrap()
}

#[test]
fn an_order_is_followed_to_its_end() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let path = site.package_file("1.1.0", 100_000);
    for (code, outcome, status) in [(200, "success", 0), (500, "rolled-back", 1)] {
        let args = [
            "order",
            "--terminal",
            "t1",
            "--package",
            path.to_str().unwrap(),
            "--type",
            "kernel",
            "--wait",
        ];
        let mut command = site.command(&args);
        let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let job = terminal.take_order().job_id;
        terminal.progress(job, "downloading", 50, false);
        assert!(lines.any(|line| line.unwrap().contains("t1: downloading 50 %")));
        terminal.finish(job, code, outcome);
        let said: Vec<String> = lines.map(Result::unwrap).collect();
        let said = said.join("\n");
        assert_eq!(follower.wait().unwrap().code(), Some(status), "{said}");
        for part in [outcome, "version: 1.0.0 -> 1.1.0"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    let jobs = text(&site.cli(&["jobs"]));
    assert!(
        jobs.contains("success") && jobs.contains("rolled-back"),
        "{jobs}"
    );
}

#[test]
fn many_are_followed_together() {
    let site = Site::start();
    let (mut one, mut two) = (site.terminal("t1"), site.terminal("t2"));
    site.package("1.1.0");
    let args = ["order", "--all", "--package", "1.1.0", "--wait"];
    let output = thread::scope(|scope| {
        let follower = scope.spawn(|| site.cli(&args));
        let job = one.take_order().job_id;
        one.finish(job, 200, "success");
        let job = two.take_order().job_id;
        two.finish(job, 403, "refused");
        follower.join().unwrap()
    });
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("1 of 2 succeeded") && said.contains("it is a refused"),
        "{said}"
    );
}

#[test]
fn lists_and_errors_are_for_people() {
    let site = Site::start();
    let _terminal = site.terminal("t1");
    let path = site.package_file("1.1.0", 1000);
    let said = text(&site.cli(&["upload", path.to_str().unwrap()]));
    assert!(
        said.starts_with("package 1: dau-test-product-1.1.0-kernel.dau"),
        "{said}"
    );
    let said = text(&site.cli(&["terminals"]));
    assert!(
        said.contains("t1") && said.contains("online") && said.contains("1.0.0"),
        "{said}"
    );
    let said = site.cli(&["packages", "--json"]).stdout;
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(said[0]["version"], "1.1.0");

    let cases: [(&[&str], &str); 5] = [
        (
            &["order", "--terminal", "t9", "--package", "1"],
            "not known: t9",
        ),
        (
            &["order", "--terminal", "t1", "--package", "8.8.8"],
            "no such version",
        ),
        (&["job", "5"], "there is no job 5"),
        (&["upload", "/nowhere.dau"], "/nowhere.dau"),
        (
            &["jobs", "--station", "https://localhost:1"],
            "no answer from",
        ),
    ];
    for (args, expected) in cases {
        let output = site.cli(args);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn a_job_is_shown_with_its_record_and_called_off() {
    let site = Site::start();
    assert!(site.cli(&["register", "t1"]).status.success());
    let job = site.order("t1", site.package("1.1.0")).to_string();
    let said = text(&site.cli(&["job", &job]));
    assert!(
        said.contains("ordered by operator") && said.contains("created"),
        "{said}"
    );
    let said = text(&site.cli(&["cancel", &job, "--abandon"]));
    assert!(said.contains("operator gave the job up"), "{said}");
    assert!(site.cli(&["remove", "1"]).status.success());
    assert_eq!(site.cli(&["follow", &job]).status.code(), Some(1));
}

#[test]
fn init_overwrites_nothing() {
    let site = Site::start();
    let (dir, pki) = (site.path("station"), site.path("pki"));
    let output = site.cli(&[
        "init",
        "--dir",
        dir.to_str().unwrap(),
        "--pki",
        pki.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("must not exist yet"));
    let missing = site.path("station/broker");
    let output = site.cli(&["init", "--dir", "/x", "--pki", missing.to_str().unwrap()]);
    assert!(
        text(&output).contains("dau-packager keygen"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let site = Site::start();
    for index in 0..3 {
        site.rest(attohttpc::Method::PUT, &format!("terminals/p{index}"), None);
    }
    for args in [
        &["terminals"][..],
        &["terminals", "--json"],
        &["openapi"],
        &["token", "x"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = site.command(args).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(141), "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn attack_what_a_terminal_says_steers_no_screen_and_breaks_no_list() {
    let site = Site::start();
    let mut terminal = site.terminal("t1");
    let job = site.order("t1", site.package("1.1.0"));
    assert_eq!(terminal.take_order().job_id, job);
    let hostile = "\x1b]0;owned\x07\u{9b}2J\u{202e}\nt2 online";
    terminal.say_link_up(&format!("{hostile}{}", "x".repeat(70_000)));
    terminal.finish(job, 500, &format!("{hostile}{}", "y".repeat(30_000)));
    for args in [
        &["terminals"][..],
        &["terminals", "--json"],
        &["jobs"],
        &["jobs", "--json"],
        &["job", &job.to_string()],
        &["follow", &job.to_string()],
    ] {
        let said = text(&site.cli(args));
        let steering = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!said.contains(steering), "{args:?}: {said:?}");
        assert!(said.contains("t1") && !said.contains("\nt2"), "{args:?}");
        assert!(!said.contains("panicked"), "{args:?}");
    }
    let log = site.station_log();
    assert!(!log.contains('\x1b') && !log.contains("\nt2"), "{log}");
}
