//! Foreign text: configurations, findings and addresses, as they may go into a page, a drawing or a terminal.
//!
//! Nothing that a speaker or a user wrote may become markup, or move the cursor of a terminal. Drawings need to
//! know how wide a text is, though no font is at hand: widths are estimated on the generous side.

/// Text for HTML and SVG, in elements and in quoted attributes. What XML cannot hold becomes U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\r' => {}
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ if character.is_control() => out.push('\u{fffd}'),
            _ => out.push(character),
        }
    }
    out
}

/// Text for a line of a terminal: control characters become U+FFFD, line ends and tabs become spaces.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            _ if character.is_control() => '\u{fffd}',
            _ => character,
        })
        .collect()
}

/// A command line that a shell reads as the same arguments.
pub fn shell(command: &[String]) -> String {
    command.iter().map(|argument| quoted(argument)).collect::<Vec<_>>().join(" ")
}

/// An argument, in quotes where a shell would take it for something else.
fn quoted(argument: &str) -> String {
    let harmless = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !argument.is_empty() && argument.chars().all(harmless) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Breaks text into lines of at most `width` characters. A word that is longer than that is cut.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        while word.len() > width {
            lines.push(word.drain(..width).collect());
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        used += word.len();
        line.extend(word);
    }
    if used > 0 {
        lines.push(line);
    }
    lines
}

/// How much of a font's size a character takes, on average and with some room to spare: digits of the widest
/// common font (DejaVu Sans) take 0.636.
const CHARACTER: f64 = 0.62;

/// About how wide a text is in a drawing, in its units.
pub fn drawn_width(text: &str, font_size: f64) -> f64 {
    text.chars().count() as f64 * font_size * CHARACTER
}

/// How many characters have room in a drawing.
pub fn characters(width: f64, font_size: f64) -> usize {
    (width / (font_size * CHARACTER)).max(1.0) as usize
}

/// The text itself if it is no longer than `most` characters, or its beginning and an ellipsis.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_control_characters_are_harmless() {
        assert_eq!(escape("<b a=\"1\" c='2'>&"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
        assert_eq!(escape("a\0b\x1b[2J\r\nc"), "a\u{fffd}b\u{fffd}[2J\nc");
        assert_eq!(plain("a\x1b[2J\nb\tc"), "a\u{fffd}[2J b c");
    }

    #[test]
    fn commands_survive_a_shell() {
        let command = ["bgpblast", "--target", "it's", "10.0.0.1:179", ""].map(str::to_owned);
        assert_eq!(shell(&command), r"bgpblast --target 'it'\''s' 10.0.0.1:179 ''");
    }

    #[test]
    fn lines_are_no_longer_than_asked() {
        let text = "a sentence with an averylongwordthatdoesnotfit in it";
        let lines = wrap(text, 10);
        assert!(lines.iter().all(|line| line.chars().count() <= 10), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        assert!(wrap("", 10).is_empty());
        assert_eq!(wrap("ab", 0), ["a", "b"]);
        assert_eq!(shorten("abcdef", 4), "abc…");
        assert_eq!(shorten("abcd", 4), "abcd");
    }
}
