//! Makes and cancels the jobs of orders, piece by piece.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::error;

use crate::clock;
use crate::store::orders;
use crate::store::Result;
use crate::web::Station;

/// Wait after a failure, and between two looks without a notice.
const PAUSE: Duration = Duration::from_secs(5);

/// Does what orders have to be done; runs for ever. An order whose work fails keeps no other waiting.
pub async fn run(station: Arc<Station>) {
    // The last one that failed, or that another station has in hand.
    let mut passed: Option<(orders::Open, Instant)> = None;
    loop {
        passed = passed.filter(|(_, at)| at.elapsed() < PAUSE);
        let after = passed.as_ref().map(|(open, _)| open.clone());
        let next = station.store.read(move |r| orders::next(r, after.as_ref()));
        match next.await {
            Ok(Some(open)) => match work_on(&station, open.id).await {
                Ok(true) => station.wake.notify_one(),
                Ok(false) => passed = Some((open, Instant::now())),
                Err(error) => {
                    let (id, seconds) = (open.id, PAUSE.as_secs());
                    error!("order {id}: its jobs cannot be made, next try in {seconds} s: {error}");
                    passed = Some((open, Instant::now()));
                }
            },
            Ok(None) => wait(&station).await,
            Err(error) => {
                error!("orders cannot be read: {error}");
                wait(&station).await;
            }
        }
    }
}

async fn work_on(station: &Station, id: i64) -> Result<bool> {
    let work = station
        .store
        .write(move |w| orders::work_on(w, clock::now(), id));
    work.await
}

async fn wait(station: &Station) {
    let _ = tokio::time::timeout(PAUSE, station.orders.notified()).await;
}
