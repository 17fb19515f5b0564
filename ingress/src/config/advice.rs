//! What TOML and serde complain of, in the operator's words, each with what would be right.

use std::ops::Range;

const SEE: &str = "see /usr/share/doc/ingress/ingress.toml for the form of each value";

/// What is wrong and what would be right, of a message and the place in the text that it is about.
pub(super) fn advise(message: &str, text: &str, span: Option<Range<usize>>) -> (String, String) {
    let message = message.trim_end();
    let written = Written::new(text, span);
    let mut quoted = message.split('`').skip(1).step_by(2);
    let found = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    if message.starts_with("unknown field") {
        return (format!("unknown key `{found}`"), suggest(found, &known, "the keys here are"));
    }
    if message.starts_with("unknown variant") {
        return (format!("unknown value \"{found}\""), suggest(found, &known, "the choices are"));
    }
    if message.starts_with("missing field") {
        return (format!("`{found}` is missing"), format!("add {}", example(found)));
    }
    match message.rsplit_once("expected ") {
        Some((what, wanted)) if what.starts_with("invalid type: ") => written.instead_of(wanted),
        _ => (message.replace('\n', ", "), written.repaired(message)),
    }
}

/// A piece of the file that TOML or serde did not like.
struct Written<'a> {
    /// The key before it on its line; empty for a header.
    key: &'a str,
    /// The piece itself, as far as its line goes.
    value: &'a str,
    /// The piece and the rest of its line.
    rest: &'a str,
    /// The word that it is in, up to what separates values.
    word: &'a str,
}

impl<'a> Written<'a> {
    fn new(text: &'a str, span: Option<Range<usize>>) -> Self {
        let span = span.unwrap_or_default();
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text[start..].lines().next().unwrap_or_default();
        let value = &rest[..rest.floor_char_boundary(span.len().min(rest.len()))];
        let key = text[begin..start].split('=').next().unwrap_or_default().trim();
        let separates = |c: char| c.is_whitespace() || "=,[]#".contains(c);
        let before = text[..start].rsplit(separates).next().unwrap_or_default();
        let word = text[start - before.len()..].split(separates).next().unwrap_or_default();
        Self { key, value: value.trim_end(), rest, word }
    }

    /// For a value of another type than the one that is wanted, as serde calls it.
    fn instead_of(&self, wanted: &str) -> (String, String) {
        let Self { key, value, rest, .. } = self;
        let bare = value.trim_matches(['"', '\'']);
        let table = value.trim_matches(['[', ']']);
        let is_header = key.is_empty()
            && value.starts_with('[')
            && table.starts_with(|first: char| first.is_ascii_alphabetic());
        match wanted {
            "a sequence" if is_header => {
                (format!("there can be several of {value}"), format!("write [{value}]"))
            }
            "a sequence" => {
                let one = if *key == "ports" { bare } else { value };
                (format!("{value} is not a list"), format!("write [{one}]"))
            }
            "a string or a list of strings" if is_header => {
                let name = table.trim_start_matches("hosts.");
                let remedy = format!("write \"{name}\" = \"ADDRESS\" below [hosts]");
                (format!("{value} is no table"), remedy)
            }
            "a string or a list of strings" if key.is_empty() && rest.contains('=') => {
                let (name, address) = rest.split_once('=').unwrap_or_default();
                let name = name.trim();
                let what = format!("{name} stands for tables within tables");
                (what, format!("write the name in quotes: \"{name}\" ={address}"))
            }
            "a string" if is_header => {
                (format!("there is one [{table}] only"), format!("write [{table}]"))
            }
            "a string" | "a string or a list of strings" => {
                let list = value.starts_with('[');
                let remedy =
                    if list { "write one value, without [ and ]".into() } else { quoted(value) };
                (format!("{value} is not text"), remedy)
            }
            "i64" | "f64" => {
                let kind = if wanted == "i64" { "whole number" } else { "number" };
                let remedy = match bare.parse::<f64>() {
                    Ok(number)
                        if wanted == "f64" || number.fract() == 0.0 && number.abs() < 1e15 =>
                    {
                        format!("write {number}")
                    }
                    _ => format!("write a {kind}, without quotes and units"),
                };
                (format!("{value} is not a {kind}"), remedy)
            }
            "a boolean" => (format!("{value} is neither true nor false"), "write either".into()),
            _ if wanted.starts_with("struct ") => {
                let remedy = format!("write [{key}] in a line of its own, and its keys below");
                (format!("{value} is not a table"), remedy)
            }
            _ => (format!("{value} is of the wrong kind"), SEE.to_owned()),
        }
    }

    /// For what is not TOML, or no choice that serde has a name for.
    fn repaired(&self, message: &str) -> String {
        let address = self.word.contains("::") || self.word.matches('.').count() > 1;
        if self.word.is_empty() {
            SEE.to_owned()
        } else if address || message.starts_with("string values must be quoted") {
            quoted(self.word)
        } else if message.starts_with("duplicate key") {
            "write each table and each key once; what there can be several of, as in [[site]]"
                .into()
        } else if message.starts_with("wanted string or table") {
            quoted(self.word)
        } else {
            SEE.to_owned()
        }
    }
}

fn quoted(value: &str) -> String {
    format!("write it in quotes: \"{}\"", value.trim_matches(['"', '\'']))
}

fn suggest(found: &str, known: &[&str], list: &str) -> String {
    let near = known
        .iter()
        .map(|key| (strsim::damerau_levenshtein(found, key), key))
        .filter(|(distance, key)| *distance <= 1.max(key.len() / 3))
        .min_by_key(|(distance, _)| *distance);
    let all = known.join(", ");
    match near {
        Some((_, key)) => format!("did you mean `{key}`? {list} {all}"),
        None => format!("{list} {all}"),
    }
}

/// What a required key may look like.
fn example(key: &str) -> &'static str {
    match key {
        "interface" => "interface = \"wg0\"",
        "name" => "name = \"home\"",
        "prefixes" => "prefixes = [\"2001:db8:1:0:1::/80\"]",
        "prefix" => "prefix = \"64:ff9b:1::/96\"",
        "ports" => "ports = [443]",
        "to" => "to = [\"2001:db8:1:0:1::80\"]",
        _ => "it",
    }
}
