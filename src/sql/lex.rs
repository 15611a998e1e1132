//! PostgreSQL's lexical rules: one pass over the text, tokens with byte positions.
//!
//! Follows chapter 4.1 of PostgreSQL's manual ("Lexical Structure"), standard_conforming_strings on. Owns the
//! decoding of identifiers and string constants; knows nothing of grammar.

use crate::error::{Condition, Error};

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword without quotes.
    Word,
    /// `"name"`.
    QuotedWord,
    /// `U&"name"`.
    UnicodeWord,
    /// Digits only.
    Integer,
    /// Digits with a point or an exponent.
    Decimal,
    /// `'text'`, also `N'text'`.
    String,
    /// `E'text'`.
    EscapeString,
    /// `U&'text'`.
    UnicodeString,
    /// `$tag$text$tag$`.
    DollarString,
    /// `B'0101'`.
    BitString,
    /// `X'1FF'`.
    HexString,
    /// `$1`.
    Parameter,
    /// A run of operator characters.
    Operator,
    /// One of `( ) [ ] , ; . :`, or `::`, `:=`, `..`.
    Punctuation,
    /// A long list of plain values, of which the parser made one token.
    List,
}

impl Kind {
    /// Whether it is a constant of string form whose type the context decides.
    pub fn is_string(self) -> bool {
        matches!(self, Self::String | Self::EscapeString | Self::UnicodeString | Self::DollarString)
    }

    /// Whether it is a constant that a cached plan can take as a bind.
    pub fn is_literal(self) -> bool {
        self.is_string() || matches!(self, Self::Integer | Self::Decimal)
    }
}

/// A token: its kind and where it stands in the text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Token {
    /// The token's text, quotes included.
    pub fn text<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.start..self.end).unwrap_or("")
    }

    /// Whether it is that punctuation or operator.
    pub fn is(&self, source: &str, what: &str) -> bool {
        matches!(self.kind, Kind::Punctuation | Kind::Operator) && self.text(source) == what
    }
}

/// The character position that errors report for a byte offset.
pub fn position(text: &str, byte: usize) -> usize {
    let end = byte.min(text.len());
    text.as_bytes().get(..end).unwrap_or(&[]).iter().filter(|b| (**b & 0xC0) != 0x80).count() + 1
}

/// `42601` at a byte offset.
pub fn syntax_error(text: &str, byte: usize, message: impl Into<String>) -> Error {
    Error::new(Condition::SyntaxError, message).position(position(text, byte))
}

/// Reads tokens off a text.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

fn is_identifier_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_identifier_part(byte: u8) -> bool {
    is_identifier_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b'*'
            | b'/'
            | b'<'
            | b'>'
            | b'='
            | b'~'
            | b'!'
            | b'@'
            | b'#'
            | b'%'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
    )
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, start: usize, what: &str) -> Error {
        let near = self.text.get(start..).unwrap_or("");
        syntax_error(self.text, start, format!("{what} at or near \"{near}\""))
    }

    /// The next token, or `None` at the end of the text.
    pub fn next_token(&mut self) -> Result<Option<Token>, Error> {
        self.skip_blank()?;
        let start = self.at;
        if start >= self.bytes.len() {
            return Ok(None);
        }
        let first = self.peek(0);
        let kind = match first {
            b'\'' => self.quoted(start, Kind::String)?,
            b'"' => self.quoted_word(start, Kind::QuotedWord)?,
            b'0'..=b'9' => self.number(start)?,
            b'.' if self.peek(1).is_ascii_digit() => self.number(start)?,
            b'$' => self.dollar(start)?,
            b'(' | b')' | b'[' | b']' | b',' | b';' | b'{' | b'}' | b'\\' => {
                self.at += 1;
                Kind::Punctuation
            }
            b'.' => {
                self.at += if self.peek(1) == b'.' { 2 } else { 1 };
                Kind::Punctuation
            }
            b':' => {
                self.at += if matches!(self.peek(1), b':' | b'=') { 2 } else { 1 };
                Kind::Punctuation
            }
            _ if is_identifier_start(first) => self.word(start, first)?,
            _ if is_operator(first) => self.operator(start),
            _ => {
                let near = self.text.get(start..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
                return Err(syntax_error(self.text, start, format!("syntax error at or near \"{near}\"")));
            }
        };
        Ok(Some(Token { kind, start, end: self.at }))
    }

    /// Skips white space and comments; block comments nest.
    fn skip_blank(&mut self) -> Result<(), Error> {
        loop {
            let byte = self.peek(0);
            if is_space(byte) && self.at < self.bytes.len() {
                self.at += 1;
            } else if byte == b'-' && self.peek(1) == b'-' {
                self.skip_line();
            } else if byte == b'/' && self.peek(1) == b'*' {
                self.skip_block()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn skip_block(&mut self) -> Result<(), Error> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            if self.at >= self.bytes.len() {
                return Err(self.error(start, "unterminated /* comment"));
            }
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn word(&mut self, start: usize, first: u8) -> Result<Kind, Error> {
        let second = self.peek(1);
        let prefixed = match (first | 0x20, second) {
            (b'e', b'\'') => Some(Kind::EscapeString),
            (b'n', b'\'') => Some(Kind::String),
            (b'b', b'\'') => Some(Kind::BitString),
            (b'x', b'\'') => Some(Kind::HexString),
            _ => None,
        };
        if let Some(kind) = prefixed {
            self.at += 1;
            return self.quoted(start, kind);
        }
        if first | 0x20 == b'u' && second == b'&' {
            match self.peek(2) {
                b'\'' => {
                    self.at += 2;
                    return self.quoted(start, Kind::UnicodeString);
                }
                b'"' => {
                    self.at += 2;
                    return self.quoted_word(start, Kind::UnicodeWord);
                }
                _ => {}
            }
        }
        while is_identifier_part(self.peek(0)) {
            self.at += 1;
        }
        Ok(Kind::Word)
    }

    /// A quoted constant whose opening quote is at the cursor. A further quoted part after white space that
    /// holds a newline continues it.
    fn quoted(&mut self, start: usize, kind: Kind) -> Result<Kind, Error> {
        loop {
            self.at += 1;
            loop {
                if self.at >= self.bytes.len() {
                    let what = match kind {
                        Kind::BitString => "unterminated bit string literal",
                        Kind::HexString => "unterminated hexadecimal string literal",
                        _ => "unterminated quoted string",
                    };
                    return Err(self.error(start, what));
                }
                match self.peek(0) {
                    b'\'' if self.peek(1) == b'\'' => self.at += 2,
                    b'\'' => break,
                    b'\\' if kind == Kind::EscapeString => self.at = (self.at + 2).min(self.bytes.len()),
                    _ => self.at += 1,
                }
            }
            self.at += 1;
            match self.continuation() {
                Some(next) => self.at = next,
                None => return Ok(kind),
            }
        }
    }

    /// Where a constant goes on: the quote that follows white space with a newline in it.
    fn continuation(&self) -> Option<usize> {
        let mut at = self.at;
        let mut newline = false;
        loop {
            match self.bytes.get(at).copied()? {
                b'\n' | b'\r' => newline = true,
                b'-' if self.bytes.get(at + 1) == Some(&b'-') && newline => {
                    while !matches!(self.bytes.get(at).copied()?, b'\n' | b'\r') {
                        at += 1;
                    }
                    continue;
                }
                byte if is_space(byte) => {}
                b'\'' if newline => return Some(at),
                _ => return None,
            }
            at += 1;
        }
    }

    fn quoted_word(&mut self, start: usize, kind: Kind) -> Result<Kind, Error> {
        let open = self.at;
        self.at += 1;
        loop {
            if self.at >= self.bytes.len() {
                return Err(self.error(start, "unterminated quoted identifier"));
            }
            match self.peek(0) {
                b'"' if self.peek(1) == b'"' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        if self.at - open == 2 {
            return Err(syntax_error(
                self.text,
                start,
                format!("zero-length delimited identifier at or near \"{}\"", "\"\""),
            ));
        }
        Ok(kind)
    }

    fn number(&mut self, start: usize) -> Result<Kind, Error> {
        let mut kind = Kind::Integer;
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            kind = Kind::Decimal;
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        if self.peek(0) | 0x20 == b'e' {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                kind = Kind::Decimal;
                self.at += 1 + sign;
                while self.peek(0).is_ascii_digit() {
                    self.at += 1;
                }
            }
        }
        if is_identifier_start(self.peek(0)) {
            self.finish_junk();
            let near = self.text.get(start..self.at).unwrap_or("");
            let message = format!("trailing junk after numeric literal at or near \"{near}\"");
            return Err(syntax_error(self.text, start, message));
        }
        Ok(kind)
    }

    fn finish_junk(&mut self) {
        while is_identifier_part(self.peek(0)) {
            self.at += 1;
        }
    }

    /// A parameter or a dollar-quoted string.
    fn dollar(&mut self, start: usize) -> Result<Kind, Error> {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
            if is_identifier_start(self.peek(0)) {
                self.finish_junk();
                let near = self.text.get(start..self.at).unwrap_or("");
                let message = format!("trailing junk after parameter at or near \"{near}\"");
                return Err(syntax_error(self.text, start, message));
            }
            return Ok(Kind::Parameter);
        }
        let mut end = start + 1;
        if self.bytes.get(end).copied().is_some_and(is_identifier_start) {
            while self.bytes.get(end).copied().is_some_and(|b| is_identifier_part(b) && b != b'$') {
                end += 1;
            }
        }
        if self.bytes.get(end) != Some(&b'$') {
            return Err(syntax_error(self.text, start, "syntax error at or near \"$\""));
        }
        let delimiter = self.text.get(start..=end).unwrap_or("$$");
        match self.text.get(end + 1..).and_then(|rest| rest.find(delimiter)) {
            Some(offset) => {
                self.at = end + 1 + offset + delimiter.len();
                Ok(Kind::DollarString)
            }
            None => Err(self.error(start, "unterminated dollar-quoted string")),
        }
    }

    /// The longest run of operator characters that neither starts a comment nor, unless it holds one of
    /// `~ ! @ # % ^ & | ` ?`, ends in `+` or `-`.
    fn operator(&mut self, start: usize) -> Kind {
        let mut end = start;
        while let Some(byte) = self.bytes.get(end).copied() {
            let next = self.bytes.get(end + 1).copied().unwrap_or(0);
            let comment = (byte == b'-' && next == b'-') || (byte == b'/' && next == b'*');
            if !is_operator(byte) || (comment && end > start) {
                break;
            }
            end += 1;
        }
        let run = self.bytes.get(start..end).unwrap_or(&[]);
        let special =
            run.iter().any(|b| matches!(b, b'~' | b'!' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'`' | b'?'));
        if !special {
            while end - start > 1 && matches!(self.bytes.get(end - 1), Some(b'+' | b'-')) {
                end -= 1;
            }
        }
        self.at = end;
        Kind::Operator
    }
}

/// The name that an identifier token stands for: folded to lower case unless quoted, cut to 63 bytes.
pub fn identifier(token: Token, source: &str) -> Result<String, Error> {
    let text = token.text(source);
    let mut name = match token.kind {
        Kind::QuotedWord => text.get(1..text.len().saturating_sub(1)).unwrap_or("").replace("\"\"", "\""),
        Kind::UnicodeWord => {
            let inner = text.get(3..text.len().saturating_sub(1)).unwrap_or("").replace("\"\"", "\"");
            unicode_escapes(&inner, source, token.start)?
        }
        _ => text.to_ascii_lowercase(),
    };
    const NAME_LENGTH_MAX: usize = 63;
    if name.len() > NAME_LENGTH_MAX {
        let mut end = NAME_LENGTH_MAX;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    Ok(name)
}

/// The text that a string constant stands for.
pub fn string_value(kind: Kind, text: &str, source: &str, start: usize) -> Result<String, Error> {
    if kind == Kind::DollarString {
        let delimiter = text.get(1..).and_then(|rest| rest.find('$')).map_or(2, |at| at + 2);
        return Ok(text.get(delimiter..text.len().saturating_sub(delimiter)).unwrap_or("").to_owned());
    }
    let open = text.find('\'').unwrap_or(0);
    let body = text.get(open + 1..text.len().saturating_sub(1)).unwrap_or("");
    if kind == Kind::String && !body.contains('\'') {
        return Ok(body.to_owned());
    }
    let joined = undouble(body, kind == Kind::EscapeString);
    match kind {
        Kind::EscapeString => escapes(&joined, source, start),
        Kind::UnicodeString => unicode_escapes(&joined, source, start),
        _ => Ok(joined),
    }
}

/// Joins the parts of a constant and undoubles its quotes; backslash pairs are kept where they escape.
fn undouble(body: &str, escapes: bool) -> String {
    let mut out = String::with_capacity(body.len());
    let mut chars = body.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if escapes => {
                out.push(c);
                out.extend(chars.next());
            }
            '\'' if chars.peek() == Some(&'\'') => {
                chars.next();
                out.push('\'');
            }
            // The end of one part: skip to the opening quote of the next.
            '\'' => while chars.next().is_some_and(|c| c != '\'') {},
            _ => out.push(c),
        }
    }
    out
}

/// Backslash escapes of `E'…'`.
fn escapes(body: &str, source: &str, start: usize) -> Result<String, Error> {
    let mut out: Vec<u8> = Vec::with_capacity(body.len());
    let mut chars = body.chars().peekable();
    let invalid = || {
        Error::new(Condition::InvalidEscapeSequence, "invalid Unicode escape value").position(position(source, start))
    };
    let mut high: Option<u32> = None;
    while let Some(c) = chars.next() {
        let mut buffer = [0u8; 4];
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let Some(escaped) = chars.next() else { break };
        match escaped {
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
                out.push(take_digits(&mut chars, 16, 2).0 as u8)
            }
            '0'..='7' => {
                let rest = take_digits(&mut chars, 8, 2);
                let first = escaped.to_digit(8).unwrap_or(0);
                let digits = rest.1;
                out.push(((first << (3 * digits)) + rest.0) as u8);
            }
            'u' | 'U' => {
                let wanted = if escaped == 'u' { 4 } else { 8 };
                let (value, digits) = take_digits(&mut chars, 16, wanted);
                if digits != wanted {
                    return Err(invalid());
                }
                push_code_point(&mut out, &mut high, value).ok_or_else(invalid)?;
            }
            other => out.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    if high.is_some() {
        return Err(invalid());
    }
    if out.contains(&0) {
        return Err(Error::new(
            Condition::CharacterNotInRepertoire,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    String::from_utf8(out)
        .map_err(|_| Error::new(Condition::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\""))
}

/// Appends a code point; surrogates come in pairs.
fn push_code_point(out: &mut Vec<u8>, high: &mut Option<u32>, value: u32) -> Option<()> {
    let value = match (high.take(), value) {
        (None, 0xD800..=0xDBFF) => {
            *high = Some(value);
            return Some(());
        }
        (Some(first), 0xDC00..=0xDFFF) => 0x10000 + ((first - 0xD800) << 10) + (value - 0xDC00),
        (Some(_), _) => return None,
        (None, value) => value,
    };
    let c = char::from_u32(value)?;
    let mut buffer = [0u8; 4];
    out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    Some(())
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads at most `most` digits; their value and how many there were.
fn take_digits(chars: &mut Characters<'_>, radix: u32, most: u32) -> (u32, u32) {
    let mut value = 0u32;
    let mut count = 0;
    while count < most {
        let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
        value = value.wrapping_mul(radix).wrapping_add(digit);
        count += 1;
        chars.next();
    }
    (value, count)
}

/// `\XXXX`, `\+XXXXXX` and `\\` of `U&'…'`.
fn unicode_escapes(body: &str, source: &str, start: usize) -> Result<String, Error> {
    let mut out: Vec<u8> = Vec::with_capacity(body.len());
    let mut chars = body.chars().peekable();
    let mut high = None;
    let invalid = || syntax_error(source, start, "invalid Unicode escape");
    while let Some(c) = chars.next() {
        let mut buffer = [0u8; 4];
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        if chars.peek() == Some(&'\\') {
            chars.next();
            out.push(b'\\');
            continue;
        }
        let wanted = if chars.peek() == Some(&'+') { 6 } else { 4 };
        if wanted == 6 {
            chars.next();
        }
        let (value, digits) = take_digits(&mut chars, 16, wanted);
        if digits != wanted || value == 0 {
            return Err(invalid());
        }
        push_code_point(&mut out, &mut high, value).ok_or_else(invalid)?;
    }
    if high.is_some() {
        return Err(invalid());
    }
    String::from_utf8(out).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tokens(text: &str) -> Vec<(Kind, &str)> {
        let mut lexer = Lexer::new(text);
        let mut out = Vec::new();
        while let Some(token) = lexer.next_token().unwrap() {
            out.push((token.kind, token.text(text)));
        }
        out
    }

    fn value(text: &str) -> String {
        let token = Lexer::new(text).next_token().unwrap().unwrap();
        assert_eq!(token.end, text.len(), "{text}");
        string_value(token.kind, text, text, 0).unwrap()
    }

    #[test]
    fn operators_are_munched_as_postgresql_does() {
        assert_eq!(
            tokens("a+-1"),
            [(Kind::Word, "a"), (Kind::Operator, "+"), (Kind::Operator, "-"), (Kind::Integer, "1")]
        );
        assert_eq!(tokens("a@-1")[1], (Kind::Operator, "@-"));
        assert_eq!(tokens("a=-1")[1], (Kind::Operator, "="));
        assert_eq!(tokens("a*--x\nb").len(), 3);
        assert_eq!(tokens("1::int")[1], (Kind::Punctuation, "::"));
        assert_eq!(tokens("1..2").len(), 3);
    }

    #[test]
    fn constants_decode() {
        assert_eq!(value("'it''s'"), "it's");
        assert_eq!(value("'a'\n 'b'"), "ab");
        assert_eq!(value(r"E'\n\'x\x41\101\u00e4'"), "\n'xAAä");
        assert_eq!(value(r"U&'d\0061t\+000061'"), "data");
        assert_eq!(value("$q$it's $$$q$"), "it's $$");
        assert_eq!(value("$$$$"), "");
        assert_eq!(value("'\\'"), "\\");
    }

    #[test]
    fn errors_name_what_is_open() {
        let error = |text: &str| {
            let mut lexer = Lexer::new(text);
            loop {
                match lexer.next_token() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("no error in {text}"),
                    Err(error) => return (error.fields().message.clone(), error.fields().position),
                }
            }
        };
        assert_eq!(error("select 'ab"), ("unterminated quoted string at or near \"'ab\"".into(), Some(8)));
        assert_eq!(error("/* a /* b */").1, Some(1));
        assert_eq!(error("select 12ab").0, "trailing junk after numeric literal at or near \"12ab\"");
        assert_eq!(error("ä \"x").1, Some(3));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC*") {
            let mut lexer = Lexer::new(&text);
            while let Ok(Some(token)) = lexer.next_token() {
                if token.kind.is_string() {
                    let _ = string_value(token.kind, token.text(&text), &text, token.start);
                }
                let _ = identifier(token, &text);
            }
        }

        #[test]
        fn text_of_lexical_marks_never_panics(text in "[a$eUuXb&'\"\\\\0-9.;/*+\\-\n ]{0,40}") {
            let mut lexer = Lexer::new(&text);
            while let Ok(Some(token)) = lexer.next_token() {
                if token.kind.is_string() {
                    let _ = string_value(token.kind, token.text(&text), &text, token.start);
                }
            }
        }
    }
}
