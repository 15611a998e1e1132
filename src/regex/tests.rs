//! What PostgreSQL 15 answers.

use super::*;

fn found(pattern: &str, text: &str) -> String {
    match Regex::new(pattern, Options::default()).and_then(|regex| regex.finder(text, &|| Ok(())).find(0)) {
        Err(error) => error.to_string(),
        Ok(None) => "none".to_owned(),
        Ok(Some(spans)) => spans
            .iter()
            .map(|span| span.map_or("-".to_owned(), |(start, end)| text[start..end].to_owned()))
            .collect::<Vec<_>>()
            .join("|"),
    }
}

#[test]
fn the_leftmost_match_is_as_long_or_short_as_the_whole_prefers() {
    for (pattern, text, expected) in [
        (".|...", "xyz", "xyz"),
        ("foo(bar)?", "foo", "foo|-"),
        ("(a|ab)(c|bcd)(d*)", "abcd", "abcd|ab|c|d"),
        ("(a+?)(b+)", "aaabbb", "aaab|aaa|b"),
        ("a+?b+", "aaabbb", "aaab"),
        ("Y*?([0-9]{1,3})", "XY1234Z", "Y1|1"),
        ("Y*([0-9]{1,3})", "XY1234Z", "Y123|123"),
        ("(.*?)(\\d+)(.*)", "abc01234xyz", "abc0|abc|0|"),
        ("(?:(.*?)(\\d+)(.*)){1,1}", "abc01234xyz", "abc01234xyz|abc|01234|xyz"),
        ("(?:(a)|(b))*", "ab", "ab|-|b"),
        ("(abc)\\1*", "abcabcabc", "abcabcabc|abc"),
        ("^(.*)b\\1$", "aba", "aba|a"),
        ("(?<=a)b(?=c)", "abd abc", "b"),
    ] {
        assert_eq!(found(pattern, text), expected, "{pattern} in {text}");
    }
}

#[test]
fn patterns_that_are_none_are_refused_in_postgresqls_words() {
    for (pattern, reason) in [
        ("(", "parentheses () not balanced"),
        ("x**", "quantifier operand invalid"),
        ("[b-a]", "invalid character range"),
        ("[[:foo:]]", "invalid character class"),
        ("x{1", "braces {} not balanced"),
        ("x{256}", "invalid repetition count(s)"),
        ("\\q", "invalid escape \\ sequence"),
        ("(x)\\2", "invalid backreference number"),
        ("(?zi)", "invalid embedded option"),
        ("((((x{255}){255}){255}){255})", "regular expression is too complex"),
    ] {
        assert_eq!(found(pattern, ""), format!("invalid regular expression: {reason} (2201B)"), "{pattern}");
    }
}

#[test]
fn a_search_hears_interrupts() {
    let regex = Regex::new("(x+x+)+y(\\1)*z", Options::default()).unwrap();
    let text = "x".repeat(20_000);
    let stop = || Err(Error::new(Condition::QueryCanceled, "canceled"));
    assert_eq!(regex.finder(&text, &stop).find(0).unwrap_err().to_string(), "canceled (57014)");
}
