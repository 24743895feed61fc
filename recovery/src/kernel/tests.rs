use super::*;

#[test]
fn which_slot_boots_where_the_one_wanted_does_not() {
    let slot = |whole, confirmed| SlotFound { whole, confirmed };
    let (broken, some, right) = (slot(false, false), slot(true, false), slot(true, true));
    use Choice::{Boot, Write};
    let cases = [
        // The confirmed kernel, in either slot.
        ([right, some], None, true, Some(Boot(Slot::A))),
        ([some, right], Some(Slot::A), true, Some(Boot(Slot::B))),
        // It is written to the other slot: never over the one that boots, never into a refused one.
        ([some, broken], None, true, Some(Write(Slot::B))),
        ([broken, some], None, true, Some(Write(Slot::A))),
        ([broken, some], Some(Slot::A), true, Some(Write(Slot::B))),
        ([some, broken], Some(Slot::B), true, Some(Write(Slot::A))),
        // Without a package, any intact one.
        ([broken, some], Some(Slot::A), false, Some(Boot(Slot::B))),
        ([some, some], None, false, Some(Boot(Slot::A))),
        ([broken, broken], Some(Slot::A), false, None),
        ([broken, broken], None, true, Some(Write(Slot::A))),
    ];
    for (slots, bad, package, expected) in cases {
        assert_eq!(
            choose(slots, bad, package),
            expected,
            "{slots:?} {bad:?} {package}"
        );
    }
}
