//! Splits the text of a date, time or interval into fields, and knows the words that can be in it.

/// What a field looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sql::types) enum Kind {
    /// Digits, with a point perhaps.
    Number,
    /// Letters.
    Word,
    /// A sign and letters.
    Special,
    /// Digits and letters with dashes, slashes or points in between.
    Date,
    /// Digits with colons.
    Time,
    /// A sign and digits.
    Offset,
}

/// A field, in lower case.
#[derive(Debug, Clone)]
pub(in crate::sql::types) struct Field {
    pub kind: Kind,
    pub text: String,
}

/// Fields that a text may have.
const FIELDS_MAX: usize = 25;
/// Bytes of all fields together.
const LENGTH_MAX: usize = 128 + FIELDS_MAX;

/// The fields of a text; `None` if it cannot be a date, time or interval.
pub(in crate::sql::types) fn split(text: &str) -> Option<Vec<Field>> {
    let bytes = text.as_bytes();
    let mut fields: Vec<Field> = Vec::new();
    let mut length = 0;
    let mut at = 0;
    while let Some(first) = bytes.get(at).copied() {
        if is_space(first) {
            at += 1;
            continue;
        }
        let start = at;
        let run = |at: &mut usize, take: &dyn Fn(u8) -> bool| {
            while bytes.get(*at).is_some_and(|byte| take(*byte)) {
                *at += 1;
            }
        };
        let digit = |byte: u8| byte.is_ascii_digit();
        let mut sign = None;
        let mut body_start = start;
        let kind = if first.is_ascii_digit() {
            run(&mut at, &digit);
            match bytes.get(at).copied() {
                Some(b':') => {
                    run(&mut at, &|byte| digit(byte) || matches!(byte, b':' | b'.'));
                    Kind::Time
                }
                Some(mark @ (b'-' | b'/' | b'.')) => {
                    at += 1;
                    if bytes.get(at).is_some_and(u8::is_ascii_digit) {
                        run(&mut at, &digit);
                        if bytes.get(at) == Some(&mark) {
                            run(&mut at, &|byte| digit(byte) || byte == mark);
                            Kind::Date
                        } else if mark == b'.' {
                            Kind::Number
                        } else {
                            Kind::Date
                        }
                    } else {
                        run(&mut at, &|byte| byte.is_ascii_alphanumeric() || byte == mark);
                        Kind::Date
                    }
                }
                _ => Kind::Number,
            }
        } else if first == b'.' {
            at += 1;
            run(&mut at, &digit);
            Kind::Number
        } else if first.is_ascii_alphabetic() {
            run(&mut at, &|byte| byte.is_ascii_alphabetic());
            let next = bytes.get(at).copied();
            // A month with its date, or a zone's name with punctuation or digits.
            let compound = match next {
                Some(b'-' | b'/' | b'.') => true,
                Some(b'+' | b'0'..=b'9') => {
                    text.get(start..at).is_none_or(|word| special(&word.to_ascii_lowercase()).is_none())
                }
                _ => false,
            };
            if compound {
                run(&mut at, &|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':')
                });
                Kind::Date
            } else {
                Kind::Word
            }
        } else if matches!(first, b'+' | b'-') {
            at += 1;
            run(&mut at, &is_space);
            (sign, body_start) = (Some(first), at);
            match bytes.get(at).copied() {
                Some(byte) if byte.is_ascii_digit() => {
                    run(&mut at, &|byte| digit(byte) || matches!(byte, b':' | b'.' | b'-'));
                    Kind::Offset
                }
                Some(byte) if byte.is_ascii_alphabetic() => {
                    run(&mut at, &|byte| byte.is_ascii_alphabetic());
                    Kind::Special
                }
                _ => return None,
            }
        } else if first.is_ascii_punctuation() {
            at += 1;
            continue;
        } else {
            return None;
        };
        let mut field = String::new();
        field.extend(sign.map(char::from));
        field.push_str(&text.get(body_start..at)?.to_ascii_lowercase());
        length += field.len() + 1;
        if fields.len() >= FIELDS_MAX || length > LENGTH_MAX {
            return None;
        }
        fields.push(Field { kind, text: field });
    }
    Some(fields)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// What a unit in front of a number says of it: "y2001m02d04".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Julian,
    Time,
    /// A unit that no input has.
    Other,
}

/// A word with a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Infinity,
    MinusInfinity,
    Epoch,
    Now,
    /// Days from today.
    Day(i64),
    AllBalls,
    Month(i64),
    Weekday,
    Meridiem(bool),
    BeforeChrist(bool),
    DaylightSaving,
    Label(Label),
    IsoTime,
    Ignored,
}

/// Looks a word up, in lower case.
pub(super) fn special(word: &str) -> Option<Special> {
    // Words are told apart by their first ten letters.
    let word = word.get(..10).unwrap_or(word);
    Some(match word {
        "infinity" => Special::Infinity,
        "-infinity" => Special::MinusInfinity,
        "epoch" => Special::Epoch,
        "now" => Special::Now,
        "today" => Special::Day(0),
        "tomorrow" => Special::Day(1),
        "yesterday" => Special::Day(-1),
        "allballs" => Special::AllBalls,
        "jan" | "january" => Special::Month(1),
        "feb" | "february" => Special::Month(2),
        "mar" | "march" => Special::Month(3),
        "apr" | "april" => Special::Month(4),
        "may" => Special::Month(5),
        "jun" | "june" => Special::Month(6),
        "jul" | "july" => Special::Month(7),
        "aug" | "august" => Special::Month(8),
        "sep" | "sept" | "september" => Special::Month(9),
        "oct" | "october" => Special::Month(10),
        "nov" | "november" => Special::Month(11),
        "dec" | "december" => Special::Month(12),
        "sun" | "sunday" | "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" => Special::Weekday,
        "am" => Special::Meridiem(false),
        "pm" => Special::Meridiem(true),
        "ad" => Special::BeforeChrist(false),
        "bc" => Special::BeforeChrist(true),
        "dst" => Special::DaylightSaving,
        "y" => Special::Label(Label::Year),
        "m" => Special::Label(Label::Month),
        "d" => Special::Label(Label::Day),
        "h" => Special::Label(Label::Hour),
        "mm" => Special::Label(Label::Minute),
        "s" => Special::Label(Label::Second),
        "j" | "jd" | "julian" => Special::Label(Label::Julian),
        "dow" | "doy" | "isodow" | "isoyear" => Special::Label(Label::Other),
        "t" => Special::IsoTime,
        "at" | "on" => Special::Ignored,
        _ => return None,
    })
}
