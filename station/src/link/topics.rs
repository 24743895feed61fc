//! The topics that a station subscribes to.

use dau_protocol::{Channel, Topic};
use rumqttc::{QoS, SubAck, SubscribeReasonCode};

use crate::config::Mqtt;

/// Topic of the station's messages to itself: no terminal has this name.
const OWN: &str = "/v1/station/device/data";

/// Returns that topic; one of several stations has its own, as they share the others.
pub fn own(mqtt: &Mqtt) -> String {
    match mqtt.share {
        None => OWN.to_owned(),
        Some(_) => format!("/v1/station/{}", mqtt.client_id),
    }
}

/// Returns what the station subscribes to.
pub fn filters(mqtt: &Mqtt) -> Vec<String> {
    let channels = [Channel::Reply, Channel::Request, Channel::Data];
    let all = channels.iter().map(|channel| Topic::filter(*channel));
    match &mqtt.share {
        None => all.collect(),
        Some(group) => all
            .map(|filter| format!("$share/{group}/{filter}"))
            .chain([own(mqtt)])
            .collect(),
    }
}
/// Returns the reason for a refused subscription, if any.
pub fn refused(ack: &SubAck) -> Option<String> {
    let granted =
        |code| matches!(code, &SubscribeReasonCode::Success(qos) if qos != QoS::AtMostOnce);
    let all = !ack.return_codes.is_empty() && ack.return_codes.iter().all(granted);
    (!all).then(|| {
        let codes = &ack.return_codes;
        format!(
            "the broker refuses the subscriptions to reply, request and data ({codes:?}): give the \
             station its rights there with QoS 1 (see the broker's acl)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_stations_shares_messages_and_hears_itself_alone() {
        let alone = crate::config::tests::sample().mqtt;
        assert_eq!(own(&alone), OWN);
        assert_eq!(
            filters(&alone),
            [
                "/v1/+/device/reply",
                "/v1/+/device/request",
                "/v1/+/device/data"
            ]
        );
        let one = Mqtt {
            share: Some("dau".to_owned()),
            client_id: "station-2".to_owned(),
            ..alone
        };
        assert_eq!(
            filters(&one),
            [
                "$share/dau//v1/+/device/reply",
                "$share/dau//v1/+/device/request",
                "$share/dau//v1/+/device/data",
                "/v1/station/station-2"
            ]
        );
    }
}
