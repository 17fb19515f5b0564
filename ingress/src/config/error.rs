//! What is wrong with a configuration, where, and what would be right.

use std::{fmt, io, ops::Range, path::PathBuf, string::FromUtf8Error};

/// Why there is no [`Config`](super::Config).
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The text is not a configuration.
    Invalid {
        /// What the text is called, mostly its path.
        name: String,
        /// Everything that is wrong with it, in order of appearance; never empty.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands; none for what is missing altogether.
    pub place: Option<Place>,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub remedy: String,
}

/// A place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// How many characters of the line are meant, at least 1.
    pub width: usize,
    /// The line itself.
    pub text: String,
}

impl Problem {
    pub(super) fn at(
        text: &str,
        span: Range<usize>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { place: Some(Place::new(text, span)), what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn not_utf8(error: &FromUtf8Error) -> Self {
        let start = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let what = "here is an octet that is not UTF-8, as all of the file must be";
        Self::at(&text, start..start, what, "save the file as UTF-8, or type this character again")
    }

    pub(super) fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: None, what: what.into(), remedy: remedy.into() }
    }
}

impl Place {
    fn new(text: &str, span: Range<usize>) -> Self {
        // Spans may end, or for an error at the end of the file begin, beyond the last character.
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let stop = text.floor_char_boundary(span.end.clamp(start, end));
        Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[begin..start].chars().count() + 1,
            width: text[start..stop].chars().count().max(1),
            text: text[begin..end].trim_end().to_owned(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } if source.kind() == io::ErrorKind::NotFound => {
                write!(f, "{}: no such file; write one, or name one with --config", path.display())
            }
            Self::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "{}: {source}; a running ingressd reads it as root, but not past its mode: `chown root` the file",
                    path.display()
                )
            }
            Self::Read { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Invalid { name, problems } => {
                for (index, problem) in problems.iter().enumerate() {
                    if index > 0 {
                        f.write_str("\n\n")?;
                    }
                    problem.write(f, name)?;
                }
                Ok(())
            }
        }
    }
}

impl Problem {
    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let Some(Place { line, column, width, text }) = &self.place else {
            return write!(f, "{name}: {}\n  = {}", self.what, self.remedy);
        };
        let gutter = line.to_string().len();
        let (text, indent, width) = around(text, column - 1, *width);
        writeln!(f, "{name}:{line}:{column}: {}", self.what)?;
        writeln!(f, "{line} | {text}")?;
        writeln!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(width))?;
        write!(f, "{:gutter$} = {}", "", self.remedy)
    }
}

/// A line with its mark, or what is around the mark in one that nobody could read: generated lists are long.
fn around(line: &str, indent: usize, width: usize) -> (String, usize, usize) {
    const MOST: usize = 160;
    const BEFORE: usize = 60;
    let length = line.chars().count();
    if length <= MOST {
        return (line.to_owned(), indent, width);
    }
    let skipped = indent.saturating_sub(BEFORE);
    let shown: String = line.chars().skip(skipped).take(MOST).collect();
    let head = if skipped > 0 { "…" } else { "" };
    let tail = if skipped + MOST < length { "…" } else { "" };
    let start = indent - skipped;
    let indent = start + usize::from(skipped > 0);
    (format!("{head}{shown}{tail}"), indent, width.min(MOST - start))
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }
}
