use super::*;

fn connections() -> Connections {
    Connections::new(Limits {
        authenticated: 2,
        guests: 4,
        guests_per_address: 3,
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Tells whether the connection must be closed.
async fn is_closed(connection: &Connection) -> bool {
    let wait = tokio::time::timeout(std::time::Duration::from_millis(1), connection.closed());
    wait.await.is_ok()
}

#[tokio::test]
async fn the_guest_that_waits_longest_gives_way_to_one_of_its_own_address() {
    let connections = connections();
    let all: Vec<_> = (0..4)
        .map(|_| connections.add(address("192.0.2.1")))
        .collect();
    let mut closed = Vec::new();
    for connection in &all {
        closed.push(is_closed(connection).await);
    }
    assert_eq!(closed, [true, false, false, false]);
}

#[tokio::test]
async fn attack_from_one_address_displaces_nobody_elsewhere() {
    let connections = connections();
    let quiet = connections.add(address("198.51.100.7"));
    let silent: Vec<_> = (0..50)
        .map(|_| connections.add(address("192.0.2.1")))
        .collect();
    let newcomer = connections.add(address("198.51.100.8"));
    assert!(!is_closed(&quiet).await && !is_closed(&newcomer).await);
    assert!(is_closed(&silent[0]).await);
    assert!(connections.state().guests.len() <= 4);
}

#[tokio::test]
async fn who_showed_a_token_is_displaced_by_no_guest_and_leaves_room_for_them() {
    let connections = connections();
    let authenticated: Vec<_> = (0..3)
        .map(|_| connections.add(address("192.0.2.1")))
        .collect();
    let authenticate: Vec<bool> = authenticated
        .iter()
        .map(|connection| connection.authenticate())
        .collect();
    assert_eq!(authenticate, [true, true, false]);
    let _guests: Vec<_> = (0..50)
        .map(|_| connections.add(address("192.0.2.1")))
        .collect();
    assert!(!is_closed(&authenticated[0]).await && !is_closed(&authenticated[1]).await);
    drop(authenticated);
    assert!(connections.add(address("192.0.2.2")).authenticate());
}

#[test]
fn what_has_left_is_not_counted() {
    let connections = connections();
    for _ in 0..100 {
        connections.add(address("192.0.2.1")).authenticate();
        drop(connections.add(address("192.0.2.1")));
    }
    let state = connections.state();
    assert!(state.guests.is_empty() && state.waiting.is_empty() && state.authenticated.is_empty());
}

#[test]
fn an_ipv6_host_counts_as_its_64_and_a_mapped_address_as_ipv4() {
    let network = |text| Network::of(address(text)).to_string();
    assert_eq!(network("2001:db8:1:2::1"), "2001:db8:1:2::/64");
    assert_eq!(network("2001:db8:1:2:ffff::9"), "2001:db8:1:2::/64");
    assert_ne!(network("2001:db8:1:3::1"), network("2001:db8:1:2::1"));
    assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
}
