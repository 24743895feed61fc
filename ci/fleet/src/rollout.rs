//! A rollout that has to stop by itself, and a stop of the whole station.

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use hyper::Method;
use serde_json::{json, Value};
use tokio::time::{sleep, Instant};

use crate::rest::Rest;
use crate::run::Run;
use crate::terminal::News;

const LOOK: Duration = Duration::from_millis(100);

/// Runs both, and prints what was seen.
pub async fn run(run: &mut Run<'_>, package: i64) -> Result<()> {
    let mut rest = run.rest();
    let all = run.options.terminals;
    let stopped = stops_by_itself(run, &mut rest, package).await?;
    let count = |word: &str| stopped["counts"][word].as_u64().unwrap_or(0);
    let (failed, succeeded) = (count("failed"), count("success"));
    println!(
        "rollout over {all}: {} after {failed} failures and {succeeded} successes ({})",
        stopped["state"], stopped["message"]
    );
    ensure!(
        stopped["state"] == "stopped",
        "the rollout did not stop: {stopped}"
    );
    ensure!(
        failed * 100 < all as u64 * 3,
        "{failed} of {all} failed before it stopped"
    );
    stops_all(run, &mut rest, package).await
}

/// Returns the rollout after it has stopped and all that was under way has ended.
async fn stops_by_itself(run: &mut Run<'_>, rest: &mut Rest, package: i64) -> Result<Value> {
    let at_once = run.options.terminals.div_ceil(20);
    let failure = json!({"percent": 1, "least": 50});
    let plan = json!({"expire": 86_400, "waves": [
        {"take": {"percent": 1}, "failure": failure},
        {"atOnce": at_once, "failure": failure}]});
    let start = Instant::now();
    let body = json!({"all": true, "package": package, "plan": plan});
    let rollout = post(rest, "rollouts", &body).await?;
    let path = format!("rollouts/{}", rollout["id"].as_i64().context("an id")?);
    wait(run, rest, &path, |rollout| rollout["state"] == "draft").await?;
    println!("prepared in {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    post(rest, &format!("{path}/start"), &json!({})).await?;
    wait(run, rest, &path, |rollout| rollout["state"] != "running").await?;
    let took = start.elapsed().as_secs_f64();
    let ended = wait(run, rest, &path, |rollout| {
        rollout["state"] == "ended"
            || (rollout["counts"].get("active").is_none() && rollout["stop"]["seconds"].is_number())
    })
    .await?;
    println!(
        "stopped by itself after {took:.1} s, the last one had it after {} s",
        ended["stop"]["seconds"]
    );
    Ok(ended)
}

/// Stops the station while an order for all is under way.
async fn stops_all(run: &mut Run<'_>, rest: &mut Rest, package: i64) -> Result<()> {
    let before = run.seen(News::Accepted);
    post(rest, "orders", &json!({"all": true, "package": package})).await?;
    let half = run.options.terminals / 2;
    run.wait_for("acceptances", |run| {
        run.seen(News::Accepted) - before >= half
    })
    .await?;
    let start = Instant::now();
    let stopped = post(rest, "stop", &json!({})).await?;
    let mut first = None;
    loop {
        let left = rest.get("stop").await?;
        let linked = left["linked"].as_u64().context("a number")?;
        first.get_or_insert(linked);
        if linked == 0 {
            break;
        }
        ensure!(
            Instant::now() < run.end,
            "{left} have not heard of the stop"
        );
        sleep(LOOK).await;
    }
    println!(
        "stop of {} orders: {} linked terminals were not armed, the last one had it after {:.1} s",
        stopped["orders"],
        first.unwrap_or(0),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn post(rest: &mut Rest, path: &str, body: &Value) -> Result<Value> {
    let (status, answer) = rest.call(Method::POST, path, Some(body)).await?;
    let text = String::from_utf8_lossy(&answer);
    ensure!(status.is_success(), "POST {path}: {status}: {text}");
    Ok(serde_json::from_slice(&answer)?)
}

async fn wait(
    run: &Run<'_>,
    rest: &mut Rest,
    path: &str,
    done: impl Fn(&Value) -> bool,
) -> Result<Value> {
    loop {
        let found = rest.get(path).await?;
        if done(&found) {
            return Ok(found);
        }
        ensure!(Instant::now() < run.end, "waited in vain: {found}");
        sleep(LOOK).await;
    }
}
