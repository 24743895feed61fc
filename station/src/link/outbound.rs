//! Sends what is due to terminals, and does what is due by the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dau_protocol::{code, message_type, Channel, Envelope, StatusQuery, Topic};
use log::{error, info, warn};
use tokio::sync::Notify;

use super::session::Link;
use crate::clock::{self, Watch};
use crate::config::Config;
use crate::store::orders::Silent;
use crate::store::outbox::Outgoing;
use crate::store::{self, archive, jobs, orders, outbox, terminals, times, tokens, Store};

/// Commands per transaction.
const BATCH: u32 = 200;
/// Time between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two rounds of the rarer tasks.
const SELDOM: u64 = 60;
/// Time between two checks of the record's age and size.
const RECORD_PAUSE: Duration = Duration::from_secs(600);

/// Sends what is due whenever `wake` is notified and at every tick; runs for ever.
pub async fn run(config: Arc<Config>, store: Store, link: Link, wake: Arc<Notify>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = Watch::new(clock::now(), Instant::now());
    let mut count: u64 = 0;
    loop {
        let ticked = tokio::select! {
            _ = ticks.tick() => true,
            () = wake.notified() => false,
        };
        if ticked {
            let tick = Tick {
                now: clock::now(),
                jump: watch.jump(clock::now(), Instant::now()),
                connected: link.is_up(),
                seldom: count.is_multiple_of(SELDOM),
            };
            match tick.work(&config, &store).await {
                Ok(messages) => {
                    for message in messages {
                        link.publish(message).await;
                    }
                }
                Err(error) => error!("the clock's work cannot be stored: {error}"),
            }
            count = count.wrapping_add(1);
        }
        // Nothing counts as sent while the broker is disconnected.
        if !link.is_up() && !ticked {
            continue;
        }
        if let Err(error) = send_due(&config, &store, &link).await {
            error!("commands cannot be sent: {error:#}");
        }
    }
}

/// Moves old parts of the record into archives; runs for ever.
pub async fn keep_record(config: Arc<Config>, store: Store) {
    loop {
        let folder = config.data_dir.join("record");
        match archive::seal(&store, folder, clock::now(), config.record).await {
            Ok(0) => {}
            Ok(count) => info!("{count} archives of the record were written"),
            Err(error) => {
                error!("the record cannot be archived, it stays in the database: {error:#}")
            }
        }
        tokio::time::sleep(RECORD_PAUSE).await;
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
        let more = u32::try_from(messages.len()).is_ok_and(|count| count >= BATCH);
        for message in messages {
            link.publish(message).await;
        }
        if !more {
            return Ok(());
        }
    }
}

/// The tasks that are due at a time.
#[derive(Debug, Clone, Copy)]
struct Tick {
    now: i64,
    /// Seconds by which the clock jumped.
    jump: i64,
    connected: bool,
    seldom: bool,
}

impl Tick {
    /// Does what is due; returns questions to terminals. They are not sent again, as nothing is
    /// lost with them.
    async fn work(self, config: &Arc<Config>, store: &Store) -> store::Result<Vec<Outgoing>> {
        let Tick { now, jump, .. } = self;
        let config = Arc::clone(config);
        if jump != 0 {
            warn!("the clock jumped by {jump} s: everything that is due some time moves along");
        }
        let work = store.write(move |w| {
            if jump != 0 {
                times::shift(w, now, jump)?;
            }
            if jump != 0 || self.seldom {
                times::settle(w, now, &config)?;
            }
            orders::expire(w, now, BATCH)?;
            orders::retry_busy(w, now, BATCH)?;
            jobs::finish_refused(w, now, BATCH)?;
            let heard_since = now.saturating_sub(times::seconds(config.jobs.offline_seconds));
            if self.seldom {
                tokens::purge(w, now)?;
                terminals::ask_stale(w, now, heard_since)?;
            }
            if !self.connected {
                return Ok((Vec::new(), Vec::new()));
            }
            Ok::<_, store::Error>((
                orders::silent(w, now, config.jobs.query_seconds, BATCH)?,
                terminals::take_unknown(w, now, heard_since, BATCH)?,
            ))
        });
        let (silent, unknown) = work.await?;
        let silent = silent.iter().map(|silent| ask_for_job(silent, now));
        let unknown = unknown
            .iter()
            .map(|terminal| ask_for_link_up(terminal, now));
        Ok(silent.chain(unknown).collect())
    }
}

fn ask_for_job(silent: &Silent, now: i64) -> Outgoing {
    let query = Envelope::request(
        silent.mid,
        &silent.terminal,
        u64::try_from(now).unwrap_or(0),
        message_type::STATUS_QUERY,
        StatusQuery { job_id: silent.job },
    );
    Outgoing::new(Topic::new(&silent.terminal, Channel::Command), &query)
}

/// Replies, unasked, that the terminal is unknown, so that it sends EVENT_LINKUP again.
fn ask_for_link_up(terminal: &str, now: i64) -> Outgoing {
    let clock = u64::try_from(now).unwrap_or(0);
    let text = "what is known of this terminal is missing or old: send EVENT_LINKUP again";
    let link_up = message_type::LINK_UP;
    let answer = Envelope::reply(0, terminal, clock, link_up, code::NOT_FOUND, text);
    Outgoing::new(Topic::new(terminal, Channel::Response), &answer)
}
