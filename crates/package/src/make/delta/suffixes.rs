//! The sorted suffixes of a text, by induced sorting (Nong, Zhang, Chan: Two Efficient Algorithms for
//! Linear Time Suffix Array Construction, 2009).
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "every index is one of the text's or of its alphabet's, and the maker alone runs it"
)]

/// No suffix.
const NONE: u32 = u32::MAX;

/// Returns the starts of all suffixes in the order of the suffixes. Takes about 20 bytes of memory
/// for each byte of text, which has less than 4 GiB.
pub(super) fn suffixes(text: &[u8]) -> Vec<u32> {
    let text: Vec<u32> = text.iter().map(|byte| u32::from(*byte)).collect();
    sort(&text, 255)
}

/// Does the same for a text of numbers up to `largest`.
fn sort(text: &[u32], largest: usize) -> Vec<u32> {
    let n = text.len();
    match n {
        0 => return Vec::new(),
        1 => return vec![0],
        2 if text[0] < text[1] => return vec![0, 1],
        2 => return vec![1, 0],
        _ => {}
    }
    // Whether a suffix is smaller than the next one.
    let mut smaller = vec![false; n];
    for at in (0..n - 1).rev() {
        smaller[at] = match text[at] == text[at + 1] {
            true => smaller[at + 1],
            false => text[at] < text[at + 1],
        };
    }
    let buckets = Buckets::new(text, &smaller, largest);
    let leftmost = |at: &usize| !smaller[at - 1] && smaller[*at];
    let marks: Vec<u32> = (1..n).filter(leftmost).map(|at| at as u32).collect();
    let mut sorted = vec![NONE; n];
    buckets.induce(text, &smaller, &marks, &mut sorted);
    if marks.is_empty() {
        return sorted;
    }
    let mut number_of = vec![NONE; n];
    for (number, mark) in marks.iter().enumerate() {
        number_of[*mark as usize] = number as u32;
    }
    let mut order: Vec<u32> = sorted
        .iter()
        .copied()
        .filter(|at| number_of[*at as usize] != NONE)
        .collect();
    let part = |mark: u32| {
        let number = number_of[mark as usize] as usize;
        let end = marks.get(number + 1).map_or(n, |next| *next as usize);
        (mark as usize, end)
    };
    let mut names = vec![0; marks.len()];
    let mut name = 0;
    for pair in order.windows(2) {
        let ((left, left_end), (right, right_end)) = (part(pair[0]), part(pair[1]));
        let equal = left_end < n
            && right_end < n
            && left_end - left == right_end - right
            && text[left..=left_end] == text[right..=right_end];
        name += u32::from(!equal);
        names[number_of[pair[1] as usize] as usize] = name;
    }
    drop(number_of);
    for (place, number) in order.iter_mut().zip(sort(&names, name as usize)) {
        *place = marks[number as usize];
    }
    buckets.induce(text, &smaller, &order, &mut sorted);
    sorted
}

/// Where the suffixes that begin with each number start: larger ones first, then smaller ones.
struct Buckets {
    larger: Vec<u32>,
    smaller: Vec<u32>,
}

impl Buckets {
    fn new(text: &[u32], smaller: &[bool], largest: usize) -> Self {
        let mut larger_starts = vec![0; largest + 2];
        let mut smaller_starts = vec![0; largest + 2];
        for (number, smaller) in text.iter().zip(smaller) {
            match smaller {
                true => larger_starts[*number as usize + 1] += 1,
                false => smaller_starts[*number as usize] += 1,
            }
        }
        for number in 0..=largest {
            smaller_starts[number] += larger_starts[number];
            larger_starts[number + 1] += smaller_starts[number];
        }
        Self {
            larger: larger_starts,
            smaller: smaller_starts,
        }
    }

    /// Sorts all suffixes by the order of some.
    fn induce(&self, text: &[u32], smaller: &[bool], order: &[u32], sorted: &mut [u32]) {
        let n = text.len();
        sorted.fill(NONE);
        let mut next = self.smaller.clone();
        let put = |next: &mut [u32], at: usize, sorted: &mut [u32]| {
            let place = &mut next[text[at] as usize];
            sorted[*place as usize] = at as u32;
            *place += 1;
        };
        for at in order {
            put(&mut next, *at as usize, sorted);
        }
        next.copy_from_slice(&self.larger);
        put(&mut next, n - 1, sorted);
        for index in 0..n {
            let at = sorted[index] as usize;
            if sorted[index] != NONE && at >= 1 && !smaller[at - 1] {
                put(&mut next, at - 1, sorted);
            }
        }
        next.copy_from_slice(&self.larger);
        for index in (0..n).rev() {
            let at = sorted[index] as usize;
            if sorted[index] != NONE && at >= 1 && smaller[at - 1] {
                let place = &mut next[text[at - 1] as usize + 1];
                *place -= 1;
                sorted[*place as usize] = (at - 1) as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_come_in_their_order() {
        let mut state = 1_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut texts = vec![b"mississippi".to_vec(), vec![0; 300], Vec::new(), vec![255]];
        for round in 0..300 {
            let (len, letters) = (random(200), 1 + random(4 + round % 60));
            texts.push((0..len).map(|_| random(letters) as u8).collect());
        }
        for text in texts {
            let mut right: Vec<u32> = (0..text.len() as u32).collect();
            right.sort_by_key(|start| &text[*start as usize..]);
            assert_eq!(suffixes(&text), right, "{text:?}");
        }
    }
}
