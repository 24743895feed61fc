//! Compares versions in Debian's order, without epochs.
//!
//! Source: Debian Policy 5.6.12. Runs of digits compare as numbers; in between letters come before
//! everything else and `~` before even the end, so `1.2~rc1` is earlier than `1.2`, and that
//! earlier than `1.10`.

use std::cmp::Ordering;

/// Compares two versions.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    while !(left.is_empty() && right.is_empty()) {
        let (words, numbers) = (split(left, false), split(right, false));
        match compare_words(words.0, numbers.0) {
            Ordering::Equal => (left, right) = (words.1, numbers.1),
            decided => return decided,
        }
        let (left_number, right_number) = (split(left, true), split(right, true));
        match compare_numbers(left_number.0, right_number.0) {
            Ordering::Equal => (left, right) = (left_number.1, right_number.1),
            decided => return decided,
        }
    }
    Ordering::Equal
}

/// Returns a text that stands for a version where only bytes can be compared, as in a database: two
/// keys have the order that [`compare`] gives their versions.
pub fn sort_key(version: &str) -> String {
    let (mut key, mut rest) = (String::new(), version);
    loop {
        let (word, after) = split(rest, false);
        for letter in word.chars() {
            match letter {
                '~' => key.push('!'),
                letter if letter.is_ascii_alphabetic() => key.push(letter),
                letter => key.extend(['~', letter]),
            }
        }
        // Ends a word: behind `~`, before any other letter.
        key.push('"');
        let (number, after) = split(after, true);
        let number = number.trim_start_matches('0');
        // A longer number is greater, and so is a length of more digits.
        let length = number.len().to_string();
        key.push_str(&format!("{}{length}{number}", length.len()));
        if after.is_empty() {
            key.push('"');
            return key;
        }
        rest = after;
    }
}

/// Splits off the leading run of digits, or of non-digits.
fn split(text: &str, digits: bool) -> (&str, &str) {
    let end = text.find(|letter: char| letter.is_ascii_digit() != digits);
    text.split_at(end.unwrap_or(text.len()))
}

fn compare_words(left: &str, right: &str) -> Ordering {
    let weight = |letter: Option<char>| match letter {
        Some('~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i64::from(u32::from(letter)),
        Some(letter) => i64::from(u32::from(letter)).saturating_add(256),
    };
    let (mut left, mut right) = (left.chars(), right.chars());
    loop {
        let pair = (left.next(), right.next());
        match weight(pair.0).cmp(&weight(pair.1)) {
            Ordering::Equal if pair == (None, None) => return Ordering::Equal,
            Ordering::Equal => {}
            decided => return decided,
        }
    }
}

/// Compares numbers of any length.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then(left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_one_order() {
        let ascending = [
            "",
            "1.0~rc1",
            "1.0~rc2",
            "1.0",
            "1.0a",
            "1.0.1",
            "1.1",
            "1.2",
            "1.10",
            "1.10-1",
            "2",
            "99999999999999999999999999",
            "v1",
        ];
        for (index, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), index.cmp(&other), "{left} {right}");
            }
        }
        assert_eq!(compare("1.01", "1.1"), Ordering::Equal);
    }

    proptest::proptest! {
        #[test]
        fn keys_have_the_order_of_versions(
            left in "([0-9]{0,12}[a-c~.+é-]{0,3}){0,4}",
            right in "([0-9]{0,12}[a-c~.+é-]{0,3}){0,4}",
            end in "[0-9a-c~.]{0,3}",
        ) {
            for right in [right, left.clone() + &end] {
                let keys = sort_key(&left).cmp(&sort_key(&right));
                proptest::prop_assert_eq!(keys, compare(&left, &right), "{} {}", left, right);
            }
        }
    }
}
