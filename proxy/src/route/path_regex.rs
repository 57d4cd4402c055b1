//! Regular expressions that choose routes and take paths apart: linear in time, bounded in size.

use std::hash::{Hash, Hasher};

use regex::{Regex, RegexBuilder};

/// Longest expression: what people can still read, four times over.
const TEXT_MAX: usize = 1_024;
/// Memory of a compiled one, in bytes. `[0-9]{1,1000}` and the like stay below it; a repetition of repetitions
/// does not.
const SIZE_MAX: usize = 256 * 1024;
/// Memory that matching may take for what it has found out, in bytes and for each thread.
const DFA_MAX: usize = 512 * 1024;

/// An expression over a normalised path. Two are equal when they are written alike.
#[derive(Debug, Clone)]
pub struct PathRegex(Regex);

impl PathRegex {
    /// Compiles it; an error is a clause.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_MAX {
            return Err(format!("it is longer than {TEXT_MAX} bytes"));
        }
        let built = RegexBuilder::new(text)
            .size_limit(SIZE_MAX)
            .dfa_size_limit(DFA_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Self(regex)),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("compiled it is larger than {SIZE_MAX} bytes"))
            }
            // The last line says what is wrong; those before draw the place, which has no room here.
            Err(why) => {
                let why = why.to_string();
                let last = why.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }

    /// The expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }

    /// Whether it matches a path, somewhere.
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for PathRegex {}

impl Hash for PathRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_expression_is_told_in_a_line() {
        for (text, wanted) in [
            ("^/p/([0-9]+)$", Ok(())),
            ("(?i)\\.(jpe?g|png)$", Ok(())),
            ("(", Err("unclosed group")),
            ("a{2", Err("unclosed counted repetition")),
            ("(?=x)", Err("look-around")),
            ("(a)\\1", Err("backreferences are not supported")),
            ("((a{100}){100}){100}", Err("larger than")),
            (&"a".repeat(2_000), Err("longer than")),
        ] {
            let built = PathRegex::new(text).map(|_| ());
            match (&built, wanted) {
                (Ok(()), Ok(())) => {}
                (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
                _ => panic!("{text}: {built:?}"),
            }
        }
    }

    #[test]
    fn a_hostile_path_takes_no_long_time() {
        // Exponential for a matcher that goes back.
        let regex = PathRegex::new("^/(a+)+$").expect("an expression");
        let path = format!("/{}!", "a".repeat(8_000));
        let began = std::time::Instant::now();
        assert!(!regex.matches(&path));
        assert!(began.elapsed() < std::time::Duration::from_secs(1));
    }
}
