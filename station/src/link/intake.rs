//! Handles received messages in batches, and acknowledges them to the broker once they are on disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{error, warn};
use tokio::sync::Notify;

use super::inbound;
use super::session::{Link, Received, Shared};
use crate::clock;
use crate::config::Config;
use crate::store::outbox::Outgoing;
use crate::store::{self, Cause, Store};

/// Messages per transaction: a commit waits for the disk, so at scale many must share one.
const BATCH: usize = 256;
/// Bytes after which a transaction ends, as others wait for the database meanwhile.
const BATCH_BYTES: u64 = 4 << 20;
/// Wait after a failure to store.
const PAUSE: Duration = Duration::from_secs(5);

/// Stores the received messages.
#[derive(Debug)]
pub struct Intake {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Sends replies.
    pub link: Link,
    /// Holds the waiting messages.
    pub shared: Arc<Shared>,
    /// Notified when there may be commands to send.
    pub wake: Arc<Notify>,
}

impl Intake {
    /// Runs for ever.
    pub async fn run(self) {
        loop {
            let (batch, report) = {
                let mut inbox = self.shared.inbox();
                (inbox.take(BATCH, BATCH_BYTES), inbox.report(Instant::now()))
            };
            if let Some(report) = report {
                warn!("{report}");
            }
            if batch.is_empty() {
                self.shared.filled.notified().await;
                continue;
            }
            self.take_in(batch).await;
        }
    }

    async fn take_in(&self, batch: Vec<Received>) {
        let mut receipts = Vec::with_capacity(batch.len());
        let mut messages = Vec::with_capacity(batch.len());
        for received in batch {
            messages.push((received.topic, received.payload));
            receipts.push(received.receipt);
        }
        for reply in self.store(messages).await {
            self.link.publish(reply).await;
        }
        self.shared.handled(receipts.len());
        self.wake.notify_one();
        for receipt in receipts {
            self.shared.acknowledge(receipt);
        }
    }

    /// Stores the messages, however long it takes: the broker keeps the following ones. Returns the
    /// replies.
    async fn store(&self, messages: Vec<(String, Vec<u8>)>) -> Vec<Outgoing> {
        let messages = Arc::new(messages);
        let error = match self.store_all(&messages).await {
            Ok(replies) => return replies,
            Err(error) => error,
        };
        // One of them is to blame, and must not stop the others.
        error!("messages cannot be stored together: {error}");
        let mut replies = Vec::new();
        for message in messages.iter() {
            match self.store_all(&Arc::new(vec![message.clone()])).await {
                Ok(more) => replies.extend(more),
                Err(error) => error!("a message on {} is ignored: {error}", message.0),
            }
        }
        replies
    }

    /// Retries until it succeeds; fails on permanent errors only.
    async fn store_all(
        &self,
        messages: &Arc<Vec<(String, Vec<u8>)>>,
    ) -> store::Result<Vec<Outgoing>> {
        loop {
            let (messages, config) = (Arc::clone(messages), Arc::clone(&self.config));
            let spread = self.link.spread();
            let stored = self
                .store
                .write(move |w| inbound::take(w, clock::now(), (&config.jobs, spread), &messages));
            match stored.await {
                Err(error) if error.cause() != Cause::Data => {
                    let seconds = PAUSE.as_secs();
                    error!("messages cannot be stored, next try in {seconds} s: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }
}
