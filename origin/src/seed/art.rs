//! Product pictures, drawn from the product's name: the same name gives the same picture on every instance.

use resvg::{tiny_skia, usvg};

use super::{Dice, shapes};

/// Width and height in pixels.
pub const SIDE: u32 = 480;

/// Colours of one picture.
pub struct Palette {
    /// The body of the device.
    pub body: &'static str,
    /// Its edges and shaded sides.
    pub shade: &'static str,
    /// The one bright part.
    pub accent: &'static str,
    /// Glass and screens, from top to bottom.
    pub glass: (&'static str, &'static str),
}

/// Background from top to bottom, quiet enough for a grid of them.
const GROUNDS: [(&str, &str); 8] = [
    ("#f3f7f6", "#d5e6e1"),
    ("#f6f5f1", "#e8e0cf"),
    ("#f2f5fa", "#d6e0f0"),
    ("#f8f3f1", "#f0dcd3"),
    ("#f4f3f8", "#dfdaee"),
    ("#f1f7f8", "#cfe5ea"),
    ("#f7f6f2", "#e3e6d2"),
    ("#f5f5f5", "#dedfe2"),
];

/// Body and shade.
const BODIES: [(&str, &str); 7] = [
    ("#2b2f36", "#15181d"),
    ("#e9ebee", "#b9bfc7"),
    ("#3d4a5c", "#222c3a"),
    ("#5b6470", "#3a414b"),
    ("#24463f", "#122a25"),
    ("#d9cdb8", "#a8977a"),
    ("#44364f", "#281f31"),
];

const ACCENTS: [&str; 6] = [
    "#e2583e", "#0e8f73", "#2f6fde", "#f0a92e", "#8a4fd0", "#d63f7c",
];

const GLASSES: [(&str, &str); 6] = [
    ("#2a4d8f", "#7fb2e8"),
    ("#0d5c56", "#6fd1b2"),
    ("#5b2a7a", "#e58fb6"),
    ("#8f3a2a", "#f4b46b"),
    ("#1f2a44", "#5f86b5"),
    ("#23303a", "#8fb3a6"),
];

/// The picture of a product as SVG. All gradients run downwards: rows of one colour
/// take a PNG from 30 KB to 12.
pub fn svg(category: &str, slug: &str) -> String {
    let mut dice = Dice::of(slug);
    let (top, bottom) = dice.pick(&GROUNDS);
    let (body, shade) = dice.pick(&BODIES);
    let palette = Palette {
        body,
        shade,
        accent: dice.pick::<&str>(&ACCENTS),
        glass: *dice.pick(&GLASSES),
    };
    let (glass_top, glass_bottom) = palette.glass;
    let circle = (
        100 + dice.roll(280),
        90 + dice.roll(240),
        110 + dice.roll(90),
    );
    let drawing = shapes::draw(category, slug, &palette, &mut dice);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 480">
<defs>
<linearGradient id="ground" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/></linearGradient>
<linearGradient id="glass" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{glass_top}"/><stop offset="1" stop-color="{glass_bottom}"/></linearGradient>
<linearGradient id="body" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="{body}"/><stop offset="1" stop-color="{shade}"/></linearGradient>
</defs>
<rect width="480" height="480" fill="url(#ground)"/>
<circle cx="{}" cy="{}" r="{}" fill="#ffffff" opacity="0.45"/>
<ellipse cx="240" cy="412" rx="150" ry="13" fill="#000000" opacity="0.10"/>
{drawing}
</svg>"##,
        circle.0, circle.1, circle.2,
    )
}

/// Renders a picture. Pictures hold shapes only, so this needs no fonts and reads no files.
pub fn png(svg: &str) -> Result<Vec<u8>, String> {
    let tree =
        usvg::Tree::from_str(svg, &usvg::Options::default()).map_err(|error| error.to_string())?;
    let mut pixels = tiny_skia::Pixmap::new(SIDE, SIDE).ok_or("no room for a picture")?;
    let scale = SIDE as f32 / tree.size().width();
    resvg::render(
        &tree,
        tiny_skia::Transform::from_scale(scale, scale),
        &mut pixels.as_mut(),
    );
    pixels.encode_png().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_sound_and_distinct() {
        let drafts = crate::seed::drafts();
        let drawings: std::collections::HashSet<_> = drafts
            .iter()
            .map(|draft| svg(draft.category.slug, &draft.slug))
            .collect();
        assert_eq!(drawings.len(), drafts.len());
        for drawing in &drawings {
            usvg::Tree::from_str(drawing, &usvg::Options::default()).expect("well-formed");
        }
    }

    #[test]
    fn a_picture_is_small_and_always_the_same() {
        let drawing = svg("phones", "jonakio-nova-c1");
        let picture = png(&drawing).expect("a picture");
        assert!(
            picture.starts_with(b"\x89PNG") && picture.len() < 20_000,
            "{} bytes",
            picture.len()
        );
        assert_eq!(picture, png(&drawing).expect("a picture"));
    }
}
