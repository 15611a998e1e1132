//! What PostgreSQL's grammar has and the parser's has not, written as the parser understands it, or refused by name.
//!
//! Works on tokens. What is put in has no place in the text.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::{byte_of, lex};
use crate::error::Error;

/// `op ANY (VALUES …)` becomes `op ANY (SELECT * FROM (VALUES …) AS "*VALUES*")`; `JOIN … USING (…) AS name` is refused.
pub(super) fn rewrite(text: &str, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, Error> {
    if let Some(at) = (0..tokens.len()).find(|at| is_join_alias(&tokens, *at)) {
        let error = Error::unsupported("an alias of JOIN … USING");
        let byte = tokens.get(at).and_then(|token| byte_of(token.span.start));
        return Err(error.position(lex::position(text, byte.unwrap_or(0))));
    }
    if !(0..tokens.len()).any(|at| is_quantified_values(&tokens, at)) {
        return Ok(tokens);
    }
    let mut rewritten = Vec::with_capacity(tokens.len() + 16);
    // For each open parenthesis, whether it closes a list of values that was rewritten.
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => {
                let is_values = at.checked_sub(1).is_some_and(|before| is_quantified_values(&tokens, before));
                open.push(is_values);
                rewritten.push(token.clone());
                if is_values {
                    let select = [word("select"), Token::Mul, word("from"), Token::LParen];
                    rewritten.extend(select.map(unplaced));
                }
                continue;
            }
            Token::RParen if open.pop() == Some(true) => {
                let alias =
                    Token::Word(Word { value: "*VALUES*".into(), quote_style: Some('"'), keyword: Keyword::NoKeyword });
                rewritten.extend([Token::RParen, word("as"), alias].map(unplaced));
            }
            _ => {}
        }
        rewritten.push(token.clone());
    }
    Ok(rewritten)
}

fn word(text: &str) -> Token {
    Token::make_word(text, None)
}

fn unplaced(token: Token) -> TokenWithSpan {
    TokenWithSpan { token, span: Span::empty() }
}

fn keyword(tokens: &[TokenWithSpan], at: usize) -> Option<Keyword> {
    match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

/// `ANY (VALUES` begins there.
fn is_quantified_values(tokens: &[TokenWithSpan], at: usize) -> bool {
    matches!(keyword(tokens, at), Some(Keyword::ANY | Keyword::ALL | Keyword::SOME))
        && tokens.get(at + 1).is_some_and(|token| token.token == Token::LParen)
        && keyword(tokens, at + 2) == Some(Keyword::VALUES)
}

/// `USING (a, b) AS name` begins there.
fn is_join_alias(tokens: &[TokenWithSpan], at: usize) -> bool {
    if keyword(tokens, at) != Some(Keyword::USING) || tokens.get(at + 1).is_none_or(|next| next.token != Token::LParen)
    {
        return false;
    }
    let names =
        tokens.iter().skip(at + 2).take_while(|next| matches!(next.token, Token::Word(_) | Token::Comma)).count();
    let end = at + 2 + names;
    names > 0
        && tokens.get(end).is_some_and(|next| next.token == Token::RParen)
        && keyword(tokens, end + 1) == Some(Keyword::AS)
        && tokens.get(end + 2).is_some_and(|next| matches!(next.token, Token::Word(_)))
}
