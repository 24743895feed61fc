use super::*;

#[test]
fn answers_to_the_first_request() {
    let seen = |status, content_length| Seen {
        status,
        content_length,
        ..Seen::default()
    };
    let end = |answer| match answer {
        Answer::End(reason) => reason.word,
        other => panic!("{other:?}"),
    };
    let suspect = |answer| match answer {
        Answer::Suspect(reason) => reason.word,
        other => panic!("{other:?}"),
    };
    let have = Have::default();
    assert_eq!(
        classify(seen(200, Some("9")), have),
        Answer::Body { from: 0, total: 9 }
    );
    assert_eq!(suspect(classify(seen(200, None), have)), Word::NoLength);
    assert_eq!(
        suspect(classify(seen(200, Some("-1")), have)),
        Word::NoLength
    );
    assert_eq!(classify(seen(401, None), have), Answer::Unauthorized);
    assert_eq!(classify(seen(403, None), have), Answer::Unauthorized);
    assert_eq!(suspect(classify(seen(404, None), have)), Word::NotFound);
    assert_eq!(end(classify(seen(410, None), have)), Word::NotFound);
    assert_eq!(end(classify(seen(302, None), have)), Word::Redirected);
    assert_eq!(suspect(classify(seen(400, None), have)), Word::HttpStatus);
    assert_eq!(suspect(classify(seen(204, None), have)), Word::HttpStatus);
    for status in [408, 429, 500, 502, 503, 504] {
        let answer = classify(seen(status, None), have);
        assert!(
            matches!(answer, Answer::Again { after: None, .. }),
            "{status}: {answer:?}"
        );
    }
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let seen = |retry_after| Seen {
        status: 503,
        retry_after,
        ..Seen::default()
    };
    let after = |text| match classify(seen(Some(text)), Have::default()) {
        Answer::Again { after, .. } => after,
        other => panic!("{other:?}"),
    };
    assert_eq!(after("7"), Some(Duration::from_secs(7)));
    // A date is not worth a clock that may be wrong.
    assert_eq!(after("Fri, 07 Nov 2014 23:59:59 GMT"), None);
}

#[test]
fn a_range_is_believed_only_if_it_continues_what_is_there() {
    let have = Have {
        bytes: 100,
        total: Some(300),
        etag: Some("\"a\""),
    };
    let body = Answer::Body {
        from: 100,
        total: 300,
    };
    let cases = [
        (
            206,
            Some("bytes 100-299/300"),
            Some("200"),
            Some("\"a\""),
            Some(&body),
        ),
        (206, Some("bytes 100-299/300"), None, None, Some(&body)),
        (206, Some("bytes 0-299/300"), None, None, None),
        (206, Some("bytes 100-200/300"), None, None, None),
        (206, Some("bytes 100-299/*"), None, None, None),
        (206, Some("bytes 100-399/400"), None, None, None),
        (206, Some("bytes 100-299/300"), Some("300"), None, None),
        (206, Some("bytes 100-299/300"), None, Some("\"b\""), None),
        (
            206,
            Some("bytes 100-18446744073709551615/300"),
            None,
            None,
            None,
        ),
        (206, Some("bytes 100-99/100"), Some("0"), None, None),
        (
            206,
            Some("bytes 0-18446744073709551615/0"),
            None,
            None,
            None,
        ),
        (206, None, Some("200"), None, None),
        (416, Some("bytes */300"), None, None, None),
        (
            416,
            Some("bytes */100"),
            None,
            None,
            Some(&Answer::Complete),
        ),
    ];
    for (status, content_range, content_length, etag, expected) in cases {
        let seen = Seen {
            status,
            content_length,
            content_range,
            etag,
            ..Seen::default()
        };
        let answer = classify(seen, have);
        match expected {
            Some(expected) => assert_eq!(answer, *expected, "{seen:?}"),
            None => assert!(
                matches!(answer, Answer::StartOver(_)),
                "{seen:?}: {answer:?}"
            ),
        }
    }
    let ignored = Seen {
        status: 200,
        content_length: Some("300"),
        ..Seen::default()
    };
    assert_eq!(
        classify(ignored, have),
        Answer::Body {
            from: 0,
            total: 300
        }
    );
}

#[test]
fn what_something_between_sends_in_place_of_a_package_is_suspect() {
    let have = Have {
        bytes: 100,
        total: Some(300),
        etag: None,
    };
    let whole = Seen {
        status: 200,
        content_length: Some("300"),
        content_type: Some("application/octet-stream"),
        ..Seen::default()
    };
    let rest = Seen {
        status: 206,
        content_length: Some("200"),
        content_range: Some("bytes 100-299/300"),
        ..whole
    };
    for seen in [whole, rest] {
        for (name, change) in [
            (
                "page",
                Seen {
                    content_type: Some("text/html"),
                    ..seen
                },
            ),
            (
                "page",
                Seen {
                    content_type: Some("Text/HTML; charset=utf-8"),
                    ..seen
                },
            ),
            (
                "page",
                Seen {
                    content_type: Some("application/xhtml+xml"),
                    ..seen
                },
            ),
            (
                "compressed",
                Seen {
                    content_encoding: Some("gzip"),
                    ..seen
                },
            ),
            (
                "compressed",
                Seen {
                    content_encoding: Some("identity, br"),
                    ..seen
                },
            ),
            (
                "compressed",
                Seen {
                    transfer_encoding: Some("gzip, chunked"),
                    ..seen
                },
            ),
        ] {
            match classify(change, have) {
                Answer::Suspect(reason) if reason.word == Word::NotAPackage => {
                    assert!(reason.message.contains(name), "{change:?}: {reason}");
                }
                other => panic!("{change:?}: {other:?}"),
            }
        }
        let harmless = Seen {
            content_type: Some("text/plain"),
            content_encoding: Some("Identity"),
            ..seen
        };
        assert!(matches!(classify(harmless, have), Answer::Body { .. }));
    }
    // A length beside a transfer coding is not believed.
    let chunked = Some("chunked");
    let answer = classify(
        Seen {
            transfer_encoding: chunked,
            ..whole
        },
        have,
    );
    assert!(
        matches!(&answer, Answer::Suspect(reason) if reason.word == Word::NoLength),
        "{answer:?}"
    );
    let odd = Seen {
        transfer_encoding: chunked,
        content_length: Some("7"),
        ..rest
    };
    assert_eq!(
        classify(odd, have),
        Answer::Body {
            from: 100,
            total: 300
        }
    );
}

#[test]
fn weak_validators_do_not_guard_a_range() {
    assert_eq!(strong(Some("\"a\"")), Some("\"a\""));
    assert_eq!(strong(Some("W/\"a\"")), None);
    assert_eq!(strong(None), None);
}
