//! Makes and cancels the jobs of orders, piece by piece.

use std::sync::Arc;
use std::time::Duration;

use log::error;

use crate::clock;
use crate::store::orders;
use crate::web::Station;

/// Wait after a failure, and between two looks without a notice.
const PAUSE: Duration = Duration::from_secs(5);

/// Does what orders have to be done; runs for ever.
pub async fn run(station: Arc<Station>) {
    loop {
        match station.store.write(|w| orders::work(w, clock::now())).await {
            Ok(true) => {
                station.wake.notify_one();
                continue;
            }
            Ok(false) => {}
            Err(error) => error!("the jobs of an order cannot be made: {error}"),
        }
        let _ = tokio::time::timeout(PAUSE, station.orders.notified()).await;
    }
}
