//! Terminals that do not behave: they have good certificates.

use std::sync::Arc;

use dau_protocol::{message_type, Channel, Envelope, Topic};
use rumqttc::mqttbytes::v4::Publish;
use rumqttc::mqttbytes::QoS;
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::fleet::Shared;
use crate::wire::{Identity, Wire};

/// Messages in a burst of a flood, and the pause after it.
const FLOOD: (usize, Duration) = (200, Duration::from_millis(500));
/// Pause between other messages.
const PAUSE: Duration = Duration::from_millis(200);

/// Misbehaves until the fleet stops; the number chooses how.
pub async fn run(shared: Arc<Shared>, identity: Arc<Identity>, number: usize, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ number as u64);
    while !shared.stopped() {
        if let Ok(mut wire) = Wire::connect(&shared.dialer, &identity, None, &[]).await {
            while !shared.stopped() {
                let (count, pause) = match number % 3 {
                    0 => FLOOD,
                    _ => (1, PAUSE),
                };
                for _ in 0..count {
                    let (channel, message) = misbehave(&shared, number, &identity.name, &mut rng);
                    let topic = Topic::new(&identity.name, channel).to_string();
                    let mut publish = Publish::new(topic, QoS::AtLeastOnce, message);
                    publish.pkid = rng.u16(1..);
                    wire.publish(&publish);
                }
                let end = Instant::now() + pause;
                let mut alive = true;
                while alive && Instant::now() < end {
                    alive = wire.turn(Some(end)).await.is_ok();
                }
                if !alive {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn misbehave(
    shared: &Shared,
    number: usize,
    id: &str,
    rng: &mut fastrand::Rng,
) -> (Channel, Vec<u8>) {
    let job = shared.some_job(rng).unwrap_or(1);
    match number % 3 {
        0 => (Channel::Data, vec![b'x'; 400]),
        1 => {
            let text = [
                "{",
                "[]",
                "null",
                "{\"mid\": 1}",
                "{\"mid\": \"a\", \"type\": 5}",
                "{\"mid\": 1, \"type\": \"REP_JOB_RESULT\", \"param\": {\"jobId\": []}}",
                "{\"mid\": 9, \"type\": \"EVENT_LINKUP\", \"param\": {\"dau\": 3}}",
                "{\"mid\": 9, \"type\": \"CMD_SYS_UPGRADE\", \"code\": 999999}",
            ];
            let mut bytes = text[rng.usize(0..text.len())].as_bytes().to_vec();
            if rng.bool() {
                let at = rng.usize(0..bytes.len());
                bytes[at] = rng.u8(..);
            }
            (Channel::Data, bytes)
        }
        _ => {
            let (name, param) = match rng.bool() {
                true => (
                    message_type::JOB_RESULT,
                    json!({"jobId": job, "code": 500, "msg": "not mine"}),
                ),
                false => (
                    message_type::JOB_PROGRESS,
                    json!({"jobId": job, "state": "trial", "progress": 1, "orderAgain": rng.bool()}),
                ),
            };
            (
                Channel::Data,
                Envelope::request(1, id, 0, name, param).to_bytes(),
            )
        }
    }
}
