//! Download URLs: one rule for the agent, which uses them, and the station, which writes them.

use std::fmt;

use url::{Host, Position, Url};

/// Longest accepted URL, bytes.
pub const MAX_URL: usize = 2048;

/// A URL that a download can use: `https://`, a host name, an IPv4 address or an IPv6 address in
/// brackets, a port from 1 to 65535 or none, path and query. RFC 3986, parsed by the `url` crate
/// (WHATWG) but without its repairs: typing errors are refused rather than guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadUrl(Url);

/// A reason why a URL cannot be used, for people: it names the fault and the correct form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl DownloadUrl {
    /// Parses an `https://` URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Self::read(text, &["https://"])
    }

    /// Parses an `https://` or `http://` URL, for sites that allow plain HTTP.
    pub fn parse_allowing_http(text: &str) -> Result<Self, UrlError> {
        Self::read(text, &["https://", "http://"])
    }

    fn read(text: &str, schemes: &[&str]) -> Result<Self, UrlError> {
        if text.len() > MAX_URL {
            let length = text.len();
            return refuse(format!("has {length} bytes, more than {MAX_URL}"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refuse(
                "holds blanks, control characters or letters beyond ASCII: write those of the \
                 path as %XX, and a host name in its xn-- form",
            );
        }
        let Some(rest) = schemes.iter().find_map(|scheme| after(text, scheme)) else {
            return refuse(format!("does not begin with {}", schemes.join(" or ")));
        };
        if rest.contains('\\') || rest.contains('#') {
            return refuse("holds '\\' or '#': write %5C or %23 where the path has them");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return refuse("holds a user name: downloads use file.token instead");
        }
        if authority.matches(':').count() > 1 && !authority.starts_with('[') {
            return refuse("has an IPv6 address without brackets: write https://[::1]:8443/");
        }
        let url = Url::parse(text).map_err(|error| UrlError(explain(error)))?;
        if url.port() == Some(0) {
            return refuse("has port 0: use 1 to 65535, or none");
        }
        check_host(&url, authority)?;
        Ok(DownloadUrl(url))
    }

    /// Returns the host as in a `Host` header: an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Returns the host for name resolution and certificates: an IPv6 address without brackets.
    pub fn host_without_brackets(&self) -> &str {
        without_brackets(self.host())
    }

    /// Returns the port, the scheme's own by default.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// Returns the host, and the port if it is not the scheme's own: the `Host` header of RFC 9110.
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Returns path and query, for a request line.
    pub fn path_and_query(&self) -> &str {
        &self.0[Position::BeforePath..Position::AfterQuery]
    }

    /// Returns false for plain HTTP.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Returns the URL in its normal form.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for DownloadUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Removes the brackets of an IPv6 address; any other host stays as it is.
pub fn without_brackets(host: &str) -> &str {
    let inner = host.strip_prefix('[');
    inner
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host)
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, UrlError> {
    Err(UrlError(reason.into()))
}

fn after<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

fn explain(error: url::ParseError) -> String {
    use url::ParseError::{EmptyHost, InvalidIpv4Address, InvalidIpv6Address, InvalidPort};
    match error {
        EmptyHost => "names no host".to_owned(),
        InvalidPort => "has a port that is not 1 to 65535".to_owned(),
        InvalidIpv4Address => "has a host that is no IPv4 address: four numbers to 255".to_owned(),
        InvalidIpv6Address => {
            "has a host that is no IPv6 address: write https://[2001:db8::1]/, without a zone"
                .to_owned()
        }
        error => format!("cannot be read: {error}"),
    }
}

/// Refuses hosts that the `url` crate accepts but no certificate names, and numbers that it turns
/// into addresses.
fn check_host(url: &Url, authority: &str) -> Result<(), UrlError> {
    let written = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    let unspecified = match url.host() {
        Some(Host::Ipv6(address)) => address.is_unspecified() || address.is_multicast(),
        Some(Host::Ipv4(address)) => {
            if written != address.to_string() {
                return refuse("has a host that is no IPv4 address: four numbers to 255");
            }
            address.is_unspecified() || address.is_multicast() || address.is_broadcast()
        }
        Some(Host::Domain(name)) if is_host_name(name) && name.eq_ignore_ascii_case(written) => {
            false
        }
        Some(Host::Domain(_)) => {
            return refuse(
                "has a host that is no host name: labels of 1 to 63 letters, digits and '-', \
                 253 in all, no dot at the end",
            )
        }
        None => return refuse("names no host"),
    };
    match unspecified {
        true => refuse("has an address that is no single machine's: name the station's own"),
        false => Ok(()),
    }
}

/// Tells whether a name is valid by RFC 1123, plus the underscore that is in use.
fn is_host_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_addresses_are_taken_with_their_ports() {
        for (text, host, port, path) in [
            ("https://station/x.dau", "station", 443, "/x.dau"),
            ("HTTPS://Station.example:8443", "station.example", 8443, "/"),
            ("https://my_station:1/p?a=b&c", "my_station", 1, "/p?a=b&c"),
            ("https://xn--55qx5d.cn:65535/", "xn--55qx5d.cn", 65535, "/"),
            ("https://10.0.0.1:8443/a%20b", "10.0.0.1", 8443, "/a%20b"),
            ("https://[::1]:8443/p", "::1", 8443, "/p"),
            ("https://[2001:DB8:0::1]/", "2001:db8::1", 443, "/"),
        ] {
            let url = DownloadUrl::parse(text).unwrap_or_else(|error| panic!("{text} {error}"));
            let found = (
                url.host_without_brackets(),
                url.port(),
                url.path_and_query(),
            );
            assert_eq!(found, (host, port, path), "{text}");
        }
        let url = DownloadUrl::parse("https://[::1]:8443/p").unwrap();
        assert_eq!((url.host(), url.authority()), ("[::1]", "[::1]:8443"));
    }

    #[test]
    fn what_no_download_can_use_is_refused_with_its_reason() {
        for (text, word) in [
            ("", "begin with"),
            ("https://", "no host"),
            ("https:///x", "host"),
            ("https://:8443/", "host"),
            ("https://station:84433/x", "port"),
            ("https://station:0/x", "port 0"),
            ("https://h:-1/", "port"),
            ("https://h:a/", "port"),
            ("https://::1:8443/x", "brackets"),
            ("https://2001:db8::1/x", "brackets"),
            ("https://[::1", "IPv6"),
            ("https://[::1%25eth0]/", "IPv6"),
            ("https://[]/", "IPv6"),
            ("https://[::]/", "machine"),
            ("https://0.0.0.0/", "machine"),
            ("https://1.2.3/", "IPv4"),
            ("https://256.1.1.1/", "IPv4"),
            ("https://0x7f.1/", "IPv4"),
            ("https://station./x", "host name"),
            ("https://-a/x", "host name"),
            ("https://a..b/x", "host name"),
            ("https://st%61tion/x", "host name"),
            ("https://user:word@station/x", "user name"),
            ("https://a\\b/", "'\\'"),
            ("https://station/a#b", "'#'"),
            ("https://station/a b", "blanks"),
            ("https://station/\r\nX: y", "blanks"),
            ("https://stätion/", "ASCII"),
            ("http://station/x", "https://"),
            ("ftp://station/x", "https://"),
            ("file:///etc/passwd", "https://"),
            ("//station/x", "https://"),
        ] {
            match DownloadUrl::parse(text) {
                Err(error) => assert!(error.to_string().contains(word), "{text}: {error}"),
                Ok(url) => panic!("{text} is taken as {url}"),
            }
        }
        let long = format!("https://station/{}", "x".repeat(MAX_URL));
        assert!(DownloadUrl::parse(&long).is_err());
        let long = format!("https://{}/", ["a"; 200].join("."));
        assert!(DownloadUrl::parse(&long).is_err());
    }

    #[test]
    fn plain_http_is_taken_only_where_it_is_allowed() {
        let url = DownloadUrl::parse_allowing_http("http://station/x").unwrap();
        assert_eq!((url.port(), url.is_https()), (80, false));
        assert!(DownloadUrl::parse_allowing_http("https://station")
            .unwrap()
            .is_https());
    }

    proptest! {
        #[test]
        fn what_is_taken_has_a_host_and_is_taken_again(text in "https://[-a-z0-9.:/?%@\\[\\]]{0,40}") {
            if let Ok(url) = DownloadUrl::parse(&text) {
                prop_assert!(!url.host_without_brackets().is_empty());
                prop_assert_eq!(DownloadUrl::parse(url.as_str()), Ok(url));
            }
        }
    }
}
