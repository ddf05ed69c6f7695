//! The grammar of JSON (RFC 8259), read from left to right, without a tree.

use std::borrow::Cow;

/// How deep values may be nested.
pub(crate) const DEPTH: usize = 128;

/// Where in a text reading stands.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// What a value begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Where it stands, in bytes.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What was passed since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// An error at this place.
    pub(crate) fn fault<T>(&self, expected: &str) -> Result<T, String> {
        let found = match self.text[self.text.floor_char_boundary(self.at)..].chars().next() {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        Err(format!("column {}: expected {expected}, found {found}", self.at + 1))
    }

    /// The next byte that is not blank; it is not passed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Passes `byte`, if it is next.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    pub(crate) fn expect(&mut self, byte: u8, what: &str) -> Result<(), String> {
        if self.take(byte) { Ok(()) } else { self.fault(what) }
    }

    /// What comes next; it is not passed.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<Token, String> {
        Ok(match self.peek() {
            Some(b'{') => Token::Object,
            Some(b'[') => Token::Array,
            Some(b'"') => Token::String,
            Some(b'-' | b'0'..=b'9') => Token::Number,
            Some(b't') => Token::True,
            Some(b'f') => Token::False,
            Some(b'n') => Token::Null,
            _ => return self.fault("a value"),
        })
    }

    /// Passes `true`, `false` or `null`, which begins here.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), String> {
        if !self.text[self.at..].starts_with(word) {
            return self.fault(word);
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes a number.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<&'a str, String> {
        let start = self.at;
        self.at += usize::from(self.bytes()[self.at] == b'-');
        let leading_nought = self.bytes().get(self.at) == Some(&b'0');
        if self.digits()? > 1 && leading_nought {
            self.at = start;
            return self.fault("a number without leading noughts");
        }
        if self.bytes().get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes().get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes().get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(self.since(start))
    }

    #[inline]
    fn digits(&mut self) -> Result<usize, String> {
        let rest = &self.bytes()[self.at..];
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        if count == 0 { self.fault("a digit") } else { Ok(count) }
    }

    /// Passes a string, and gives what it says.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, String> {
        self.at += 1;
        let start = self.at;
        match self.plain()? {
            b'"' => Ok(Cow::Borrowed(&self.text[start..self.at - 1])),
            _ => self.escaped(start).map(Cow::Owned),
        }
    }

    /// Passes bytes up to and with the next quote or backslash: which it is.
    #[inline]
    fn plain(&mut self) -> Result<u8, String> {
        let rest = &self.bytes()[self.at..];
        let Some(len) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) else {
            self.at = self.text.len();
            return self.fault("a quote that closes the string");
        };
        self.at += len;
        if rest[len] < 0x20 {
            return self.fault("no control character in a string");
        }
        self.at += 1;
        Ok(rest[len])
    }

    /// The rest of a string that began at `start`, from behind its first backslash.
    fn escaped(&mut self, start: usize) -> Result<String, String> {
        let mut text = self.text[start..self.at - 1].to_owned();
        loop {
            text.push(self.escape()?);
            let start = self.at;
            let mark = self.plain()?;
            text.push_str(&self.text[start..self.at - 1]);
            if mark == b'"' {
                return Ok(text);
            }
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Result<char, String> {
        let Some(mark) = self.bytes().get(self.at).copied() else { return self.fault("an escape") };
        let char = match mark {
            b'"' | b'\\' | b'/' => char::from(mark),
            b'b' => '\u{8}',
            b'f' => '\u{C}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.fault("an escape"),
        };
        self.at += 1;
        Ok(char)
    }

    /// `u` and four digits, twice where it takes two halves.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.unit()?;
        if !(0xD800..0xDC00).contains(&first) {
            return char::from_u32(first)
                .map_or_else(|| self.fault("the first half of a surrogate pair before the second"), Ok);
        }
        if self.bytes().get(self.at) != Some(&b'\\') {
            return self.fault("the second half of a surrogate pair");
        }
        self.at += 1;
        let second = self.unit()?;
        let pair = (0xDC00..0xE000).contains(&second).then(|| 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00));
        pair.and_then(char::from_u32).map_or_else(|| self.fault("the second half of a surrogate pair"), Ok)
    }

    fn unit(&mut self) -> Result<u32, String> {
        let digits = self.bytes().get(self.at + 1..self.at + 5).filter(|_| self.bytes()[self.at] == b'u');
        let value = digits
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let Some(value) = value else { return self.fault("u and four hexadecimal digits") };
        self.at += 5;
        Ok(value)
    }

    /// Passes a value, whatever it is.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), String> {
        match self.token()? {
            Token::Object => self.members(depth, |cursor, depth| {
                cursor.name()?;
                cursor.skip(depth)
            }),
            Token::Array => self.items(depth, Self::skip),
            Token::String => {
                self.at += 1;
                while self.plain()? == b'\\' {
                    self.escape()?;
                }
                Ok(())
            }
            Token::Number => self.number().map(drop),
            Token::True => self.word("true"),
            Token::False => self.word("false"),
            Token::Null => self.word("null"),
        }
    }

    /// Passes `text`, if it comes next. An empty one never does.
    #[inline]
    pub(crate) fn pass(&mut self, text: &str) -> bool {
        self.peek();
        let next = !text.is_empty() && self.bytes()[self.at..].starts_with(text.as_bytes());
        self.at += if next { text.len() } else { 0 };
        next
    }

    /// Passes the name of a member and its colon.
    #[inline]
    pub(crate) fn name(&mut self) -> Result<Cow<'a, str>, String> {
        if self.peek() != Some(b'"') {
            return self.fault("a name in quotes");
        }
        let name = self.string()?;
        self.expect(b':', "a colon")?;
        Ok(name)
    }

    /// Passes an object; `each` passes a name and its value.
    pub(crate) fn members(
        &mut self,
        depth: usize,
        each: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        self.list(depth, b'}', "a comma or }", each)
    }

    /// Passes an array; `each` passes a value.
    pub(crate) fn items(
        &mut self,
        depth: usize,
        each: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        self.list(depth, b']', "a comma or ]", each)
    }

    fn list(
        &mut self,
        depth: usize,
        end: u8,
        what: &str,
        mut each: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        if depth == DEPTH {
            return self.fault(&format!("at most {DEPTH} levels of nesting"));
        }
        self.at += 1;
        if self.take(end) {
            return Ok(());
        }
        loop {
            each(self, depth + 1)?;
            if !self.take(b',') {
                return self.expect(end, what);
            }
        }
    }
}
