//! Lines, fields and tokens of pg_hba.conf and pg_ident.conf.
//!
//! Owns quoting, comments, continuation lines and the inclusion of files as PostgreSQL's hba.c does them; what the fields
//! mean is for `hba` and `ident`. What is wrong with one line hides nothing of the others.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

use super::files::{Files, resolve};

/// Longest token, in bytes.
const MAX_TOKEN: usize = 10_240;
/// How deep files may include further files.
const MAX_DEPTH: usize = 10;

/// What is wrong with a configuration file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: Rc<str>,
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

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub text: String,
    /// Whether it began with a quote, which takes keywords their meaning.
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

/// A line that has fields, or something that is wrong with it.
#[derive(Debug)]
pub(super) struct Line {
    /// The file that it is in.
    pub file: Rc<str>,
    /// Its number; of the first one where lines are continued.
    pub number: usize,
    pub fields: Result<Vec<Field>, Box<Problem>>,
    /// Its text, for the log.
    pub text: String,
    /// Column after its last character.
    pub end: usize,
}

impl Line {
    pub fn problem(&self, column: usize, message: String) -> Box<Problem> {
        Box::new(Problem { file: Rc::clone(&self.file), line: self.number, column, message, hint: None })
    }
}

/// All lines of a file and of those that it includes, in order, that are neither empty nor comments. The error says why the
/// file cannot be read.
pub(super) fn lines(path: &Path, files: &dyn Files) -> Result<Vec<Line>, String> {
    let text = read(path, files)?;
    let mut lines = Vec::new();
    Reader { files, depth: 0 }.lines(path, &text, &mut lines);
    Ok(lines)
}

fn read(path: &Path, files: &dyn Files) -> Result<String, String> {
    let text = files.read(path).and_then(|text| text.ok_or_else(|| "No such file or directory".to_owned()));
    text.map_err(|error| format!("could not open file \"{}\": {error}", path.display()))
}

struct Reader<'a> {
    files: &'a dyn Files,
    /// Files that are being read around this one.
    depth: usize,
}

impl Reader<'_> {
    fn lines(&self, path: &Path, text: &str, lines: &mut Vec<Line>) {
        let file: Rc<str> = path.display().to_string().into();
        let mut rest = text.lines().enumerate().map(|(index, text)| (index + 1, text));
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
            let end = text.chars().count() + 1;
            let mut line = Line { file: Rc::clone(&file), number, fields: Ok(Vec::new()), text, end };
            line.fields = self.fields(path, &line);
            match line.fields.as_deref() {
                Ok([]) => {}
                Ok([directive, target]) if self.is_directive(directive, target) => {
                    let included = self.include(path, &directive[0].text, &target[0], &line, lines);
                    if let Err(problem) = included {
                        lines.push(Line { fields: Err(problem), ..line });
                    }
                }
                _ => lines.push(line),
            }
        }
    }

    fn is_directive(&self, directive: &[Token], target: &[Token]) -> bool {
        matches!((directive, target), ([directive], [_])
            if matches!(directive.text.as_str(), "include" | "include_if_exists" | "include_dir"))
    }

    /// Carries out a directive: the lines of other files in the place of this one.
    fn include(
        &self,
        path: &Path,
        directive: &str,
        target: &Token,
        line: &Line,
        lines: &mut Vec<Line>,
    ) -> Result<(), Box<Problem>> {
        let wrong = |message: String| line.problem(target.column, message);
        let target = resolve(&target.text, path);
        let mut chosen = Vec::new();
        if directive == "include_dir" {
            let names = self.files.list(&target);
            let names =
                names.map_err(|error| wrong(format!("could not open directory \"{}\": {error}", target.display())))?;
            chosen.extend(names.into_iter().filter(|name| name.ends_with(".conf") && !name.starts_with('.')));
            chosen.sort_unstable();
        }
        let chosen: Vec<_> = match directive {
            "include_dir" => chosen.iter().map(|name| target.join(name)).collect(),
            _ => vec![target],
        };
        for path in chosen {
            let inner = self.deeper(&path).map_err(&wrong)?;
            if directive == "include_if_exists" && matches!(self.files.read(&path), Ok(None)) {
                continue;
            }
            let text = read(&path, self.files).map_err(&wrong)?;
            inner.lines(&path, &text, lines);
        }
        Ok(())
    }

    fn deeper(&self, path: &Path) -> Result<Self, String> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("could not open file \"{}\": maximum nesting depth exceeded", path.display()));
        }
        Ok(Self { files: self.files, depth: self.depth + 1 })
    }

    fn fields(&self, path: &Path, line: &Line) -> Result<Vec<Field>, Box<Problem>> {
        let mut scanner = Scanner { chars: line.text.chars().peekable(), column: 1 };
        let mut fields = Vec::new();
        loop {
            let mut field = Vec::new();
            let mut found = false;
            while let Some((token, comma)) = scanner.token() {
                found = true;
                if token.text.len() > MAX_TOKEN {
                    return Err(line.problem(token.column, "authentication file token too long".into()));
                }
                match token.text.strip_prefix('@') {
                    Some(name) if !name.is_empty() && !token.quoted => {
                        let words = self.words(&resolve(name, path));
                        let words = words.map_err(|message| line.problem(token.column, message))?;
                        field.extend(words.into_iter().map(|word| Token { column: token.column, ..word }));
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

    /// Every word of a file, for the field that names it with `@`.
    fn words(&self, path: &Path) -> Result<Vec<Token>, String> {
        let inner = self.deeper(path)?;
        let text = read(path, self.files)?;
        let mut lines = Vec::new();
        inner.lines(path, &text, &mut lines);
        let mut words = Vec::new();
        for line in lines {
            words.extend(line.fields.map_err(|problem| problem.to_string())?.into_iter().flatten());
        }
        Ok(words)
    }
}

struct Scanner<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    column: usize,
}

impl Scanner<'_> {
    /// The next word, and whether a comma ended it. Follows hba.c's `next_token`.
    fn token(&mut self) -> Option<(Token, bool)> {
        while self.chars.next_if(|&c| is_blank(c) || c == ',').is_some() {
            self.column += 1;
        }
        let column = self.column;
        let mut text = String::new();
        let (mut in_quote, mut was_quote, mut any_quote, mut quoted) = (false, false, false, false);
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
                any_quote = true;
                quoted |= text.is_empty();
            }
        }
        let something = any_quote || !text.is_empty();
        something.then_some((Token { text, quoted, column }, comma))
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Files that a test makes up.
    pub struct Made(pub HashMap<&'static str, String>);

    /// Files with these names and texts.
    pub fn made<const N: usize>(files: [(&'static str, &str); N]) -> Made {
        Made(files.into_iter().map(|(name, text)| (name, text.to_owned())).collect())
    }

    impl Files for Made {
        fn read(&self, path: &Path) -> Result<Option<String>, String> {
            Ok(path.to_str().and_then(|path| self.0.get(path)).cloned())
        }

        fn list(&self, folder: &Path) -> Result<Vec<String>, String> {
            let names = self.0.keys().filter(|name| Path::new(name).parent() == Some(folder));
            let names: Vec<_> =
                names.filter_map(|name| Some(Path::new(name).file_name()?.to_str()?.to_owned())).collect();
            if names.is_empty() { Err("No such file or directory".to_owned()) } else { Ok(names) }
        }
    }

    /// One file called `f`.
    pub fn alone(text: &str) -> Made {
        made([("f", text)])
    }

    fn lines_of(files: &Made) -> Vec<Line> {
        lines(Path::new("f"), files).unwrap()
    }

    fn shown(files: &Made) -> Vec<String> {
        let word = |token: &Token| token.text.clone();
        let field = |field: &Field| field.iter().map(word).collect::<Vec<_>>().join(",");
        let line = |line: &Line| match &line.fields {
            Ok(fields) => {
                format!("{}:{} {}", line.file, line.number, fields.iter().map(field).collect::<Vec<_>>().join("|"))
            }
            Err(problem) => problem.to_string(),
        };
        lines_of(files).iter().map(line).collect()
    }

    #[test]
    fn blanks_commas_quotes_and_comments() {
        assert_eq!(shown(&alone("a b,c, d\t\"e f\" # g")), ["f:1 a|b,c,d|e f"]);
        assert_eq!(shown(&alone("\"a\"\"b\" \"\" x#y")), ["f:1 a\"b||x"]);
        assert_eq!(shown(&alone("# nothing\n\n   \n")), Vec::<String>::new());
    }

    #[test]
    fn only_a_quote_at_the_beginning_takes_a_keyword_its_meaning() {
        let files = alone("all \"all\" a\"ll\" \"\"all");
        let quoted: Vec<_> = lines_of(&files)[0].fields.as_ref().unwrap().iter().map(|field| field[0].quoted).collect();
        assert_eq!(quoted, [false, true, false, true]);
    }

    #[test]
    fn a_backslash_continues_the_line() {
        assert_eq!(shown(&alone("one \\\ntwo\nthree \\")), ["f:1 one|two", "f:3 three"]);
    }

    #[test]
    fn included_words_join_the_field() {
        let files = made([
            ("f", "local @sub/names,last \"@kept\""),
            ("sub/names", "a, b\n# comment\nc \\\nd @more"),
            ("sub/more", "e"),
        ]);
        assert_eq!(shown(&files), ["f:1 local|a,b,c,d,e,last|@kept"]);
    }

    #[test]
    fn lines_of_other_files_take_the_place_of_a_directive() {
        let files = made([
            ("f", "one\ninclude sub/a\ninclude_if_exists none\ninclude_dir sub/d\nlast\ninclude a b"),
            ("sub/a", "two\ninclude b"),
            ("sub/b", "three"),
            ("sub/d/2.conf", "five"),
            ("sub/d/1.conf", "four"),
            ("sub/d/.3.conf", "hidden"),
            ("sub/d/4.txt", "other"),
        ]);
        let expected = [
            "f:1 one",
            "sub/a:1 two",
            "sub/b:1 three",
            "sub/d/1.conf:1 four",
            "sub/d/2.conf:1 five",
            "f:5 last",
            "f:6 include|a|b",
        ];
        assert_eq!(shown(&files), expected);
    }

    #[test]
    fn what_cannot_be_included_is_named_and_hides_nothing() {
        let files = made([("f", "a @none\ninclude none\ninclude_dir none\nb"), ("g", "")]);
        assert_eq!(
            shown(&files),
            [
                "f:1:3: could not open file \"none\": No such file or directory",
                "f:2:9: could not open file \"none\": No such file or directory",
                "f:3:13: could not open directory \"none\": No such file or directory",
                "f:4 b"
            ]
        );
        for endless in ["a @f", "include f"] {
            let shown = shown(&alone(endless));
            assert!(shown.iter().any(|line| line.contains("maximum nesting depth exceeded")), "{shown:?}");
        }
    }
}
