//! The order of acknowledgements.

use std::collections::BTreeMap;

/// Acknowledgements in the order in which their messages came, as MQTT demands (3.1.1, section 4.6);
/// mosquitto looks for the message from the front of all that are in flight.
#[derive(Debug)]
pub struct InOrder<T> {
    connection: u64,
    place: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        InOrder {
            connection: 0,
            place: 0,
            early: BTreeMap::new(),
        }
    }
}

impl<T> InOrder<T> {
    /// Takes what is at this place of this connection; returns what may be acknowledged now.
    pub fn next(&mut self, connection: u64, place: u64, one: T) -> Vec<T> {
        if connection != self.connection {
            *self = InOrder {
                connection,
                ..InOrder::default()
            };
        }
        self.early.insert(place, one);
        let mut ready = Vec::new();
        while let Some(one) = self.early.remove(&self.place) {
            ready.push(one);
            self.place = self.place.wrapping_add(1);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::InOrder;

    #[test]
    fn messages_are_acknowledged_in_the_order_in_which_they_came() {
        let mut order = InOrder::default();
        assert!(order.next(1, 2, "c").is_empty());
        assert!(order.next(1, 1, "b").is_empty());
        assert_eq!(order.next(1, 0, "a"), ["a", "b", "c"]);
        assert!(order.next(1, 4, "e").is_empty());
        assert_eq!(order.next(2, 0, "x"), ["x"], "a new connection begins anew");
        assert_eq!(order.next(2, 1, "y"), ["y"]);
    }
}
