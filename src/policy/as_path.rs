//! AS-path expressions, as operators know them from their routers.
//!
//! An expression is matched against the path's text, `65000 65001 {65002 65003}`, anywhere in it unless
//! anchored. `_` stands for either end of the path or whatever separates AS numbers; `^ $ . * + ? | ( ) [ ]`
//! and `{m,n}` mean what they mean in POSIX extended expressions.
//!
//! A path comes from strangers, so matching must not backtrack. An expression becomes a Glushkov automaton:
//! one state a symbol of the expression, all states run at once as a bit set. Time is the length of the path
//! times the number of states over 64, and the path's text is never written out.

use crate::wire::attrs::{AsPath, SegmentKind};

/// The most states of an automaton; about as many symbols as one expression may have.
const STATES_MAX: usize = 512;
const WORDS_MAX: usize = STATES_MAX / 64;
/// How deep parentheses may nest.
const DEPTH_MAX: usize = 32;

/// The alphabet: the characters that a path's text is made of, and its two ends.
const CHARACTERS: &[u8; BEGIN] = b"0123456789 {}()[]";
const BEGIN: usize = 17;
const END: usize = 18;
const SYMBOLS: usize = 19;
const ANY: u32 = (1 << BEGIN) - 1;
/// Everything but the ten digits.
const SEPARATOR: u32 = ((1 << SYMBOLS) - 1) & !((1 << 10) - 1);
/// The ends stand in the text twice, so that `^` and a `_` after it can both have one: symbols are consumed
/// here that are of no width in other implementations.
const ENDS: usize = 2;

fn symbol(character: u8) -> Option<usize> {
    CHARACTERS.iter().position(|known| *known == character)
}

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub struct AsPathPattern {
    /// How many words a bit set of states takes.
    words: usize,
    /// Whether the expression matches nothing at all, and so every path.
    nullable: bool,
    /// States that a match can begin in.
    first: Vec<u64>,
    /// States that a match can end in.
    last: Vec<u64>,
    /// For each state, the states that can come after it.
    follow: Vec<u64>,
    /// For each symbol, the states that it leads into.
    accepts: Vec<u64>,
}

impl AsPathPattern {
    /// Compiles an expression. The error says what is wrong and what would be right.
    pub fn compile(pattern: &str) -> Result<AsPathPattern, String> {
        let mut parser = Parser { text: pattern.as_bytes(), at: 0, depth: 0 };
        let tree = parser.alternatives()?;
        if parser.at < parser.text.len() {
            return Err("has a ) without its (; write \\) for the character".to_string());
        }
        let states = tree.states();
        if states > STATES_MAX {
            return Err(format!("is too long: {states} symbols of at most {STATES_MAX}; split it"));
        }
        let words = states.div_ceil(64).max(1);
        let mut automaton = AsPathPattern {
            words,
            nullable: false,
            first: Vec::new(),
            last: Vec::new(),
            follow: vec![0; states * words],
            accepts: vec![0; SYMBOLS * words],
        };
        let mut next_state = 0;
        let part = automaton.add(&tree, &mut next_state);
        automaton.nullable = part.nullable;
        automaton.first = part.first;
        automaton.last = part.last;
        Ok(automaton)
    }

    /// Adds the states of a part of the expression.
    fn add(&mut self, node: &Node, next_state: &mut usize) -> Part {
        match node {
            Node::One(symbols) => {
                let state = *next_state;
                *next_state += 1;
                for symbol in (0..SYMBOLS).filter(|symbol| symbols >> symbol & 1 != 0) {
                    self.accepts[symbol * self.words + state / 64] |= 1 << (state % 64);
                }
                let mut set = vec![0; self.words];
                set[state / 64] |= 1 << (state % 64);
                Part { nullable: false, first: set.clone(), last: set }
            }
            Node::All(nodes) => {
                let mut all = Part { nullable: true, first: vec![0; self.words], last: vec![0; self.words] };
                for node in nodes {
                    let part = self.add(node, next_state);
                    self.connect(&all.last, &part.first);
                    if all.nullable {
                        union(&mut all.first, &part.first);
                    }
                    if part.nullable {
                        union(&mut all.last, &part.last);
                    } else {
                        all.last = part.last;
                    }
                    all.nullable &= part.nullable;
                }
                all
            }
            Node::Either(nodes) => {
                let mut either =
                    Part { nullable: false, first: vec![0; self.words], last: vec![0; self.words] };
                for node in nodes {
                    let part = self.add(node, next_state);
                    union(&mut either.first, &part.first);
                    union(&mut either.last, &part.last);
                    either.nullable |= part.nullable;
                }
                either
            }
            Node::Repeat { node, zero, many } => {
                let mut part = self.add(node, next_state);
                if *many {
                    self.connect(&part.last, &part.first);
                }
                part.nullable |= *zero;
                part
            }
        }
    }

    /// Lets every state of `to` come after every state of `from`.
    fn connect(&mut self, from: &[u64], to: &[u64]) {
        for state in members(from) {
            union(&mut self.follow[state * self.words..][..self.words], to);
        }
    }

    /// Whether the expression matches the path.
    pub fn matches(&self, path: AsPath<'_>) -> bool {
        if self.nullable {
            return true;
        }
        let mut run = Run { pattern: self, states: [0; WORDS_MAX] };
        run.path(path).is_break()
    }
}

/// What is known of a part of an expression while the automaton grows.
struct Part {
    nullable: bool,
    first: Vec<u64>,
    last: Vec<u64>,
}

fn union(into: &mut [u64], other: &[u64]) {
    for (word, other) in into.iter_mut().zip(other) {
        *word |= other;
    }
}

fn members(set: &[u64]) -> impl Iterator<Item = usize> + '_ {
    set.iter().enumerate().flat_map(|(i, word)| {
        let mut word = *word;
        std::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            word &= word.wrapping_sub(1);
            (bit < 64).then_some(i * 64 + bit)
        })
    })
}

/// The automaton at work on one path. A break means that it has matched.
struct Run<'p> {
    pattern: &'p AsPathPattern,
    states: [u64; WORDS_MAX],
}

type Step = std::ops::ControlFlow<()>;

impl Run<'_> {
    fn path(&mut self, path: AsPath<'_>) -> Step {
        for _ in 0..ENDS {
            self.feed(BEGIN)?;
        }
        for (i, segment) in path.segments().enumerate() {
            if i > 0 {
                self.character(b' ')?;
            }
            let (open, close) = match segment.kind {
                SegmentKind::Sequence => (None, None),
                SegmentKind::Set => (Some(b'{'), Some(b'}')),
                SegmentKind::ConfedSequence => (Some(b'('), Some(b')')),
                SegmentKind::ConfedSet => (Some(b'['), Some(b']')),
            };
            open.map_or(Step::Continue(()), |open| self.character(open))?;
            for (i, asn) in segment.asns().enumerate() {
                if i > 0 {
                    self.character(b' ')?;
                }
                self.number(asn)?;
            }
            close.map_or(Step::Continue(()), |close| self.character(close))?;
        }
        for _ in 0..ENDS {
            self.feed(END)?;
        }
        Step::Continue(())
    }

    fn number(&mut self, mut number: u32) -> Step {
        let mut digits = [0_u8; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        // A digit's symbol is its value.
        digits[at..].iter().try_for_each(|digit| self.feed(usize::from(*digit)))
    }

    fn character(&mut self, character: u8) -> Step {
        symbol(character).map_or(Step::Continue(()), |symbol| self.feed(symbol))
    }

    fn feed(&mut self, symbol: usize) -> Step {
        let pattern = self.pattern;
        let words = pattern.words;
        // A match may begin anywhere.
        let mut next = [0; WORDS_MAX];
        next[..words].copy_from_slice(&pattern.first);
        for state in members(&self.states[..words]) {
            union(&mut next[..words], &pattern.follow[state * words..][..words]);
        }
        let accepts = &pattern.accepts[symbol * words..][..words];
        let mut matched = 0;
        for i in 0..words {
            next[i] &= accepts[i];
            matched |= next[i] & pattern.last[i];
        }
        self.states = next;
        if matched != 0 { Step::Break(()) } else { Step::Continue(()) }
    }
}

/// An expression as a tree.
#[derive(Clone, Debug)]
enum Node {
    /// One symbol of these.
    One(u32),
    /// One after the other.
    All(Vec<Node>),
    /// One of them.
    Either(Vec<Node>),
    /// Once; with `zero` perhaps never, with `many` perhaps more often.
    Repeat { node: Box<Node>, zero: bool, many: bool },
}

impl Node {
    fn states(&self) -> usize {
        match self {
            Node::One(_) => 1,
            Node::All(nodes) | Node::Either(nodes) => nodes.iter().map(Node::states).sum(),
            Node::Repeat { node, .. } => node.states(),
        }
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn alternatives(&mut self) -> Result<Node, String> {
        let mut nodes = vec![self.sequence()?];
        while self.eat(b'|') {
            nodes.push(self.sequence()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Either(nodes) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(byte) = self.peek().filter(|byte| !matches!(byte, b'|' | b')')) {
            self.at += 1;
            let mut node = self.atom(byte)?;
            while let Some(repeated) = self.repeat(&node)? {
                node = repeated;
            }
            nodes.push(node);
        }
        Ok(Node::All(nodes))
    }

    fn atom(&mut self, byte: u8) -> Result<Node, String> {
        match byte {
            b'^' => Ok(Node::One(1 << BEGIN)),
            b'$' => Ok(Node::One(1 << END)),
            b'_' => Ok(Node::One(SEPARATOR)),
            b'.' => Ok(Node::One(ANY)),
            b'[' => self.class().map(Node::One),
            b'(' => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(format!("nests more than {DEPTH_MAX} parentheses; write it flatter"));
                }
                let node = self.alternatives()?;
                if !self.eat(b')') {
                    return Err("has a ( without its ); write \\( for the character".to_string());
                }
                self.depth -= 1;
                Ok(node)
            }
            b'*' | b'+' | b'?' => Err(format!("has a {} with nothing before it to repeat", char::from(byte))),
            b'{' | b'}' => Err(format!("has a bare {0}; write \\{0} for the character", char::from(byte))),
            b'\\' => match self.peek() {
                Some(escaped) => {
                    self.at += 1;
                    one(escaped)
                }
                None => Err("ends in a \\ with nothing after it".to_string()),
            },
            _ => one(byte),
        }
    }

    fn repeat(&mut self, node: &Node) -> Result<Option<Node>, String> {
        let again = |zero, many| Node::Repeat { node: Box::new(node.clone()), zero, many };
        let repeated = match self.peek() {
            Some(b'*') => again(true, true),
            Some(b'+') => again(false, true),
            Some(b'?') => again(true, false),
            Some(b'{') if self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                self.at += 1;
                let (least, most) = self.bounds()?;
                let copies = most.unwrap_or(least + 1).max(1);
                if node.states().saturating_mul(copies) > STATES_MAX {
                    return Err(format!("repeats too much: at most {STATES_MAX} symbols in all"));
                }
                let mut nodes = vec![node.clone(); least];
                match most {
                    None => nodes.push(again(true, true)),
                    Some(most) => nodes.extend((least..most).map(|_| again(true, false))),
                }
                Node::All(nodes)
            }
            _ => return Ok(None),
        };
        // The closing brace of bounds, or the sign itself.
        self.at += 1;
        Ok(Some(repeated))
    }

    /// `m`, `m,` or `m,n`, up to the closing brace.
    fn bounds(&mut self) -> Result<(usize, Option<usize>), String> {
        let wrong =
            || "has a { without bounds; write {2}, {2,} or {2,4}, or \\{ for the character".to_string();
        let least = self.count().ok_or_else(wrong)?;
        let most = if self.eat(b',') { self.count() } else { Some(least) };
        if self.peek() != Some(b'}') || most.is_some_and(|most| most < least) {
            return Err(wrong());
        }
        Ok((least, most))
    }

    fn count(&mut self) -> Option<usize> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.text[self.at..self.at + digits]).ok()?;
        self.at += digits;
        // Greater numbers end at the limit on states.
        text.parse::<u16>().ok().map(usize::from)
    }

    /// What stands between `[` and `]`.
    fn class(&mut self) -> Result<u32, String> {
        let wrong = || "has a [ without its ]; write [0-9]".to_string();
        let negated = self.eat(b'^');
        let mut symbols = 0;
        let mut members = 0;
        loop {
            let byte = self.peek().ok_or_else(wrong)?;
            self.at += 1;
            if byte == b']' && members > 0 {
                break;
            }
            members += 1;
            let ranged =
                self.peek() == Some(b'-') && self.text.get(self.at + 1).is_some_and(|byte| *byte != b']');
            if !ranged {
                let Node::One(symbol) = one(byte)? else { return Err(wrong()) };
                symbols |= symbol;
                continue;
            }
            let end = self.text[self.at + 1];
            self.at += 2;
            if !byte.is_ascii_digit() || !end.is_ascii_digit() || byte > end {
                return Err("has a range that is not of digits; write [0-9]".to_string());
            }
            for digit in byte..=end {
                symbols |= 1 << (digit - b'0');
            }
        }
        Ok(if negated { ANY & !symbols } else { symbols })
    }
}

fn one(byte: u8) -> Result<Node, String> {
    symbol(byte).map(|symbol| Node::One(1 << symbol)).ok_or_else(|| {
        let shown =
            if byte.is_ascii_graphic() { char::from(byte).to_string() } else { format!("{byte:#04x}") };
        format!("looks for {shown:?}, which stands in no AS path; paths are numbers with spaces between them")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence(asns: &[u32]) -> Vec<u8> {
        segment(2, asns)
    }

    fn segment(kind: u8, asns: &[u32]) -> Vec<u8> {
        if asns.is_empty() {
            return Vec::new();
        }
        let mut path = vec![kind, asns.len() as u8];
        asns.iter().for_each(|asn| path.extend(asn.to_be_bytes()));
        path
    }

    fn matches(pattern: &str, asns: &[u32]) -> bool {
        AsPathPattern::compile(pattern).unwrap().matches(AsPath::new(&sequence(asns)))
    }

    #[test]
    fn expressions_of_the_field_mean_what_they_mean_there() {
        for (pattern, path, expected) in [
            ("^$", &[][..], true),
            ("^$", &[1], false),
            ("^65000$", &[65000], true),
            ("^65000$", &[65000, 65000], false),
            ("^65000_", &[65000, 1], true),
            ("^65000_", &[65000], true),
            ("^65000_", &[650001], false),
            ("_65010$", &[1, 65010], true),
            ("_65010$", &[165010], false),
            ("_65010_", &[65010], true),
            ("_65010_$", &[1, 65010], true),
            ("^_65010", &[65010], true),
            ("_6501_", &[65010, 16501], false),
            ("65000 .* 65010", &[65000, 7, 8, 65010], true),
            ("65000 .* 65010", &[65000, 65010], false),
            ("^[0-9]+$", &[4200000000], true),
            ("^[0-9]+$", &[1, 2], false),
            ("^[0-9]+( [0-9]+)?$", &[1, 2], true),
            ("^[0-9]+( [0-9]+)?$", &[1, 2, 3], false),
            ("^(65000_)+$", &[65000, 65000, 65000], true),
            ("^(65000_)+$", &[65000, 65001], false),
            ("_(64512|65000)_", &[1, 64512, 2], true),
            ("_(64512|65000)_", &[1, 64513, 2], false),
            ("_6451[2-9]_", &[64515], true),
            ("_6451[^2-9]_", &[64515], false),
            ("_6451[^2-9]_", &[64510], true),
            ("^([0-9]+_){2}$", &[1, 2], true),
            ("^([0-9]+_){2}$", &[1, 2, 3], false),
            ("^([0-9]+_){2,3}$", &[1, 2, 3], true),
            ("^([0-9]+_){2,3}$", &[1], false),
            ("^([0-9]+_){2,}$", &[1, 2, 3, 4, 5], true),
            ("^([0-9]+_){0,1}$", &[], true),
            (".*", &[], true),
            (".", &[], false),
            ("", &[1], true),
            ("^(|1)$", &[], true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path:?}");
        }
    }

    #[test]
    fn sets_stand_in_braces() {
        let path = [sequence(&[1, 2]), segment(1, &[3, 4])].concat();
        for pattern in ["^1 2 \\{3 4\\}$", "_3_", "_4_", "2 \\{3", "_4_$"] {
            assert!(AsPathPattern::compile(pattern).unwrap().matches(AsPath::new(&path)), "{pattern}");
        }
        assert!(!AsPathPattern::compile("_2 3_").unwrap().matches(AsPath::new(&path)));
    }

    #[test]
    fn a_broken_expression_is_refused_with_a_reason() {
        for (pattern, reason) in [
            ("(1", "("),
            ("1)", ")"),
            ("*1", "*"),
            ("1{", "{"),
            ("1{3,2}", "{"),
            ("[0-9", "["),
            ("abc", "\"a\""),
            ("1\\", "\\"),
            ("[a-z]", "range"),
            ("(1{500}){500}", "repeats too much"),
        ] {
            let error = AsPathPattern::compile(pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
        assert!(AsPathPattern::compile(&"(".repeat(100_000)).is_err());
        assert!(AsPathPattern::compile(&"1".repeat(100_000)).is_err());
    }

    #[test]
    fn what_makes_others_backtrack_does_not_slow_us() {
        let pattern = AsPathPattern::compile("^((1+)+_?)+2$").unwrap();
        assert!(!pattern.matches(AsPath::new(&sequence(&[1_111_111_111; 255]))));
    }

    proptest! {
        /// Against the plainest meaning: a list of AS numbers that contains one.
        #[test]
        fn a_number_between_underscores_is_membership(path in prop::collection::vec(1_u32..40, 0..6), asn in 1_u32..40) {
            prop_assert_eq!(matches(&format!("_{asn}_"), &path), path.contains(&asn));
            prop_assert_eq!(matches(&format!("^{asn}_"), &path), path.first() == Some(&asn));
            prop_assert_eq!(matches(&format!("_{asn}$"), &path), path.last() == Some(&asn));
        }

        #[test]
        fn neither_pattern_nor_path_can_panic(pattern in "[0-9_^$.*+?|(){}\\[\\],\\\\ -]{0,12}", path: Vec<u8>) {
            if let Ok(pattern) = AsPathPattern::compile(&pattern) {
                pattern.matches(AsPath::new(&path));
            }
        }
    }
}
