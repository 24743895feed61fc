//! Topics `/v1/{deviceId}/device/{word}`.

use std::fmt;
use std::str::FromStr;

/// Last word of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
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

impl Word {
    const ALL: [(&'static str, Word); 5] = [
        ("command", Word::Command),
        ("reply", Word::Reply),
        ("request", Word::Request),
        ("response", Word::Response),
        ("data", Word::Data),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, word)| *word == self)
            .map_or("", |(text, _)| text)
    }
}

/// A topic of one terminal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The terminal's id.
    pub device: String,
    /// What the topic is for.
    pub word: Word,
}

/// A topic outside this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not /v1/<device id>/device/<command|reply|request|response|data>")]
pub struct TopicError(String);

impl Topic {
    /// The topic of `device` for `word`.
    pub fn new(device: &str, word: Word) -> Self {
        Topic {
            device: device.to_owned(),
            word,
        }
    }

    /// The filter for this word of every terminal.
    pub fn filter(word: Word) -> String {
        Topic::new("+", word).to_string()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "/v1/{}/device/{}",
            self.device,
            self.word.as_str()
        )
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let error = || TopicError(text.to_owned());
        let rest = text.strip_prefix("/v1/").ok_or_else(error)?;
        let (device, word) = rest.split_once("/device/").ok_or_else(error)?;
        let known = Word::ALL.iter().find(|(known, _)| *known == word);
        let (_, word) = known.ok_or_else(error)?;
        if !is_device_id(device) {
            return Err(error());
        }
        Ok(Topic::new(device, *word))
    }
}

/// Whether `id` can stand in a topic: 1 to 64 letters, digits, `-`, `_` or `.`.
pub fn is_device_id(id: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=64).contains(&id.len()) && id.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_written_and_read() {
        for (word, value) in Word::ALL {
            let text = format!("/v1/T20SHEIRI001202009140001/device/{word}");
            let topic = Topic::new("T20SHEIRI001202009140001", value);
            assert_eq!(topic.to_string(), text);
            assert_eq!(text.parse(), Ok(topic));
        }
        assert_eq!(Topic::filter(Word::Data), "/v1/+/device/data");
    }

    #[test]
    fn foreign_topics_and_wildcard_ids_are_refused() {
        for text in [
            "v1/a/device/command",
            "/v2/a/device/command",
            "/v1//device/command",
            "/v1/+/device/command",
            "/v1/a/b/device/command",
            "/v1/a/app/command",
            "/v1/a/device/commands",
        ] {
            assert!(text.parse::<Topic>().is_err(), "{text}");
        }
    }
}
