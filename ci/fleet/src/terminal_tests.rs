use super::*;
use crate::character::Faults;
use crate::job::STEPS;
use dau_model::Kind;
use dau_protocol::{File, JobProgress, JobReport};

fn terminal(faults: &Faults) -> Terminal {
    let habits = Habits {
        floor: 5000,
        repeat: (30_000, 3_600_000),
        heartbeat: 300_000,
        fetches: false,
        epoch: 1_790_000_000,
    };
    let who = Character::draw(1, 0, faults, STEPS.len());
    Terminal::new("T-1".to_owned(), who, Arc::new(habits))
}

fn order(job: i64, mid: i64) -> Vec<u8> {
    let order = Upgrade {
        job_id: job,
        policy: 0,
        version: NEW.to_owned(),
        kind: Kind::Kernel,
        file: File {
            name: "x.dau".to_owned(),
            url: "https://station/x".to_owned(),
            size: None,
            md5: None,
            token: None,
        },
        budget: None,
    };
    Envelope::request(
        mid,
        "T-1",
        1_790_000_000,
        message_type::UPGRADE,
        order.to_param(),
    )
    .to_bytes()
}

fn answer(message_type: &str, code: u16, param: serde_json::Value) -> Vec<u8> {
    let reply = Envelope::reply(1, "T-1", 1_790_000_000, message_type, code, "");
    reply.with_param(param).to_bytes()
}

/// Runs until `end` and returns what was said, with the time of each.
fn run(
    terminal: &mut Terminal,
    from: Millis,
    end: Millis,
) -> Vec<(Millis, Channel, bool, Envelope)> {
    let mut said = Vec::new();
    for now in from..end {
        let mut acts = Vec::new();
        terminal.tick(now, &mut acts);
        if terminal.off_until == Some(now) {
            terminal.connected(now, &mut acts);
        }
        for act in acts {
            match act {
                Act::Say {
                    channel,
                    once,
                    message,
                } => said.push((now, channel, once, Envelope::parse(&message).unwrap())),
                Act::PowerCut(_) => terminal.disconnected(),
                _ => {}
            }
        }
    }
    said
}

#[test]
fn a_job_is_a_reply_four_states_five_reports_and_a_result_until_it_is_acknowledged() {
    let mut terminal = terminal(&Faults::none());
    terminal.connected(0, &mut Vec::new());
    terminal.receive(
        1,
        Channel::Response,
        answer(message_type::LINK_UP, 200, json!({})),
        1,
    );
    terminal.receive(1, Channel::Command, order(7, 99), 2);
    let said = run(&mut terminal, 1, 40_000);
    let of = |name: &str| {
        said.iter()
            .filter(|said| said.3.message_type == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(message_type::LINK_UP).len(), 0, "it was answered");
    let reply = of(message_type::UPGRADE)[0];
    assert_eq!(
        (reply.1, reply.3.mid, reply.3.code),
        (Channel::Reply, 99, Some(202))
    );
    let progress = of(message_type::JOB_PROGRESS);
    let states: Vec<String> = progress
        .iter()
        .filter(|said| said.2)
        .map(|said| said.3.param::<JobProgress>().unwrap().state)
        .collect();
    assert_eq!(states, ["downloading", "verifying", "backing-up", "armed"]);
    assert_eq!(progress.iter().filter(|said| !said.2).count(), 5);
    let results = of(message_type::JOB_RESULT);
    assert_eq!(
        results.len(),
        2,
        "it comes again, for nobody acknowledged it"
    );
    assert!((3_500..6_500).contains(&results[0].0), "{}", results[0].0);
    let report: JobReport = results[0].3.param().unwrap();
    assert_eq!((report.job_id, report.code, results[0].3.mid), (7, 200, 7));
    let acknowledged = answer(message_type::JOB_RESULT, 200, json!({"jobId": 7}));
    terminal.receive(40_000, Channel::Response, acknowledged, 3);
    let later = run(&mut terminal, 40_000, 200_000);
    assert!(later
        .iter()
        .all(|said| said.3.message_type == message_type::HEARTBEAT));
    assert!(terminal.jobs[0].acknowledged.is_some());
}

#[test]
fn the_same_order_twice_is_one_job_and_another_one_finds_it_busy() {
    let mut terminal = terminal(&Faults::none());
    terminal.connected(0, &mut Vec::new());
    for (job, mid) in [(7, 1), (7, 2), (8, 3)] {
        terminal.receive(1, Channel::Command, order(job, mid), 1);
    }
    let said = run(&mut terminal, 1, 100);
    let codes: Vec<_> = said.iter().filter_map(|said| said.3.code).collect();
    assert_eq!(codes, [202, 202, 403]);
    assert_eq!(said[2].3.param["busyWith"], 7);
    assert_eq!(terminal.jobs.len(), 1);
    assert_eq!(terminal.jobs[0].orders, 2);
}

#[test]
fn a_job_goes_on_after_a_power_cut_and_the_terminal_links_up_with_it() {
    let faults = Faults {
        power_cuts: 1.0,
        ..Faults::none()
    };
    let mut terminal = terminal(&faults);
    terminal.connected(0, &mut Vec::new());
    terminal.receive(1, Channel::Command, order(7, 1), 1);
    let said = run(&mut terminal, 1, 20_000);
    let up = said
        .iter()
        .find(|said| said.3.message_type == message_type::LINK_UP)
        .unwrap();
    let link: LinkUp = up.3.param().unwrap();
    assert_eq!(link.dau.job.unwrap().job_id, 7);
    assert!(terminal.jobs[0].finished);
    assert_eq!(terminal.jobs[0].states.len(), 5);
}

#[test]
fn a_message_that_makes_no_sense_is_acknowledged_and_ignored() {
    let mut terminal = terminal(&Faults::none());
    terminal.connected(0, &mut Vec::new());
    terminal.receive(1, Channel::Command, b"{".to_vec(), 5);
    let mut acts = Vec::new();
    terminal.tick(1, &mut acts);
    assert_eq!(acts, [Act::Acknowledge(5)]);
}
