//! Invalid orders, and repeated orders.

use anyhow::{ensure, Context, Result};
use dau_protocol::{code, message_type, Envelope, MAX_MESSAGE};
use serde_json::json;

use super::case::{Case, Suite};
use super::expect::{self, Kind};
use dau_rig::places::NEW;
use dau_rig::site::{Site, TERMINAL};
use dau_rig::terminal::limit;

pub const UNKNOWN_TYPE: Case = Case {
    name: "order-of-unknown-type",
    about: "upgradeType 9 and a command nobody knows are answered with a reason",
    run: |site| {
        let order = json!({"jobId": 901, "version": NEW, "upgradeType": 9, "policy": 0,
            "file": {"name": "x", "url": "https://10.0.2.2/x", "size": 1}});
        let order = Envelope::request(70_901, TERMINAL, now(), message_type::UPGRADE, order);
        answered(site, &order.to_bytes(), Some(70_901), "upgradeType 9")?;
        let strange = Envelope::request(70_902, TERMINAL, now(), "CMD_MAKE_TEA", json!({}));
        answered(site, &strange.to_bytes(), Some(70_902), "CMD_MAKE_TEA")
    },
};

pub const MALFORMED: Case = Case {
    name: "malformed-message",
    about: "broken JSON, no object, no mid, no bytes: a reason each, and the terminal goes on",
    run: |site| {
        answered(
            site,
            b"{\"mid\": 70911, \"type\": \"CMD_SYS_UPGRADE\", \"param\"",
            None,
            "JSON",
        )?;
        answered(site, b"[1, 2, 3]", None, "object")?;
        answered(site, b"{\"type\": \"CMD_SYS_UPGRADE\"}", None, "mid")?;
        answered(site, &[0xff, 0xfe, 0x00, 0x7b], None, "JSON")?;
        // Deep nesting overflows the stack of a careless parser.
        answered(site, "[".repeat(100_000).as_bytes(), None, "JSON")
    },
};

pub const OVERSIZE: Case = Case {
    name: "oversize-message",
    about: "a message above the size limit is answered with a reason, and is not delivered again and again",
    run: |site| {
        let mut message = br#"{"mid": 70921, "type": "CMD_SYS_UPGRADE", "param": {"pad": ""#.to_vec();
        message.resize(MAX_MESSAGE + 1000, b'x');
        message.extend(b"\"}}");
        answered(site, &message, None, "more than")
    },
};

pub const TWICE: Suite = Suite {
    options: expect::options,
    cases: &[Case {
        name: "order-twice",
        about: "the same order during and after the job is the same job, with one result",
        run: twice,
    }],
};

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Sends a payload and waits for a reply that gives a reason; afterwards the terminal answers as
/// before.
fn answered(site: &mut Site, bytes: &[u8], mid: Option<i64>, reason: &str) -> Result<()> {
    let mark = site.terminal.console().mark();
    let client = site.mqtt();
    let heard = client.listen(TERMINAL)?;
    client.command(TERMINAL, bytes)?;
    let reply = heard.reply(mid).with_context(|| {
        let start = &bytes[..bytes.len().min(80)];
        format!("after {}", String::from_utf8_lossy(start))
    })?;
    ensure!(
        reply.code.is_some_and(|code| code >= code::BAD_REQUEST),
        "taken for good: {reply:?}"
    );
    ensure!(
        reply.msg.contains(reason),
        "the reason does not speak of {reason}: {}",
        reply.msg
    );
    // A valid request is still answered.
    let query = Envelope::request(
        70_999,
        TERMINAL,
        now(),
        message_type::STATUS_QUERY,
        json!({"jobId": 4}),
    );
    client.command(TERMINAL, &query.to_bytes())?;
    let reply = heard.reply(Some(70_999))?;
    ensure!(
        reply.code == Some(code::BAD_REQUEST),
        "the reply to a query of job 4 is {reply:?}"
    );
    expect::runs_on(site, mark)
}

fn twice(site: &mut Site) -> Result<()> {
    let client = site.mqtt();
    let heard = client.listen(TERMINAL)?;
    site.proxy.limit(Some(8 << 20));
    let job = site.order(NEW, "kernel")?;
    let order = heard.wait("the order on MQTT", limit::COMMAND, |message| {
        message.message_type == message_type::UPGRADE && message.code.is_none()
    })?;
    let again = |mid: i64| {
        Envelope {
            mid,
            ..order.clone()
        }
        .to_bytes()
    };
    client.command(TERMINAL, &again(70_931))?;
    let reply = heard.reply(Some(70_931))?;
    ensure!(
        reply.code == Some(code::ACCEPTED),
        "the second order was answered {reply:?}"
    );
    site.proxy.limit(None);
    let view = site.wait_for_result(job)?;
    expect::success(&view, Kind::Kernel)?;
    site.wait_for_acknowledgement(job)?;

    let mark = site.terminal.console().mark();
    let results = || {
        let heard = heard.heard();
        heard
            .iter()
            .filter(|message| message.message_type == message_type::JOB_RESULT)
            .count()
    };
    let before = results();
    client.command(TERMINAL, &again(70_932))?;
    let reply = heard.reply(Some(70_932))?;
    ensure!(
        reply.code == Some(code::OK),
        "the third order was answered {reply:?}"
    );
    dau_rig::wait::until("the result once more", limit::COMMAND, || {
        Ok((results() > before).then_some(()))
    })?;
    site.station.exactly_one_result(job)?;
    ensure!(
        site.terminal
            .console()
            .count(mark, dau_rig::terminal::line::RECOVERY)
            == 0,
        "the third order was carried out again"
    );
    site.wait_for_acknowledgement(job)?;
    site.power_cut();
    expect::upgraded(site, Kind::Kernel)
}
