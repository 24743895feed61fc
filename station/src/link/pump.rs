//! What goes out to terminals, and what the clock brings.

use std::sync::Arc;
use std::time::Duration;

use dau_protocol::{message_type, Envelope, StatusQuery, Topic, Word};
use log::error;
use tokio::sync::Notify;

use super::session::Link;
use super::Outgoing;
use crate::clock;
use crate::config::Config;
use crate::store::{jobs, orders, outbox, tokens, Store};

/// Commands in one transaction.
const BATCH: u32 = 200;
/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two clearings of void tokens.
const PURGE: u64 = 300;

/// Sends what is due whenever `wake` is notified and at every tick; goes on for ever.
pub async fn run(config: Arc<Config>, store: Store, link: Link, wake: Arc<Notify>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count: u64 = 0;
    loop {
        let ticked = tokio::select! {
            _ = ticks.tick() => true,
            () = wake.notified() => false,
        };
        if ticked {
            if let Err(error) = tick(&config, &store, &link, count.is_multiple_of(PURGE)).await {
                error!("the clock's work cannot be stored: {error}");
            }
            count += 1;
        }
        // While the broker is away nothing is counted as sent.
        if !link.is_up() && !ticked {
            continue;
        }
        if let Err(error) = send_due(&config, &store, &link).await {
            error!("commands cannot be sent: {error:#}");
        }
    }
}

async fn send_due(config: &Arc<Config>, store: &Store, link: &Link) -> anyhow::Result<()> {
    loop {
        if !link.is_up() {
            return Ok(());
        }
        let config = Arc::clone(config);
        let messages = store
            .write(move |w| outbox::take_due(w, clock::now(), &config, BATCH))
            .await?;
        let all = messages.len() < BATCH as usize;
        for message in messages {
            link.publish(message).await;
        }
        if all {
            return Ok(());
        }
    }
}

async fn tick(
    config: &Arc<Config>,
    store: &Store,
    link: &Link,
    purge: bool,
) -> Result<(), rusqlite::Error> {
    let query_seconds = config.jobs.query_seconds;
    let connected = link.is_up();
    let queries = store
        .write(move |w| {
            let now = clock::now();
            orders::expire(w, now, BATCH)?;
            orders::retry_busy(w, now, BATCH)?;
            jobs::finish_refused(w, now, BATCH)?;
            if purge {
                tokens::purge(w, now)?;
            }
            match connected {
                true => orders::silent(w, now, query_seconds, BATCH),
                false => Ok(Vec::new()),
            }
        })
        .await?;
    for silent in queries {
        // Nothing is lost with a query, so the outbox does not hold it.
        let clock = u64::try_from(clock::now()).unwrap_or(0);
        let param = StatusQuery { job_id: silent.job };
        let query = Envelope::request(
            silent.mid,
            &silent.terminal,
            clock,
            message_type::STATUS_QUERY,
            param,
        );
        let topic = Topic::new(&silent.terminal, Word::Command);
        link.publish(Outgoing::new(topic, &query)).await;
    }
    Ok(())
}
