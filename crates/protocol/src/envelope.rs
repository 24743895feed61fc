//! The envelope of every message. A message is a reply if and only if it has a `code`.

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{json, Map, Value};

use crate::{lenient, shortened, timestamp, topic, MAX_MESSAGE};

/// Longest `type` that is read, bytes: replies repeat it.
const MAX_TYPE: usize = 64;
/// Longest `msg` of a reply, bytes. It may quote the other side, which must not make a reply too
/// long to be sent.
pub const MAX_REPLY_TEXT: usize = 1024;

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// Message id; a reply has that of its request.
    pub mid: i64,
    /// The terminal's id; at most [`topic::MAX_DEVICE_ID`] bytes are read.
    pub device_id: String,
    /// Time of writing, seconds since 1970-01-01 UTC; 0 if missing or unreadable.
    pub timestamp: i64,
    /// Seconds after `timestamp` until the request expires; `None`: never.
    pub expire: Option<i64>,
    /// One of [`crate::message_type`], or another make's.
    pub message_type: String,
    /// Present in replies: one of [`crate::code`].
    pub code: Option<u16>,
    /// Text for `code`; at most [`MAX_REPLY_TEXT`] bytes are read.
    pub msg: String,
    /// The content.
    pub param: Value,
}

/// A reason why bytes are no message, with the readable parts, so that a reply can give the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message {reason}")]
pub struct ParseError {
    /// The fault, to follow "the message".
    pub reason: String,
    /// `mid`, if it could be read.
    pub mid: Option<i64>,
    /// `type`, if it could be read.
    pub message_type: Option<String>,
}

impl Envelope {
    /// Returns a request.
    pub fn request(
        mid: i64,
        device_id: &str,
        now: u64,
        message_type: &str,
        param: impl Serialize,
    ) -> Self {
        Envelope {
            mid,
            device_id: device_id.to_owned(),
            timestamp: i64::try_from(now).unwrap_or(0),
            expire: None,
            message_type: message_type.to_owned(),
            code: None,
            msg: String::new(),
            param: serde_json::to_value(param).unwrap_or(Value::Null),
        }
    }

    /// Returns a reply to the request with this `mid` and type; `msg` is cut at [`MAX_REPLY_TEXT`].
    pub fn reply(
        mid: i64,
        device_id: &str,
        now: u64,
        message_type: &str,
        code: u16,
        msg: &str,
    ) -> Self {
        let request = Self::request(mid, device_id, now, message_type, json!({}));
        Envelope {
            code: Some(code),
            msg: shortened(msg, MAX_REPLY_TEXT).to_owned(),
            ..request
        }
    }

    /// Returns the message with another content.
    pub fn with_param(self, param: impl Serialize) -> Self {
        Envelope {
            param: serde_json::to_value(param).unwrap_or(Value::Null),
            ..self
        }
    }

    /// Reads the content as `T`; the error names the field.
    pub fn param<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.param)
    }

    /// Tells whether a request has expired at `now`. A clock behind the sender's proves nothing:
    /// not expired.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expires_at().is_some_and(|at| now > at)
    }

    /// Returns the time when a request expires, seconds since 1970-01-01 UTC; `None`: never.
    pub fn expires_at(&self) -> Option<u64> {
        let seconds = self.expire.filter(|_| self.timestamp > 0)?;
        u64::try_from(self.timestamp.saturating_add(seconds)).ok()
    }

    /// Parses a message of at most [`MAX_MESSAGE`] bytes; a trailing NUL is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let refuse = |reason: String| ParseError {
            reason,
            mid: None,
            message_type: None,
        };
        if bytes.len() > MAX_MESSAGE {
            return Err(refuse(format!(
                "has {} bytes, more than {MAX_MESSAGE}",
                bytes.len()
            )));
        }
        let nul = bytes.iter().rev().take_while(|byte| **byte == 0).count();
        let (text, _) = bytes.split_at(bytes.len().saturating_sub(nul));
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| refuse(format!("is not JSON: {error}")))?;
        let Value::Object(fields) = value else {
            return Err(refuse("is not a JSON object".to_owned()));
        };
        Self::from_fields(fields)
    }

    fn from_fields(mut fields: Map<String, Value>) -> Result<Self, ParseError> {
        let mid = fields.get("mid").and_then(lenient::integer_of);
        let message_type = fields
            .get("type")
            .and_then(Value::as_str)
            .filter(|text| text.len() <= MAX_TYPE)
            .map(str::to_owned);
        let known = message_type.clone();
        let refuse = |reason: &str| ParseError {
            reason: reason.to_owned(),
            mid,
            message_type: known.clone(),
        };
        let code = match fields.get("code") {
            None | Some(Value::Null) => None,
            Some(code) => Some(
                lenient::integer_of(code)
                    .and_then(|code| u16::try_from(code).ok())
                    .ok_or_else(|| refuse("has a 'code' that is no result code"))?,
            ),
        };
        Ok(Envelope {
            mid: mid.ok_or_else(|| refuse("has no integer 'mid'"))?,
            device_id: match fields.get("deviceId") {
                Some(Value::String(id)) => shortened(id, topic::MAX_DEVICE_ID).to_owned(),
                Some(Value::Number(id)) => id.to_string(),
                _ => String::new(),
            },
            timestamp: fields
                .get("timestamp")
                .and_then(timestamp::parse)
                .unwrap_or(0),
            expire: fields
                .get("expire")
                .and_then(lenient::integer_of)
                .filter(|expire| *expire >= 0),
            message_type: message_type.ok_or_else(|| {
                refuse(&format!("has no text 'type' of at most {MAX_TYPE} bytes"))
            })?,
            code,
            msg: fields
                .get("msg")
                .and_then(Value::as_str)
                .map(|msg| shortened(msg, MAX_REPLY_TEXT).to_owned())
                .unwrap_or_default(),
            param: fields.remove("param").unwrap_or(Value::Null),
        })
    }

    /// Encodes the message as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let time = timestamp::format(u64::try_from(self.timestamp).unwrap_or(0));
        let mut fields = Map::from_iter([
            ("mid".to_owned(), json!(self.mid)),
            ("deviceId".to_owned(), json!(self.device_id)),
            ("timestamp".to_owned(), json!(time)),
            ("type".to_owned(), json!(self.message_type)),
            ("param".to_owned(), self.param.clone()),
        ]);
        match self.code {
            Some(code) => {
                fields.insert("code".to_owned(), json!(code));
                fields.insert("msg".to_owned(), json!(self.msg));
            }
            None => {
                fields.insert("expire".to_owned(), json!(self.expire.unwrap_or(-1)));
            }
        }
        Value::Object(fields).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_type;
    use proptest::prelude::*;

    #[test]
    fn what_implementations_write_differently_is_the_same_message() {
        let strict = Envelope {
            expire: Some(60),
            ..Envelope::request(
                1_569_582_513_983_943_815,
                "42",
                1_577_101_833,
                message_type::STATUS_QUERY,
                json!({}),
            )
        };
        for text in [
            r#"{"mid":1569582513983943815,"deviceId":"42","timestamp":"2019-12-23T11:50:33Z","expire":60,"type":"CMD_STATUS_QUERY","param":{}}"#,
            r#"{"mid":"1569582513983943815","deviceId":42,"timestamp":1577101833,"expire":"60","type":"CMD_STATUS_QUERY","param":{}}"#,
            "{\"mid\":1569582513983943815,\"deviceId\":\"42\",\"timestamp\":1577101833000,\"expire\":60,\"type\":\"CMD_STATUS_QUERY\",\"param\":{},\"more\":1}\0",
        ] {
            assert_eq!(Envelope::parse(text.as_bytes()), Ok(strict.clone()), "{text}");
        }
        assert_eq!(Envelope::parse(&strict.to_bytes()), Ok(strict));
    }

    #[test]
    fn a_refusal_tells_what_a_reply_needs() {
        let error = Envelope::parse(br#"{"type":"CMD_SYS_UPGRADE","param":{}}"#).unwrap_err();
        assert_eq!(error.message_type.as_deref(), Some("CMD_SYS_UPGRADE"));
        assert_eq!(error.to_string(), "the message has no integer 'mid'");
        let error = Envelope::parse(br#"{"mid":7}"#).unwrap_err();
        assert_eq!(error.mid, Some(7));
        for bytes in [&b"{"[..], b"[]", b"", b"\0", b"\xff"] {
            assert!(Envelope::parse(bytes).is_err(), "{bytes:?}");
        }
        let long = vec![b' '; MAX_MESSAGE + 1];
        assert!(Envelope::parse(&long)
            .unwrap_err()
            .to_string()
            .contains("more than 262144"));
    }

    #[test]
    fn nobody_makes_a_reply_too_long_to_be_sent() {
        let quotes = "\"".repeat(MAX_MESSAGE / 3);
        let long_type = json!({"mid": 1, "type": quotes}).to_string();
        let error = Envelope::parse(long_type.as_bytes()).unwrap_err();
        assert_eq!((error.mid, error.message_type), (Some(1), None));
        let reply = Envelope::reply(1, "t", 0, "X", crate::code::BAD_REQUEST, &quotes);
        assert_eq!(reply.msg.len(), MAX_REPLY_TEXT);
        assert!(reply.to_bytes().len() < 3 * MAX_REPLY_TEXT);
    }

    #[test]
    fn expiry_is_judged_only_where_it_can_be() {
        let request = |timestamp, expire| Envelope {
            timestamp,
            expire,
            ..Envelope::request(1, "t", 0, "X", json!({}))
        };
        assert!(request(1000, Some(60)).is_expired(1061));
        assert!(!request(1000, Some(60)).is_expired(1060));
        assert!(!request(1000, None).is_expired(u64::MAX));
        assert!(!request(0, Some(60)).is_expired(u64::MAX));
        assert!(!request(1000, Some(60)).is_expired(3));
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Envelope::parse(&bytes);
        }

        #[test]
        fn what_was_written_is_read(mid: i64, code in proptest::option::of(any::<u16>()),
            msg in ".{0,40}", seconds in 0..4_000_000_000_u64) {
            let request = Envelope::request(mid, "t-1", seconds, "REP_JOB_RESULT", json!({"jobId": mid}));
            let message = match code {
                Some(code) => Envelope { code: Some(code), msg, ..request },
                None => request,
            };
            prop_assert_eq!(Envelope::parse(&message.to_bytes()), Ok(message));
        }
    }
}
