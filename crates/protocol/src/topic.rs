//! Topics `/v1/{deviceId}/device/{channel}`.

use std::fmt;
use std::str::FromStr;

/// The channel of a topic: its last segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Station to terminal: commands.
    Command,
    /// Terminal to station: answers to commands.
    Reply,
    /// Terminal to station: EVENT_LINKUP, EVENT_HEARTBEAT.
    Request,
    /// Station to terminal: answers to requests and reports.
    Response,
    /// Terminal to station: reports.
    Data,
}

impl Channel {
    const ALL: [(&'static str, Channel); 5] = [
        ("command", Channel::Command),
        ("reply", Channel::Reply),
        ("request", Channel::Request),
        ("response", Channel::Response),
        ("data", Channel::Data),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, channel)| *channel == self)
            .map_or("", |(text, _)| text)
    }
}

/// A topic of one terminal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The terminal's id.
    pub device: String,
    /// The channel.
    pub channel: Channel,
}

/// A topic outside this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not /v1/<device id>/device/<command|reply|request|response|data>")]
pub struct TopicError(String);

impl Topic {
    /// The topic of `device` for `channel`.
    pub fn new(device: &str, channel: Channel) -> Self {
        Topic {
            device: device.to_owned(),
            channel,
        }
    }

    /// The filter for this channel of every terminal.
    pub fn filter(channel: Channel) -> String {
        Topic::new("+", channel).to_string()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "/v1/{}/device/{}",
            self.device,
            self.channel.as_str()
        )
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let error = || TopicError(text.to_owned());
        let rest = text.strip_prefix("/v1/").ok_or_else(error)?;
        let (device, segment) = rest.split_once("/device/").ok_or_else(error)?;
        let known = Channel::ALL.iter().find(|(known, _)| *known == segment);
        let (_, channel) = known.ok_or_else(error)?;
        if !is_device_id(device) {
            return Err(error());
        }
        Ok(Topic::new(device, *channel))
    }
}

/// Longest terminal id, in bytes.
pub const MAX_DEVICE_ID: usize = 64;

/// Whether `id` can stand in a topic: 1 to 64 letters, digits, `-`, `_` or `.`, but not `.` or
/// `..`, which name folders, nor `station`, which the broker knows the station by.
pub fn is_device_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=MAX_DEVICE_ID).contains(&id.len())
        && id.chars().all(allowed)
        && !matches!(id, "." | ".." | "station")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_written_and_read() {
        for (word, value) in Channel::ALL {
            let text = format!("/v1/T20SHEIRI001202009140001/device/{word}");
            let topic = Topic::new("T20SHEIRI001202009140001", value);
            assert_eq!(topic.to_string(), text);
            assert_eq!(text.parse(), Ok(topic));
        }
        assert_eq!(Topic::filter(Channel::Data), "/v1/+/device/data");
    }

    #[test]
    fn foreign_topics_and_wildcard_ids_are_refused() {
        for text in [
            "v1/a/device/command",
            "/v2/a/device/command",
            "/v1//device/command",
            "/v1/+/device/command",
            "/v1/./device/command",
            "/v1/../device/command",
            "/v1/station/device/command",
            "/v1/a/b/device/command",
            "/v1/a/app/command",
            "/v1/a/device/commands",
        ] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }
}
