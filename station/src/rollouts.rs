//! Goes on with rollouts.

use std::sync::Arc;
use std::time::Duration;

use log::error;

use crate::clock;
use crate::store::{rollouts, Result};
use crate::web::Station;

/// Time between two looks without a notice.
const PAUSE: Duration = Duration::from_secs(1);
/// Pieces of one rollout that are done before the others get their turn.
const MOST: usize = 16;

/// Does what is due of rollouts; runs for ever. One that fails keeps no other waiting.
pub async fn run(station: Arc<Station>) {
    loop {
        let mut again = false;
        let due = station.store.read(|r| rollouts::due(r, clock::now()));
        match due.await {
            Ok(due) => {
                for id in due {
                    match work_on(&station, id).await {
                        Ok(more) => again |= more,
                        Err(error) => error!("rollout {id} cannot go on, next try soon: {error}"),
                    }
                }
            }
            Err(error) => error!("rollouts cannot be read: {error}"),
        }
        if !again {
            let _ = tokio::time::timeout(PAUSE, station.rollouts.notified()).await;
        }
    }
}

/// Returns whether there is more to do at once.
async fn work_on(station: &Station, id: i64) -> Result<bool> {
    for _ in 0..MOST {
        let work = station
            .store
            .write(move |w| rollouts::work_on(w, clock::now(), id));
        let more = work.await?;
        // There may be orders to send, and jobs to cancel.
        station.wake.notify_one();
        station.orders.notify_one();
        if !more {
            return Ok(false);
        }
    }
    Ok(true)
}
