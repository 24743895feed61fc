//! MQTT messages of both sides.

use anyhow::{Context, Result};
use serde_json::json;

use crate::seed;

pub fn seeds() -> Result<()> {
    let message = |name: &str, word: &str, code: Option<u16>, param: serde_json::Value| {
        let mut message = json!({"mid": 815, "deviceId": "DTU-0001",
            "timestamp": "2026-01-31T12:00:00Z", "type": word,
            "expire": 600, "param": param});
        if let Some(code) = code {
            message["code"] = json!(code);
            message["msg"] = json!("said so");
        }
        seed("messages", name, serde_json::to_vec(&message)?)
    };
    let file = json!({"name": "x.dau", "url": "https://station:8443/packages/4/x.dau", "size": 61_234_567,
        "md5": "0123456789abcdef0123456789abcdef", "token": "secret"});
    let progress = json!({"jobId": 17, "state": "downloading", "progress": 42, "bytes": 1,
        "total": 2, "orderAgain": false});
    let order =
        json!({"jobId": 17, "policy": 0, "version": "1.1.0", "upgradeType": 3, "file": file});
    message("order", "CMD_SYS_UPGRADE", None, order.clone())?;
    message("query", "CMD_STATUS_QUERY", None, json!({"jobId": "17"}))?;
    message("cancel", "CMD_JOB_CANCEL", None, json!({"jobId": 17}))?;
    message(
        "status",
        "CMD_STATUS_QUERY",
        Some(200),
        json!({"jobId": 17, "progress": 42, "state": 2}),
    )?;
    message(
        "acknowledged",
        "REP_JOB_RESULT",
        Some(200),
        json!({"jobId": 17}),
    )?;
    message("progress", "REP_JOB_PROGRESS", None, progress.clone())?;
    let details = json!({"outcome": "success", "word": "success", "stages": [{"name": "download",
        "seconds": 12.1, "bytes": 3}]});
    let result = json!({"jobId": 17, "code": 200, "msg": "done", "result": 200, "info": "done",
        "details": details});
    message("result", "REP_JOB_RESULT", None, result)?;
    let link = json!({"dev": {"devSN": "1", "devType": "DTU"}, "os": {"version": "1.0.0", "kernel": "6.1"},
        "dau": {"product": "qemu-aarch64", "rollbackIndex": 7, "freeBytes": 1, "kernelSlot": "a",
            "job": progress}});
    message("link-up", "EVENT_LINKUP", None, link.clone())?;
    message(
        "heartbeat",
        "EVENT_HEARTBEAT",
        None,
        json!({"dau": link["dau"]}),
    )?;
    message(
        "link-down",
        "EVENT_LINKDOWN",
        None,
        json!({"reason": "reboot"}),
    )?;
    let attack = |name: &str, pointer: &str, value: serde_json::Value| -> Result<()> {
        let mut order = order.clone();
        *order.pointer_mut(pointer).context("it is there")? = value;
        message(name, "CMD_SYS_UPGRADE", None, order)
    };
    attack(
        "attack-header-in-url",
        "/file/url",
        json!("https://s/\r\nX: y"),
    )?;
    attack("attack-file-url", "/file/url", json!("file:///etc/shadow"))?;
    attack("attack-long-version", "/version", json!("9".repeat(2000)))?;
    attack(
        "attack-answer-quotes-it-all",
        "/jobId",
        json!("\"".repeat(9000)),
    )?;
    attack("attack-latest-start", "/policy", json!(i64::MAX))?;
    message("attack-long-type", &"\u{1}".repeat(2000), None, json!({}))?;
    let late = json!({"mid": "-9223372036854775808", "type": "X", "timestamp": i64::MAX, "expire": i64::MAX});
    seed("messages", "attack-latest-time", serde_json::to_vec(&late)?)?;
    seed("messages", "attack-deep", "[".repeat(10_000))
}
