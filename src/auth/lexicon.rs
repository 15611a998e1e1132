//! Lines, fields and tokens of pg_hba.conf and pg_ident.conf.
//!
//! Owns quoting, comments, continuation lines and `@file` inclusion as PostgreSQL's hba.c does them; what the
//! fields mean is for `hba` and `ident`.

use std::fmt;

/// Longest token, in bytes.
const MAX_TOKEN: usize = 10_240;
/// How deep `@file` may include further files.
const MAX_DEPTH: usize = 10;

/// What is wrong with a configuration file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column of the offending word, from 1 (characters); past the end of the line where something is missing.
    pub column: usize,
    /// What is wrong, in PostgreSQL's wording where it has one.
    pub message: String,
    /// Advice.
    pub hint: Option<&'static str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.hint.map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Problem {}

/// A configuration file, and how to read the files that it names.
pub struct Source<'a> {
    /// The file's name, for messages.
    pub name: &'a str,
    /// Its content.
    pub text: &'a str,
    /// Reads a file that an `@name` word includes; relative names are relative to this file.
    pub include: &'a dyn Fn(&str) -> Result<String, String>,
}

impl<'a> Source<'a> {
    /// A file that cannot include others.
    pub fn alone(name: &'a str, text: &'a str) -> Self {
        Self { name, text, include: &|_| Err("included files are not read here".into()) }
    }
}

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    /// Whether any part was quoted, which takes keywords their meaning.
    pub quoted: bool,
    pub column: usize,
}

impl Token {
    /// Whether this is the keyword.
    pub fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// A field: words with commas between them. Never empty, unless it included an empty file.
pub(super) type Field = Vec<Token>;

/// A line that has fields.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number; of the first one where lines are continued.
    pub number: usize,
    pub fields: Vec<Field>,
    /// Its text, for the log.
    pub text: String,
    /// Column after its last character.
    pub end: usize,
}

/// All lines that are neither empty nor comments.
pub(super) fn lines(source: &Source<'_>) -> Result<Vec<Line>, Vec<Problem>> {
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    let mut rest = source.text.lines().enumerate().map(|(index, text)| (index + 1, text));
    while let Some((number, first)) = rest.next() {
        let mut text = first.to_owned();
        // A backslash right before the line's end joins the next line to it.
        while text.ends_with('\\') {
            text.pop();
            match rest.next() {
                Some((_, more)) => text.push_str(more),
                None => break,
            }
        }
        match fields(source, &text, number, 0) {
            Ok(fields) if fields.is_empty() => (),
            Ok(fields) => lines.push(Line { number, fields, end: text.chars().count() + 1, text }),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

fn fields(source: &Source<'_>, text: &str, line: usize, depth: usize) -> Result<Vec<Field>, Problem> {
    let mut scanner = Scanner { chars: text.chars().peekable(), column: 1 };
    let mut fields = Vec::new();
    loop {
        let mut field = Vec::new();
        let mut found = false;
        while let Some((token, initial_quote, comma)) = scanner.token() {
            found = true;
            if token.text.len() > MAX_TOKEN {
                return Err(problem(source, line, token.column, "authentication file token too long".into()));
            }
            match token.text.strip_prefix('@') {
                Some(name) if !name.is_empty() && !initial_quote => {
                    include(source, name, line, token.column, depth, &mut field)?;
                }
                _ => field.push(token),
            }
            if !comma {
                break;
            }
        }
        if !found {
            return Ok(fields);
        }
        fields.push(field);
    }
}

/// Adds every word of an included file to the field.
fn include(
    source: &Source<'_>,
    name: &str,
    line: usize,
    column: usize,
    depth: usize,
    field: &mut Field,
) -> Result<(), Problem> {
    if depth >= MAX_DEPTH {
        let message = format!("could not open file \"{name}\": maximum nesting depth exceeded");
        return Err(problem(source, line, column, message));
    }
    let text = (source.include)(name).map_err(|error| {
        let message = format!("could not open secondary authentication file \"@{name}\": {error}");
        problem(source, line, column, message)
    })?;
    for included in text.lines() {
        let words = fields(source, included, line, depth + 1)?;
        field.extend(words.into_iter().flatten().map(|token| Token { column, ..token }));
    }
    Ok(())
}

fn problem(source: &Source<'_>, line: usize, column: usize, message: String) -> Problem {
    Problem { file: source.name.to_owned(), line, column, message, hint: None }
}

struct Scanner<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    column: usize,
}

impl Scanner<'_> {
    /// The next word, whether it began with a quote, and whether a comma ended it. Follows hba.c's `next_token`.
    fn token(&mut self) -> Option<(Token, bool, bool)> {
        while self.chars.next_if(|&c| is_blank(c) || c == ',').is_some() {
            self.column += 1;
        }
        let column = self.column;
        let mut text = String::new();
        let (mut in_quote, mut was_quote, mut quoted, mut initial_quote) = (false, false, false, false);
        let mut comma = false;
        while let Some(c) = self.chars.next_if(|&c| in_quote || !is_blank(c)) {
            self.column += 1;
            if !in_quote && c == '#' {
                self.chars.by_ref().for_each(drop);
                break;
            }
            if !in_quote && c == ',' {
                comma = true;
                break;
            }
            if c != '"' || was_quote {
                text.push(c);
            }
            // Two double quotes inside quotes are one literal quote.
            was_quote = in_quote && c == '"' && !was_quote;
            if c == '"' {
                in_quote = !in_quote;
                quoted = true;
                initial_quote |= text.is_empty();
            }
        }
        let something = quoted || !text.is_empty();
        something.then_some((Token { text, quoted, column }, initial_quote, comma))
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let lines = lines(&Source::alone("f", text)).unwrap();
        lines
            .into_iter()
            .flat_map(|line| line.fields)
            .map(|field| field.into_iter().map(|token| token.text).collect())
            .collect()
    }

    #[test]
    fn blanks_commas_quotes_and_comments() {
        assert_eq!(words("a b,c, d\t\"e f\" # g"), [vec!["a"], vec!["b", "c", "d"], vec!["e f"]]);
        assert_eq!(words("\"a\"\"b\" \"\" x#y"), [vec!["a\"b"], vec![""], vec!["x"]]);
        assert_eq!(words("# nothing\n\n   \n"), Vec::<Vec<String>>::new());
    }

    #[test]
    fn a_backslash_continues_the_line() {
        let lines = lines(&Source::alone("f", "one \\\ntwo\nthree \\")).unwrap();
        assert_eq!(lines.iter().map(|line| (line.number, line.fields.len())).collect::<Vec<_>>(), [(1, 2), (3, 1)]);
    }

    #[test]
    fn included_words_join_the_field() {
        let source = Source {
            name: "f",
            text: "local @names,last \"@kept\"",
            include: &|name| {
                assert_eq!(name, "names");
                Ok("a, b\n# comment\nc".into())
            },
        };
        let lines = lines(&source).unwrap();
        let field: Vec<_> = lines[0].fields[1].iter().map(|token| token.text.as_str()).collect();
        assert_eq!(field, ["a", "b", "c", "last"]);
        assert_eq!(lines[0].fields[2][0].text, "@kept");
    }

    #[test]
    fn inclusion_without_end_is_refused() {
        let source = Source { name: "f", text: "a @f", include: &|_| Ok("@f".into()) };
        assert!(lines(&source).unwrap_err()[0].message.contains("nesting depth"));
    }
}
