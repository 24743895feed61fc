//! A control centre talks to the application over TCP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::apdu::{Apdu, Function};
use super::points::Points;
use super::session::Session;
use super::settings::Settings;
use super::{check, parse, server, Task};

/// Time limit of a wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A general interrogation of station 47, originator 3.
const INTERROGATION: [u8; 10] = [100, 1, 6, 3, 47, 0, 0, 0, 0, 20];

fn start(settings: &str, points: &str) -> SocketAddr {
    let text = format!("station_address = 47\nlisten = \"127.0.0.1:0\"\n{settings}");
    let settings = Settings::parse(&text).unwrap();
    let points = Points::parse(points).unwrap();
    let listener = server::listen(&settings).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || server::serve(listener, settings, points));
    address
}

struct Centre {
    stream: TcpStream,
    received: Vec<u8>,
    sent: u16,
}

impl Centre {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let received = Vec::new();
        Centre {
            stream,
            received,
            sent: 0,
        }
    }

    fn started(address: SocketAddr) -> Self {
        let mut centre = Self::connect(address);
        centre.function(Function::StartAct);
        assert_eq!(centre.next(), Some(Apdu::Unnumbered(Function::StartCon)));
        centre
    }

    fn send(&mut self, apdu: &Apdu) {
        self.stream.write_all(&apdu.encode()).unwrap();
    }

    fn function(&mut self, function: Function) {
        self.send(&Apdu::Unnumbered(function));
    }

    fn order(&mut self, asdu: &[u8]) {
        self.send(&Apdu::Information {
            send: self.sent,
            receive: 0,
            asdu: asdu.to_vec(),
        });
        self.sent += 1;
    }

    /// Returns the next APDU; `None` if the station closed the connection.
    fn next(&mut self) -> Option<Apdu> {
        loop {
            if let Some(apdu) = Apdu::take(&mut self.received).unwrap() {
                return Some(apdu);
            }
            let mut buffer = [0; 512];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Returns the next ASDU and its number.
    fn asdu(&mut self) -> (u16, Vec<u8>) {
        match self.next() {
            Some(Apdu::Information { send, asdu, .. }) => (send, asdu),
            other => panic!("{other:?} instead of an ASDU"),
        }
    }
}

#[test]
fn a_general_interrogation_brings_all_points() {
    let address = start(
        "",
        "1,single,1,closed\n2,single,0,open\n16385,measured,1.5,current\n",
    );
    let mut centre = Centre::started(address);
    centre.order(&INTERROGATION);
    let answers: Vec<_> = (0..4).map(|_| centre.asdu()).collect();
    let expected = [
        vec![100, 1, 7, 3, 47, 0, 0, 0, 0, 20],
        vec![1, 2, 20, 3, 47, 0, 1, 0, 0, 1, 2, 0, 0, 0],
        vec![13, 1, 20, 3, 47, 0, 1, 64, 0, 0, 0, 0xc0, 0x3f, 0],
        vec![100, 1, 10, 3, 47, 0, 0, 0, 0, 20],
    ];
    for (number, expected) in expected.into_iter().enumerate() {
        assert_eq!(answers[number], (number as u16, expected));
    }
    // The same for the address of all stations.
    let mut broadcast = INTERROGATION;
    broadcast[4..6].copy_from_slice(&[0xff, 0xff]);
    centre.order(&broadcast);
    assert_eq!(centre.asdu().1, [100, 1, 7, 3, 47, 0, 0, 0, 0, 20]);
}

#[test]
fn a_large_table_waits_for_acknowledgements() {
    let table: String = (1..=2000).map(|n| format!("{n},measured,{n},\n")).collect();
    let mut centre = Centre::started(start("", &table));
    centre.order(&INTERROGATION);
    let mut values = 0;
    for number in 0.. {
        let (send, asdu) = centre.asdu();
        assert_eq!(send, number);
        assert!(asdu.len() <= super::apdu::MAX_ASDU);
        if asdu[0] == 13 {
            values += u32::from(asdu[1]);
        }
        if asdu[2] == 10 {
            break;
        }
        // After k = 12 without an acknowledgement, nothing comes.
        if (number + 1) % 12 == 0 {
            centre.function(Function::TestAct);
            assert_eq!(centre.next(), Some(Apdu::Unnumbered(Function::TestCon)));
            centre.send(&Apdu::Supervisory {
                receive: number + 1,
            });
        }
    }
    assert_eq!(values, 2000);
}

#[test]
fn what_it_does_not_know_it_refuses() {
    let mut centre = Centre::started(start("", ""));
    for (asdu, cause) in [
        ([45, 1, 6, 3, 47, 0, 1, 0, 0, 1], 44 | 0x40),
        ([100, 1, 5, 3, 47, 0, 0, 0, 0, 20], 45 | 0x40),
        ([100, 1, 6, 3, 48, 0, 0, 0, 0, 20], 46 | 0x40),
        ([100, 1, 6, 3, 47, 0, 9, 0, 0, 20], 47 | 0x40),
        ([100, 1, 6, 3, 47, 0, 0, 0, 0, 21], 7 | 0x40),
    ] {
        centre.order(&asdu);
        let mut expected = asdu;
        expected[2] = cause;
        assert_eq!(centre.asdu().1, expected);
    }
}

#[test]
fn start_stop_and_test_are_confirmed() {
    let mut centre = Centre::started(start("", ""));
    for (act, con) in [
        (Function::TestAct, Function::TestCon),
        (Function::StopAct, Function::StopCon),
        (Function::TestAct, Function::TestCon),
        (Function::StartAct, Function::StartCon),
    ] {
        centre.function(act);
        assert_eq!(centre.next(), Some(Apdu::Unnumbered(con)));
    }
}

#[test]
fn broken_rules_end_the_connection() {
    let address = start("", "");
    let ordered = |send, receive| Apdu::Information {
        send,
        receive,
        asdu: INTERROGATION.to_vec(),
    };
    let cases: [(&str, Vec<u8>); 6] = [
        ("not 104", b"GET / HTTP/1.1\r\n".to_vec()),
        ("length", vec![0x68, 255, 0, 0, 0, 0]),
        ("a number left out", ordered(1, 0).encode()),
        ("what was not sent acknowledged", ordered(0, 1).encode()),
        (
            "the same by S format",
            Apdu::Supervisory { receive: 7 }.encode(),
        ),
        (
            "an unasked confirmation",
            Apdu::Unnumbered(Function::StartCon).encode(),
        ),
    ];
    for (what, bytes) in cases {
        let mut centre = Centre::started(address);
        centre.stream.write_all(&bytes).unwrap();
        assert_eq!(centre.next(), None, "{what}");
    }
    let mut centre = Centre::connect(address);
    centre.order(&INTERROGATION);
    assert_eq!(centre.next(), None, "an ASDU before STARTDT");
    check::startdt(&address.to_string()).unwrap();
}

#[test]
fn too_many_connections_are_turned_away_and_places_come_back() {
    let address = start("", "");
    let mut open: Vec<_> = (0..server::MAX_CONNECTIONS)
        .map(|_| Centre::started(address))
        .collect();
    assert_eq!(Centre::connect(address).next(), None);
    drop(open.pop());
    let begin = Instant::now();
    while check::startdt(&address.to_string()).is_err() {
        assert!(begin.elapsed() < PATIENCE, "the place did not come back");
    }
}

#[test]
fn the_check_tells_what_is_wrong() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = silent.accept().unwrap();
        stream.write_all(b"SSH-2.0").unwrap();
        silent
    });
    let error = format!("{:#}", check::startdt(&address.to_string()).unwrap_err());
    assert!(error.contains("an APDU starts with 0x53"), "{error}");
    drop(other.join().unwrap());
    let error = format!("{:#}", check::startdt(&address.to_string()).unwrap_err());
    assert!(error.contains("no connection to 127.0.0.1"), "{error}");
}

#[test]
fn timers_acknowledge_test_and_give_up() {
    let settings = Settings::parse("station_address = 47").unwrap();
    let points = Points::default();
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let mut session = Session::new(&settings, &points, begin);
    let start = Apdu::Unnumbered(Function::StartAct);
    session.receive(start, begin).unwrap();
    // Too short for an answer, but counted.
    let short = Apdu::Information {
        send: 0,
        receive: 0,
        asdu: vec![1],
    };
    assert_eq!(session.receive(short, at(1)).unwrap(), []);
    assert_eq!(session.deadline(), at(11));
    assert_eq!(session.tick(at(10)).unwrap(), []);
    assert_eq!(
        session.tick(at(11)).unwrap(),
        [Apdu::Supervisory { receive: 1 }]
    );
    assert_eq!(session.deadline(), at(21));
    let test = Apdu::Unnumbered(Function::TestAct);
    assert_eq!(session.tick(at(21)).unwrap(), [test]);
    assert_eq!(session.deadline(), at(36));
    assert_eq!(session.tick(at(35)).unwrap(), []);
    assert!(session.tick(at(36)).is_err());

    let order = Apdu::Information {
        send: 1,
        receive: 0,
        asdu: INTERROGATION.to_vec(),
    };
    let answers = session.receive(order, at(36)).unwrap();
    assert_eq!(answers.len(), 2);
    let confirmed = Apdu::Unnumbered(Function::TestCon);
    session.receive(confirmed, at(50)).unwrap();
    assert!(session.tick(at(51)).unwrap_err().0.contains("t1"));
}

#[test]
fn every_w_asdus_are_acknowledged() {
    let settings = Settings::parse("k = 3\nw = 2").unwrap();
    let points = Points::default();
    let now = Instant::now();
    let mut session = Session::new(&settings, &points, now);
    session
        .receive(Apdu::Unnumbered(Function::StartAct), now)
        .unwrap();
    let mut answers = Vec::new();
    for send in 0..4 {
        let asdu = vec![1];
        let apdu = Apdu::Information {
            send,
            receive: 0,
            asdu,
        };
        answers.push(session.receive(apdu, now).unwrap().len());
    }
    assert_eq!(answers, [0, 1, 0, 1]);
}

#[test]
fn the_command_line_is_understood() {
    let task = |words: &[&str]| parse(words.iter().map(|word| (*word).to_owned()));
    let check = task(&["--check-port", "127.0.0.1:2404"]).unwrap();
    assert_eq!(check, Task::CheckPort("127.0.0.1:2404".to_owned()));
    let serve = task(&["--settings", "s", "--points", "p"]).unwrap();
    let (settings, points) = ("s".into(), "p".into());
    assert_eq!(serve, Task::Serve { settings, points });
    for words in [&["--port"][..], &["--settings"], &["--check-port"], &["x"]] {
        assert!(task(words).is_err(), "{words:?}");
    }
}
